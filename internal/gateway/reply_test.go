package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/gateway"
)

// reply is a reply with the headers given in pairs.
func reply(status int, body string, headers ...string) mayfly.Reply {
	r := mayfly.Reply{Status: status, Body: []byte(body), Header: http.Header{}}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestAnswerIsMadeOfTheReply(t *testing.T) {
	t.Parallel()
	failed := func(status int, text, body string, headers ...string) mayfly.Reply {
		r := reply(status, body, headers...)
		r.Error = text
		return r
	}
	for _, tt := range []struct {
		name    string
		reply   mayfly.Reply
		method  string
		headers string
		status  int
		body    string
		want    map[string]string // headers; "" is absent
	}{
		{name: "JSON", reply: reply(200, ` {"a":1}`), status: 200, body: ` {"a":1}`, want: map[string]string{"Content-Type": "application/json", "Content-Length": "8", "X-Content-Type-Options": "nosniff"}},
		{name: "a number is JSON", reply: reply(200, "42"), status: 200, body: "42", want: map[string]string{"Content-Type": "application/json"}},
		{name: "almost JSON", reply: reply(200, `{"a":1`), status: 200, body: `{"a":1`, want: map[string]string{"Content-Type": "text/plain; charset=utf-8"}},
		{name: "text", reply: reply(200, "<h1>Zürich</h1>"), status: 200, body: "<h1>Zürich</h1>", want: map[string]string{"Content-Type": "text/plain; charset=utf-8"}},
		{name: "binary", reply: reply(200, "\xff\x00"), status: 200, body: "\xff\x00", want: map[string]string{"Content-Type": "application/octet-stream"}},
		{name: "empty", reply: reply(200, ""), status: 200, want: map[string]string{"Content-Length": "0"}},
		{name: "its own type", reply: reply(200, "{}", "Content-Type", "text/css"), status: 200, body: "{}", want: map[string]string{"Content-Type": "text/css", "X-Content-Type-Options": "nosniff"}},
		{name: "its own status", reply: reply(418, "tea"), status: 418, body: "tea"},
		{name: "HEAD has no body but its length", method: "HEAD", reply: reply(200, "hello"), status: 200, want: map[string]string{"Content-Length": "5"}},
		{name: "204 has no body", reply: reply(204, "hello"), status: 204, want: map[string]string{"Content-Length": ""}},
		{name: "304 has no body", reply: reply(304, "hello", "Etag", `"1"`), status: 304, want: map[string]string{"Content-Length": "", "Etag": `"1"`}},
		{name: "known ETag", headers: "If-None-Match: \"0\", W/\"1\"\r\n", reply: reply(200, "hello", "Etag", `"1"`), status: 304, want: map[string]string{"Etag": `"1"`}},
		{name: "HEAD says what GET would have", method: "HEAD", reply: reply(200, "", "Content-Length", "7"), status: 200, want: map[string]string{"Content-Length": "7"}},
		{name: "HEAD says no nonsense", method: "HEAD", reply: reply(200, "", "Content-Length", "-7"), status: 200, want: map[string]string{"Content-Length": ""}},
		{name: "GET says what it has", method: "GET", reply: reply(200, "", "Content-Length", "7"), status: 200, want: map[string]string{"Content-Length": "0"}},
		{name: "known ETag, HEAD", method: "HEAD", headers: "If-None-Match: *\r\n", reply: reply(200, "hello", "Etag", `"1"`), status: 304},
		{name: "another ETag", headers: "If-None-Match: \"2\"\r\n", reply: reply(200, "hello", "Etag", `"1"`), status: 200, body: "hello"},
		{name: "no ETag", headers: "If-None-Match: *\r\n", reply: reply(200, "hello"), status: 200, body: "hello"},
		{name: "known ETag, POST", method: "POST", headers: "If-None-Match: \"1\"\r\n", reply: reply(200, "hello", "Etag", `"1"`), status: 200, body: "hello"},
		{name: "known ETag, 404", headers: "If-None-Match: \"1\"\r\n", reply: reply(404, "hello", "Etag", `"1"`), status: 404, body: "hello"},
		{name: "hop-by-hop headers stay", reply: reply(200, "x", "Connection", "close", "Transfer-Encoding", "chunked", "Content-Length", "99", "Upgrade", "h2c", "Trailer", "X"), status: 200, body: "x", want: map[string]string{"Connection": "", "Transfer-Encoding": "", "Content-Length": "1", "Upgrade": "", "Trailer": ""}},
		{name: "control characters become spaces", reply: reply(200, "x", "X-A", "1\r\nSet-Cookie: a=b\x00\tc"), status: 200, body: "x", want: map[string]string{"X-A": "1  Set-Cookie: a=b \tc", "Set-Cookie": ""}},
		{name: "a service may time itself", reply: reply(200, "x", "Server-Timing", "db;dur=1"), status: 200, body: "x", want: map[string]string{"Server-Timing": "db;dur=1"}},
		{name: "a service cannot say the call's id", reply: reply(200, "x", "X-Call-Id", "evil"), status: 200, body: "x"},
		{name: "an error with a body", reply: failed(422, "no story", "why"), status: 422, body: "why", want: map[string]string{"Nats-Service-Error": "no story", "Content-Type": "text/plain; charset=utf-8"}},
		{name: "an error without a body is a problem", reply: failed(422, "no\nstory", "", "X-A", "1", "Content-Encoding", "gzip"), status: 422, want: map[string]string{"Nats-Service-Error": "no story", "Content-Type": "application/problem+json", "X-A": "1", "Content-Encoding": ""}},
		{name: "an error that is none", reply: failed(204, "all is well", ""), status: 204, want: map[string]string{"Nats-Service-Error": "all is well"}},
		{name: "a status that is none is our fault", reply: reply(7, "x"), status: 500, want: map[string]string{"Content-Type": "application/problem+json"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, replying(tt.reply), directory{}, gateway.Options{Functions: projects{route(t, "r", "/r", "r", "")}})
			method := tt.method
			if method == "" {
				method = "GET"
			}
			w := serve(g, method+" /r HTTP/1.1\r\nHost: localhost\r\n"+tt.headers+"\r\n")
			if w.Code != tt.status || tt.body != "" && w.Body.String() != tt.body || tt.method == "HEAD" && w.Body.Len() > 0 {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tt.status, tt.body)
			}
			for name, want := range tt.want {
				if got := w.Header()[name]; want == "" && got != nil || want != "" && (len(got) == 0 || got[0] != want) {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if id := w.Header()["X-Call-Id"]; len(id) != 1 || len(id[0]) != 32 {
				t.Errorf("X-Call-Id = %q", id)
			}
		})
	}
}

// A client of NATS in any language may write anything between the lines of the
// protocol; the bytes below are such a reply. Nothing of it may forge an answer.
func TestReplyOfARawClient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, headers string
		status        int
		want, absent  []string
	}{
		{"CR in a value", "X-A: 1\rSet-Cookie: evil=1\r\n", 200, []string{"X-A: 1 Set-Cookie: evil=1"}, []string{"\nSet-Cookie"}},
		{"LF in a value", "X-A: 1\nSet-Cookie: evil=1\r\n", 200, nil, []string{"1\nSet"}},
		{"NUL in a value", "X-A: 1\x00\r\n", 200, nil, []string{"\x00"}},
		{"a name that is no name", "X A: 1\r\nX(A): 1\r\nX-Good: 1\r\n", 200, []string{"X-Good: 1"}, []string{"X A", "X(A)"}},
		{"lower case", "x-lower: 1\r\nX-LOWER: 2\r\n", 200, []string{"X-Lower: 1", "X-Lower: 2"}, nil},
		{"headers of NATS and ours", "nats-secret: 1\r\nmayfly-node: 1\r\nStatus: 200\r\nDescription: x\r\n", 200, nil, []string{"Secret", "Mayfly", "Status:", "Description"}},
		{"a length and an encoding", "content-length: 1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n", 200, []string{"Content-Length: 5"}, []string{"chunked", "Connection"}},
		{"a status", "mayfly-status: 201\r\n", 201, nil, nil},
		{"a status that is no number", "Mayfly-Status: teapot\r\n", 502, []string{"Mayfly-Status", "crashed"}, nil},
		{"a status below 200", "Mayfly-Status: 101\r\n", 502, nil, nil},
		{"a status above 599", "Mayfly-Status: 600\r\n", 502, nil, nil},
		{"an error code", "Nats-Service-Error: no\r\nNats-Service-Error-Code: 404\r\n", 404, []string{"Nats-Service-Error: no"}, nil},
		{"an error code that is no HTTP status", "Nats-Service-Error: no\r\nNats-Service-Error-Code: 17\r\n", 500, nil, nil},
		{"an error code of success", "Nats-Service-Error: no\r\nNats-Service-Error-Code: 200\r\n", 500, nil, nil},
		{"headers over 64 KiB", "X-A: " + strings.Repeat("a", 65<<10) + "\r\n", 502, []string{"65536", "crashed"}, nil},
		{"headers just under 64 KiB", "X-A: " + strings.Repeat("a", 63<<10) + "\r\n", 200, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := open(t, gateway.Options{Functions: projects{route(t, "raw", "/raw", "raw", "")}})
			answerRaw(t, d.nc.ConnectedAddr(), "raw", "NATS/1.0\r\n"+tt.headers+"\r\n", "hello")
			_, r := d.send(t, "GET /raw HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Replace(string(data), "\r\nConnection: close\r\n", "\r\n", 1) // asked for by the test
			if !strings.HasPrefix(text, fmt.Sprintf("HTTP/1.1 %d ", tt.status)) {
				t.Errorf("answer %.300q, want %d", text, tt.status)
			}
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("answer %.500q lacks %q", text, want)
				}
			}
			for _, absent := range tt.absent {
				if strings.Contains(text, absent) {
					t.Errorf("answer %.500q has %q", text, absent)
				}
			}
		})
	}
}

