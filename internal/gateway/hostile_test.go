package gateway_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/micro"

	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/natstest"
)

// openHostile starts a gateway with everything that makes a subject of a path.
func openHostile(t *testing.T) *door {
	t.Helper()
	d := open(t, gateway.Options{Functions: projects{
		route(t, "control", "/control", controlled, ""),
		route(t, "one", "/one/{id}", "one.*.get", ""),
		route(t, "rest", "/rest/{rest...}", "rest.>", ""),
		route(t, "plain", "/plain", "plain", ""),
	}})
	subject := func(r micro.Request) { r.Respond([]byte(r.Subject())) }
	natstest.AddService(t, d.nc, "Echo", "1.0.0", natstest.Endpoint{Name: "echo"},
		natstest.Endpoint{Name: "one", Subject: "one.*.get", Answer: subject},
		natstest.Endpoint{Name: "rest", Subject: "rest.>", Answer: subject},
		natstest.Endpoint{Name: "plain", Answer: subject})
	return d
}

func TestHostilePaths(t *testing.T) {
	t.Parallel()
	d := openHostile(t)
	tap := d.tap(t)
	long := strings.Repeat("a", 5<<10)
	refused := []int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestHeaderFieldsTooLarge}

	for _, good := range []struct{ target, subject string }{
		{"/one/7", "one.7.get"},
		{"/rest/a/b", "rest.a.b"},
		{"/svc/Echo/one/7", "one.7.get"},
		{"/svc/Echo/rest/a/b", "rest.a.b"},
		{"http://localhost/one/7", "one.7.get"}, // RFC 9112, 3.2.2: a server must accept it
	} {
		a := d.raw(t, "GET "+good.target+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if a.StatusCode != 200 || a.body != good.subject {
			t.Fatalf("GET %s = %d %q, want %s", good.target, a.StatusCode, a.body, good.subject)
		}
		if got := subjects(d.published(t, tap)); !slices.Equal(got, []string{good.subject}) {
			t.Fatalf("GET %s published %q", good.target, got)
		}
	}

	values := []string{
		"*", ">", "%2A", "%3e", "a.b", "a%2eb", ".", "..", "%2e", "%2e%2e", "%2E./x", "a%20b", "a%09b", "%00", "a%00b", "%0d%0a", "a%0d%0aPUB%20x%200",
		"%ff", "%c3%28", "%ed%a0%80", "", "/", "a/", "a//b", "../$JS", "..%2f..", "%2e%2e%2f", "%7f", "%", "%zz", long, "a%2f.%2fb",
	}
	var targets []string
	for _, prefix := range []string{"/one/", "/svc/Echo/one/"} {
		for _, v := range values {
			targets = append(targets, prefix+v)
		}
	}
	for _, v := range []string{"*", ">", "a/>", "a/*/b", "a.b", "..", "a/../b", "a//b", "a/", "%00", "%ff", "a%20b", long, "a/%0d%0a"} {
		targets = append(targets, "/rest/"+v, "/svc/Echo/rest/"+v)
	}
	targets = append(
		targets, "/rest/", "/svc/Echo/rest", "//one/7", "/one//7", "/./one/7", "/x/../one/7", "/%2e%2e/one/7", "/one/7/", "/One/7",
		"/svc/$JS/API", "/svc/$JS.API.STREAM.DELETE.X/x", "/svc/Echo/$JS.API.STREAM.DELETE.X", "/svc/Echo/$SYS.REQ.SERVER.PING",
		"/svc/$SYS/REQ", "/svc/Echo/_INBOX.hostile", "/svc/_INBOX/hostile", "/svc/*/echo", "/svc/>/echo", "/svc/Echo/*", "/svc/Echo/>",
		"/svc/Echo/one.*.post", "/svc/Echo/mayfly.node", "/svc//echo", "/svc/Echo/", "/svc/Echo//", "/svc/%00/echo", "/svc/Echo/%0a", "/svc/"+long+"/echo",
		"/svc/Echo/"+long, "/svc/%45cho/../echo", "/svc%2fEcho%2fecho", "/%73vc/Echo/echo", "/"+long, "/$JS.API.INFO", "/fn/../plain", "/fn/plain",
		"*", "plain", "", "?", "mailto:plain", "http://", "http:///plain", "ftp://localhost/plain", "//localhost/plain", "\\plain", "/plain\x01", "/pl\x00ain", "/plain\x7f",
	)
	for _, target := range targets {
		a := d.raw(t, "GET "+target+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if !slices.Contains(refused, a.StatusCode) {
			t.Errorf("GET %.60q = %d %.80q", target, a.StatusCode, a.body)
		}
	}
	for _, request := range []string{
		"OPTIONS * HTTP/1.1", "CONNECT localhost:4222 HTTP/1.1", "CONNECT /plain HTTP/1.1", "CONNECT /one/7 HTTP/1.1", "CONNECT /svc/Echo/plain HTTP/1.1",
		"CONNECT * HTTP/1.1", "TRACE /plain HTTP/1.1", "TRACE /svc/Echo/plain HTTP/1.1", "GET  /plain HTTP/1.1", "GET /plain", "GET /plain HTTP/x", "G@T /plain HTTP/1.1", "PRI * HTTP/2.0", " GET /plain HTTP/1.1",
		"POST /svc HTTP/1.1", "DELETE /healthz HTTP/1.1", "GET /svc/Echo/one/7 8 HTTP/1.1",
	} {
		a := d.raw(t, request+"\r\nHost: localhost\r\n\r\n")
		if !slices.Contains(refused, a.StatusCode) {
			t.Errorf("%q = %d %.80q", request, a.StatusCode, a.body)
		}
	}
	if a := d.raw(t, "GET /plain HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 30<<10)+"\r\n\r\n"); a.StatusCode != 431 {
		t.Errorf("30 KiB of headers = %d", a.StatusCode)
	}
	if a := d.raw(t, "GET http://evil.test/plain HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.StatusCode != 403 {
		t.Errorf("a target on another host = %d", a.StatusCode)
	}
	if got := subjects(d.published(t, tap)); len(got) > 0 {
		t.Errorf("published %q", got)
	}
}

// A program that is asked for a WebSocket without the headers of the connection
// would answer something that its client cannot make sense of.
func TestWebSocketIsRefused(t *testing.T) {
	t.Parallel()
	d := openHostile(t)
	tap := d.tap(t)
	const start = "GET /plain HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: "
	for upgrade, status := range map[string]int{"websocket": 501, "WebSocket": 501, "h2c, websocket": 501, "h2c": 200, "": 200} {
		a := d.raw(t, start+upgrade+"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		if a.StatusCode != status || status == 501 && !strings.Contains(a.body, "server-sent events") {
			t.Errorf("Upgrade %q = %d %s", upgrade, a.StatusCode, a.body)
		}
		if got := len(d.published(t, tap)); got != 0 && status == 501 {
			t.Errorf("Upgrade %q published %d messages", upgrade, got)
		}
	}
}

// What one side takes for the end of a request and another side for its middle is
// how requests are smuggled past a proxy. Each case has one pinned answer, and
// what is refused is not published.
func TestSmuggledRequestsAreRefused(t *testing.T) {
	t.Parallel()
	d := openHostile(t)
	tap := d.tap(t)
	const start = "POST /plain HTTP/1.1\r\nHost: localhost\r\n"
	for _, tt := range []struct {
		name, request string
		status        int
	}{
		{"two lengths that differ", start + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400},
		{"two lengths in one", start + "Content-Length: 5, 6\r\n\r\nhello!", 400},
		{"two lengths that agree", start + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 200},
		{"length with a plus", start + "Content-Length: +5\r\n\r\nhello", 400},
		{"negative length", start + "Content-Length: -5\r\n\r\nhello", 400},
		{"length in hexadecimal", start + "Content-Length: 0x5\r\n\r\nhello", 400},
		{"length that overflows", start + "Content-Length: 99999999999999999999\r\n\r\nhello", 400},
		{"empty length", start + "Content-Length:\r\n\r\nhello", 400},
		{"other transfer encoding", start + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
		{"two transfer encodings", start + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
		{"transfer encoding twice", start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501},
		{"transfer encoding with a vertical tab", start + "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400},
		{"space before the colon", start + "Content-Length : 5\r\n\r\nhello", 400},
		// net/http unfolds it: the second line is part of X.
		{"folded line", start + "X: a\r\n Nats-Rollup: all\r\n\r\n", 200},
		{"bad chunk size", start + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n", 400},
		{"negative chunk size", start + "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", 400},
		{"chunk size that overflows", start + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n", 400},
		{"chunk longer than its size", start + "Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", 400},
		{"chunk without its end", start + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", 400},
		{"chunk ended by a bare LF", start + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", 400},
		{"no host", "POST /plain HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400},
		{"two hosts", start + "Host: localhost\r\nContent-Length: 0\r\n\r\n", 400},
		{"host with a space", "POST /plain HTTP/1.1\r\nHost: local host\r\nContent-Length: 0\r\n\r\n", 400},
		{"header without a colon", start + "Nonsense\r\n\r\n", 400},
		{"header without a name", start + ": x\r\n\r\n", 400},
		{"NUL in a header", start + "X: a\x00b\r\n\r\n", 400},
		{"bare CR in a header", start + "X: a\rNats-Rollup: all\r\n\r\n", 400},
		// net/http reads LF as the end of a line (RFC 9112, 2.2 allows it); what
		// stands behind is a header like another, and goes through the firewall.
		{"bare LF", "POST /plain HTTP/1.1\nHost: localhost\nNats-Rollup: all\nContent-Length: 0\n\n", 200},
	} {
		a := d.raw(t, tt.request)
		if a.StatusCode != tt.status {
			t.Errorf("%s: %d %.100q, want %d", tt.name, a.StatusCode, a.body, tt.status)
		}
		all := d.published(t, tap)
		want := 0
		if tt.status == 200 {
			want = 1
		}
		if len(all) != want {
			t.Errorf("%s: published %q, want %d", tt.name, subjects(all), want)
		}
		for _, m := range all {
			if m.Subject != "plain" || m.Header.Get("Nats-Rollup") != "" {
				t.Errorf("%s: published %s %v", tt.name, m.Subject, m.Header)
			}
		}
	}
}

// RFC 9112, 6.3: Transfer-Encoding wins over Content-Length. What stands behind the last
// chunk may be meant as a part of the body, so it is not answered (6.1).
func TestChunkedWinsOverLength(t *testing.T) {
	t.Parallel()
	d := openHostile(t)
	tap := d.tap(t)
	_, r := d.send(t, "POST /plain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"5\r\nhello\r\n0\r\n\r\nGET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if a := read(t, r); a.StatusCode != 200 || !a.Close {
		t.Errorf("the first = %d %s, close %v", a.StatusCode, a.body, a.Close)
	}
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("after the answer: %q", rest)
	}
	all := d.published(t, tap)
	if len(all) != 1 || string(all[0].Data) != "hello" {
		t.Errorf("published %q", subjects(all))
	}
}

func TestBodyCutShortIsNotPublished(t *testing.T) {
	t.Parallel()
	d := openHostile(t)
	tap := d.tap(t)
	for _, body := range []string{"Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		conn, r := d.send(t, "POST /plain HTTP/1.1\r\nHost: localhost\r\n"+body)
		if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if a := read(t, r); a.StatusCode != 400 || !strings.Contains(a.body, "truncated") {
			t.Errorf("%q = %d %s", body, a.StatusCode, a.body)
		}
		if got := subjects(d.published(t, tap)); len(got) > 0 {
			t.Errorf("%q published %q", body, got)
		}
	}
}