// answerRaw speaks NATS by hand: it answers each message on a subject with the
// given bytes. It returns when the server knows the subscription.
func answerRaw(t *testing.T, addr, subject, header, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	fmt.Fprintf(conn, "CONNECT {\"headers\":true,\"verbose\":false}\r\nSUB %s 1\r\nPING\r\n", subject)
	for line := ""; line != "PONG\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return // the test is over
			}
			fields := strings.Fields(line)
			if len(fields) == 6 && fields[0] == "HMSG" { // subject, sid, reply, bytes of headers, bytes
				fmt.Fprintf(conn, "HPUB %s %d %d\r\n%s%s\r\n", fields[3], len(header), len(header)+len(body), header, body)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
}

func TestProblemNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	secret := fmt.Errorf("open /etc/secret: denied")
	for _, tt := range []struct {
		name        string
		err         error
		development bool
		status      int
		want        string
		absent      string
	}{
		{"a foreign error stays inside", secret, false, 500, "log has details", "/etc/secret"},
		{"but for development", secret, true, 500, "/etc/secret", "log has details"},
		{"a hint is told", mayfly.Errorf(mayfly.Exhausted, "full").WithHint("come later"), false, 429, "come later", ""},
		{"too large", mayfly.Errorf(mayfly.Invalid, "too much: %w", mayfly.ErrTooLarge), false, 413, "too much", ""},
		{"denied", mayfly.Errorf(mayfly.Denied, "no"), false, 403, `"code":"denied"`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, failing(tt.err), directory{}, gateway.Options{Development: tt.development, Functions: projects{route(t, "r", "/r", "r", "")}})
			w := serve(g, "GET /r HTTP/1.1\r\nHost: localhost\r\n\r\n")
			body := w.Body.String()
			if w.Code != tt.status || !strings.Contains(body, tt.want) || tt.absent != "" && strings.Contains(body, tt.absent) {
				t.Errorf("%d %s", w.Code, body)
			}
			if diff := cmp.Diff([]string{"application/problem+json"}, w.Header()["Content-Type"]); diff != "" {
				t.Error(diff)
			}
			if retry := w.Header().Get("Retry-After"); (retry != "") != (tt.status == 429) {
				t.Errorf("Retry-After = %q", retry)
			}
		})
	}
}

func TestPanicIsAnsweredAndCounted(t *testing.T) {
	t.Parallel()
	g := newGateway(t, panicking("boom"), directory{}, gateway.Options{Functions: projects{route(t, "r", "/r", "r", "")}})
	w := serve(g, "GET /r HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if w.Code != 500 || strings.Contains(w.Body.String(), "boom") || w.Header().Get("X-Call-Id") == "" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
	if s := g.Stats(); s.Statuses[500] != 1 || s.InFlight != 0 {
		t.Errorf("stats %+v", s)
	}
}

// A reply's headers may be those of many replies, such as of a file's: the answer shares them and
// leaves them as they are.
func TestReplyKeepsItsHeaders(t *testing.T) {
	t.Parallel()
	header := http.Header{
		"Location": {"/a"}, "Set-Cookie": {"a=b; Path=/", "c=d; Path=/"}, "X-Odd": {"a\x01b", "c"},
		"Server-Timing": append(make([]string, 0, 2), "db;dur=1"), "Vary": append(make([]string, 0, 2), "Accept"),
	}
	want := header.Clone()
	f := functionsFunc(func(context.Context, *mayfly.Call) (mayfly.Reply, error) {
		return mayfly.Reply{Status: 302, Header: header}, nil
	})
	g := newGateway(t, failing(nil), directory{}, gateway.Options{Functions: f})
	var first http.Header
	for range 2 {
		w := serve(g, "GET /fn/f/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
		got := w.Header()
		delete(got, "X-Call-Id")
		got["Server-Timing"] = got["Server-Timing"][:1] // the other has a time
		if first == nil {
			first = got
		}
		if diff := cmp.Diff(first, got); diff != "" {
			t.Errorf("the second answer differs: %s", diff)
		}
		if diff := cmp.Diff(want, header); diff != "" {
			t.Errorf("the reply's headers changed: %s", diff)
		}
	}
	if diff := cmp.Diff([]string{"a=b; Path=/fn/f", "c=d; Path=/fn/f"}, first["Set-Cookie"]); diff != "" || first.Get("X-Odd") != "a b" {
		t.Errorf("%v %s", first, diff)
	}
}
