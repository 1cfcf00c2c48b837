//go:build unix

package node_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// One function, two carriers: a gateway calls it directly where its own node holds
// it, and by its subject where another does. No client must be able to tell which.
// A request is written as bytes, so that it holds what no library would send, and
// the answers are compared as bytes.
//
// What may differ is listed here. Server-Timing, Date and X-Call-Id, of course. The
// framing of a body whose length the function does not say: a program's may be short and
// whole, or begin before its end is known. And a body that is
// longer than a message, or streamed, passes only where no NATS is between.

// A request is what a client sends to /fn/<function>, or to the whole path.
type request struct {
	name     string
	method   string   // GET if empty
	to       string   // function and rest; a whole path if it begins with /
	header   []string // lines
	body     string
	chunked  bool // the body's length is not said beforehand
	streamed bool // the reply's neither
	early    bool // it is refused before the gateway sees it

	status int      // of the answer
	has    []string // what else must stand in it
	hasNot []string
}

// bytes returns what goes over the connection.
func (r request) bytes() []byte {
	method, path := r.method, r.to
	if method == "" {
		method = http.MethodGet
	}
	if path[0] != '/' {
		path = "/fn/" + path
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, path)
	for _, line := range r.header {
		b.WriteString(line + "\r\n")
	}
	switch {
	case r.chunked:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(r.body), r.body)
	case r.body != "" || method == http.MethodPost || method == http.MethodPut:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(r.body), r.body)
	default:
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// send sends it to a gateway and returns the answer, less what may differ.
func (r request) send(t *testing.T, gateway string) (status int, text string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(gateway, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(r.bytes()); err != nil {
		t.Fatal(err)
	}
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	call := resp.Header.Get(mayfly.HeaderCallID)
	if !r.early && (len(call) != 32 || resp.Header.Get("Date") == "") {
		t.Errorf("the call's id or the date is missing: %v", resp.Header)
	}
	for _, name := range []string{mayfly.HeaderCallID, mayfly.HeaderTiming, "Date"} {
		resp.Header.Del(name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", resp.Proto, resp.Status)
	for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
		if name == "Content-Length" && r.streamed {
			continue
		}
		fmt.Fprintf(&b, "%s: %q\n", name, resp.Header[name])
	}
	if !r.streamed {
		fmt.Fprintf(&b, "framing %d %v\n", resp.ContentLength, resp.TransferEncoding)
	}
	fmt.Fprintf(&b, "%s\n%v\n", body, err)
	text = b.String()
	if call != "" {
		text = strings.ReplaceAll(text, call, "<call>")
	}
	return resp.StatusCode, text
}

const script = `#!/bin/sh
case $PATH_INFO in
/echo) exec cat ;;
/where) echo "$REQUEST_METHOD $PATH_INFO $QUERY_STRING $HTTP_X_ASK $CONTENT_TYPE $CONTENT_LENGTH" ;;
/param*) echo "$MAYFLY_PARAM_ID" ;;
/made) printf 'Status: 201 Made\nX-Made: yes\nSet-Cookie: a=1\nSet-Cookie: b=2\n\nmade' ;;
/nothing) printf 'Status: 204 None\n\n' ;;
/away) printf 'Location: /elsewhere\n\n' ;;
/fails) echo last words >&2; exit 3 ;;
/garbage) echo no header ;;
/hang) exec sleep 100 ;;
/binary) printf '\001\377\000x' ;;
esac
`

// carriers returns the gateways of two nodes with the same functions. The first
// calls them directly, the second over NATS.
func carriers(t *testing.T, development bool) (direct, bus string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "run.sh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	shell := func(name mayfly.Name, change ...func(*mayfly.Unit)) mayfly.Unit {
		f := mayfly.Unit{Name: name}
		f.Engine, f.Start = mayfly.EngineExec, []string{"./run.sh"}
		for _, c := range change {
			c(&f)
		}
		return f
	}
	hasty := func(f *mayfly.Unit) { f.Timeout = mayfly.Duration(200 * time.Millisecond) }
	patterns := func(texts ...string) func(*mayfly.Unit) {
		return func(f *mayfly.Unit) {
			for _, text := range texts {
				p, err := mayfly.ParsePattern(text)
				if err != nil {
					t.Fatal(err)
				}
				f.HTTP = append(f.HTTP, p)
			}
		}
	}
	functions := []mayfly.Unit{
		web("web"), web("hasty", hasty), web("fragile"),
		web("small", func(f *mayfly.Unit) { f.Body = 1000 }),
		web("own", patterns("GET /own/{id}", "/tree/{rest...}", "POST /own/{id}/{what}")),
		web("broken", func(f *mayfly.Unit) { f.Start = []string{"/bin/sh", "-c", "echo no such module >&2; exit 4"} }),
		shell("sh"), shell("hasty-sh", hasty), shell("cgi", func(f *mayfly.Unit) { f.CGI = true }),
		shell("own-sh", patterns("GET /param/{id}")),
	}
	start := func(local bool) string {
		o := options(t)
		o.Config.Gateway.Local, o.Config.Dev = local, development
		n := start(t, o)
		for _, f := range functions {
			set(t, n, f, folder)
		}
		eventually(t, "the functions' patterns are routes", func() bool {
			return len(n.Node.Status().Routes) == 4
		})
		awaitStatus(t, n.Gateway+"/fn/hasty/nothing", 204) // its time is too short for a start
		return n.Gateway
	}
	return start(true), start(false)
}

// set serves f by a node, as a session does.
func set(t *testing.T, n *running, f mayfly.Unit, folder string) {
	t.Helper()
	if err := n.Roster().Set(f, runner.Folder(func(context.Context) (string, error) { return folder, nil })); err != nil {
		t.Fatal(err)
	}
}

func TestCarriersAnswerAlike(t *testing.T) {
	t.Parallel()
	direct, bus := carriers(t, false)
	long := strings.Repeat("0123456789abcdef", 40<<10/16)
	longer := strings.Repeat("0123456789abcdef", 900<<10/16)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, r := range []request{
		{name: "get", to: "web", status: 200, has: []string{"GET / HTTP/1.1", "host localhost"}},
		{name: "get with a body", to: "web/x", body: "why not", status: 200, has: []string{"GET /x", "\n7 "}},
		{name: "head", method: "HEAD", to: "web/reply?X-A=1", status: 200, has: []string{`X-A: ["1"]`}},
		{name: "the length of a head", method: "HEAD", to: "web/sized", status: 200, has: []string{`Content-Length: ["7"]`}},
		{name: "post", method: "POST", to: "web/echo", body: "hello", status: 200, has: []string{"POST /echo"}},
		{name: "put", method: "PUT", to: "web/echo", body: "hello", status: 200},
		{name: "patch", method: "PATCH", to: "web/echo", body: "hello", status: 200, has: []string{"PATCH /echo"}},
		{name: "delete", method: "DELETE", to: "web/echo", status: 200, has: []string{"DELETE /echo"}},
		{name: "options", method: "OPTIONS", to: "web/echo", status: 200, has: []string{"OPTIONS /echo"}},
		{name: "a preflight", method: "OPTIONS", to: "web/echo", header: []string{"Origin: http://example.org", "Access-Control-Request-Method: PUT"}, status: 200},
		{name: "from another site", method: "POST", to: "web/echo", header: []string{"Origin: http://example.org", "Sec-Fetch-Site: cross-site"}, status: 403},
		{name: "a method of one's own", method: "BREW", to: "web/pot", status: 200, has: []string{"BREW /pot"}},
		{name: "trace", method: "TRACE", to: "web/echo", status: 405},

		{name: "a query", to: "web/q?a=1&b=%20x&a=2&&c", status: 200, has: []string{"GET /q?a=1&b=%20x&a=2&&c"}},
		{name: "an empty query", to: "web/q?", status: 200},
		{name: "escapes in the path", to: "web/a%2Fb/c%20d/%C3%BC/%25", status: 200, has: []string{"GET /a%2Fb/c%20d/%C3%BC/%25"}},
		{name: "bytes beyond ASCII in the path", to: "web/\u00fc", status: 200, has: []string{"GET /%C3%BC"}},
		{name: "empty segments", to: "web//a//b/", status: 200, has: []string{"GET //a//b/"}},
		{name: "dot segments", to: "web/a/../b", status: 400, has: []string{`the segment \"..\"`}},
		{name: "an escaped name", to: "w%65b/x", status: 200, has: []string{"GET /x"}},
		{name: "the other prefix", to: "/function/web/x", status: 200, has: []string{`X-Forwarded-Prefix: "/function/web"`}},
		{name: "an escaped prefix", to: "/f%6e/web/x", status: 200, has: []string{"GET /x"}},
		{name: "a plus and a colon", to: "web/a+b:c;d=e,f", status: 200, has: []string{"GET /a+b:c;d=e,f"}},

		{name: "a header twice", to: "web", header: []string{"X-Twice: 1", "x-twice: 2", "X-Empty:"}, status: 200, has: []string{"X-Twice: \"1\"\nX-Twice: \"2\"", `X-Empty: ""`}},
		{name: "cookies", to: "web", header: []string{"Cookie: a=1; b=2", "Cookie: c=3"}, status: 200, has: []string{"a=1; b=2"}},
		{name: "a value beyond ASCII", to: "web", header: []string{"X-Name: J\u00fcrgen", "X-Latin: \xfc"}, status: 200, has: []string{"J\u00fcrgen"}},
		{name: "a long value", to: "web", header: []string{"X-Long: " + strings.Repeat("y", 8000)}, streamed: true, status: 200, has: []string{strings.Repeat("y", 8000)}},
		{name: "names that are ours", to: "web", header: []string{"Mayfly-Call: 1", "mayfly-param-id: 2", "Nats-Msg-Id: 3", "Status: 503", "Description: x", "KV-Operation: DEL"}, status: 200, hasNot: []string{"Param", "Nats", "Status", "Description", "Operation"}},
		{name: "names of the connection", to: "web", header: []string{"TE: trailers", "Connection: X-Gone", "X-Gone: 1", "Keep-Alive: 5", "Proxy-Authorization: x", "Upgrade: h2c"}, status: 200, hasNot: []string{"Gone", "Te:", "Keep", "Proxy", "Upgrade"}},
		{name: "what proxies say", to: "web", header: []string{"X-Forwarded-For: 8.8.8.8", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /evil", "Forwarded: for=8.8.8.8"}, status: 200, has: []string{`X-Forwarded-For: "127.0.0.1"`, `X-Forwarded-Proto: "http"`, `X-Forwarded-Prefix: "/fn/web"`}, hasNot: []string{"8.8.8.8", "evil"}},
		{name: "a trace", to: "web", header: []string{"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Tracestate: a=1"}, status: 200, has: []string{"Tracestate"}},
		{name: "a range and conditions", to: "web", header: []string{"Range: bytes=0-1", "If-Match: \"1\"", "If-Modified-Since: x"}, status: 200, has: []string{"Range", "If-Match"}},
		{name: "authorization", to: "web", header: []string{"Authorization: Basic YTpi"}, status: 200, has: []string{"Basic YTpi"}},

		{name: "an empty body", method: "POST", to: "web/reply", status: 200},
		{name: "a body of every byte", method: "POST", to: "web/reply", body: string(every), status: 200},
		{name: "a body in chunks", method: "POST", to: "web/sum", body: "hello", chunked: true, status: 200, has: []string{"5 2cf24dba"}},
		{name: "a longer body", method: "POST", to: "web/reply", body: long, streamed: true, status: 200, has: []string{long}},
		{name: "a body that fills a message", method: "POST", to: "web/sum", body: longer, status: 200, has: []string{"921600 "}},
		{name: "a reply that fills a message", to: "web/large/900000", streamed: true, status: 200},
		{name: "a body up to the limit", method: "POST", to: "small/sum", body: long[:1000], status: 200},
		{name: "a body over the limit", method: "POST", to: "small/sum", body: long[:1001], status: 413, has: []string{"1000 bytes"}},
		{name: "chunks over the limit", method: "POST", to: "small/sum", body: long, chunked: true, status: 413, has: []string{"1000 bytes"}},
		{name: "a body with expectations", method: "POST", to: "small/sum", header: []string{"Expect: 200-ok"}, body: "x", early: true, status: 417},

		{name: "a status", to: "web/status/418/short", status: 418, has: []string{"short"}},
		{name: "a failure with words", to: "web/status/503/tired", status: 503, has: []string{"tired"}},
		{name: "a failure without", to: "web/status/500", status: 500},
		{name: "not found by the function", to: "web/status/404", status: 404},
		{name: "a status nobody knows", to: "web/status/599/x", status: 599},
		{name: "no content", to: "web/nothing", status: 204},
		{name: "a redirect", to: "web/redirect", status: 303, has: []string{"/elsewhere?x=1#part"}},
		{name: "early hints", to: "web/early", status: 200, has: []string{"late", "preload"}},
		{name: "cookies of the reply", to: "web/reply?Set-Cookie=a%3D1&Set-Cookie=b%3D2&Vary=X", status: 200, has: []string{`["a=1" "b=2"]`}},
		{name: "names of the reply that are ours", to: "web/reply?Mayfly-Status=404&Nats-Service-Error=x&Nats-Service-Error-Code=503&Mayfly-Error=crashed&Status=503&Description=x&X-Call-Id=forged", status: 200, hasNot: []string{"Mayfly", "Nats", "503", "Description", "forged"}},
		{name: "an empty reply that looks like nobody there", to: "web/reply?Status=503", status: 200},
		{name: "names of the reply's connection", to: "web/reply?Keep-Alive=5&Upgrade=h2c&Proxy-Authenticate=x&X-Kept=1", status: 200, has: []string{"X-Kept"}, hasNot: []string{"Keep-Alive", "Upgrade", "Proxy"}},
		{name: "a tag that matches", to: "web/tagged", header: []string{`If-None-Match: W/"1"`}, status: 304},
		{name: "a tag that does not", to: "web/tagged", header: []string{`If-None-Match: "2"`}, status: 200, has: []string{"tagged"}},
		{name: "the tag of a long reply", to: "web/largetagged", header: []string{`If-None-Match: "1"`}, streamed: true, status: 304},
		{name: "the tag of a head", method: "HEAD", to: "web/tagged", header: []string{`If-None-Match: *`}, status: 304},
		{name: "not modified by the function", to: "web/notmodified", status: 304},
		{name: "a packed reply", to: "web/gzip", header: []string{"Accept-Encoding: gzip"}, status: 200, has: []string{"\x1f\x8b", "gzip"}},
		{name: "json without a type", method: "POST", to: "web/untyped", body: `{"a":1}`, status: 200, has: []string{"application/json"}},
		{name: "text without a type", method: "POST", to: "web/untyped", body: "a", status: 200, has: []string{"text/plain"}},
		{name: "bytes without a type", method: "POST", to: "web/untyped", body: "\xff\x00", status: 200, has: []string{"octet-stream"}},
		{name: "pieces", to: "web/pieces/3", streamed: true, status: 200, has: []string{"piece 0\npiece 1\npiece 2\n"}},
		{name: "the head of pieces", method: "HEAD", to: "web/pieces/3", streamed: true, status: 200},

		{name: "nobody of that name", to: "nobody", status: 404, has: []string{"not_found", "mayfly list"}},
		{name: "no name", to: "/fn/", status: 404},
		{name: "no slash", to: "/fn", status: 404},
		{name: "a name that is none", to: "No_Name/x", status: 404},
		{name: "a name that is a wildcard", to: "*", status: 404},
		{name: "a name that is a subject", to: "web.x", status: 404},
		{name: "a name without an end", to: strings.Repeat("n", 300), status: 404},
		{name: "a bad escape", to: "%zz", early: true, status: 400},
		{name: "as a service", to: "/svc/web/call", status: 404, has: []string{"/fn/"}},
		{name: "as a job", method: "POST", to: "web", header: []string{"Prefer: respond-async"}, status: 501},
		{name: "no reply in time", to: "hasty/hang", status: 504, has: []string{"200ms", "raise `timeout:` of hasty in mayfly.yaml (now 200ms)"}},
		{name: "a crash", to: "fragile/exit", status: 502, has: []string{"crashed", "exit status 3"}},
		{name: "a crash that a shim tells", to: "web/crash", status: 502, has: []string{"TypeError: x is not a function"}, hasNot: []string{"hello.js"}},
		{name: "a reply that is none", to: "web/garbage", status: 502, has: []string{"malformed"}},
		{name: "headers without measure", to: "web/reply?X-A=" + strings.Repeat("a", 3000) + strings.Repeat("&X-A="+strings.Repeat("a", 3000), 3), status: 200},
		{name: "a function that does not start", to: "broken", status: 502, has: []string{"exit status 4"}},

		{name: "a path of one's own", to: "/own/7%20a?x=1", status: 200, has: []string{"GET /own/7%20a?x=1", `Mayfly-Param-Id: "7 a"`}, hasNot: []string{"Prefix"}},
		{name: "the rest of a path", to: "/tree/a/b/c", status: 200, has: []string{`Mayfly-Param-Rest: "a/b/c"`}},
		{name: "two parameters", method: "POST", to: "/own/7/buy", body: "x", status: 200, has: []string{`Mayfly-Param-What: "buy"`}},
		{name: "a method that the path has not", method: "PUT", to: "/own/7", status: 405, has: []string{"Allow"}},

		{name: "exec: a body back", method: "POST", to: "sh/echo", body: string(every), streamed: true, status: 200},
		{name: "exec: what it is told", method: "PUT", to: "sh/where?a=%20b", header: []string{"X-Ask: me", "Content-Type: a/b"}, body: "xyz", streamed: true, status: 200, has: []string{"PUT /where a=%20b me a/b 3"}},
		{name: "exec: bytes", to: "sh/binary", streamed: true, status: 200, has: []string{"octet-stream"}},
		{name: "exec: a long body", method: "POST", to: "sh/echo", body: longer, streamed: true, status: 200, has: []string{longer}},
		{name: "exec: a parameter", to: "/param/7", streamed: true, status: 200, has: []string{"\n7\n"}},
		{name: "exec: a crash", to: "sh/fails", streamed: true, status: 502, has: []string{"exit status 3"}},
		{name: "exec: no reply in time", to: "hasty-sh/hang", streamed: true, status: 504, has: []string{"200ms"}},
		{name: "cgi: status and headers", to: "cgi/made", streamed: true, status: 201, has: []string{"X-Made", `["a=1" "b=2"]`}},
		{name: "cgi: no content", to: "cgi/nothing", streamed: true, status: 204},
		{name: "cgi: a redirect", to: "cgi/away", streamed: true, status: 302},
		{name: "cgi: no headers", to: "cgi/garbage", streamed: true, status: 502, has: []string{"CGI"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.sendBoth(t, direct, bus)
		})
	}
}

// sendBoth sends a request both ways and compares.
func (r request) sendBoth(t *testing.T, direct, bus string) {
	t.Helper()
	status, text := r.send(t, direct)
	otherStatus, other := r.send(t, bus)
	if status != r.status || otherStatus != r.status {
		t.Errorf("status %d directly, %d over NATS, want %d", status, otherStatus, r.status)
	}
	if text != other {
		t.Errorf("directly (-) it is not as over NATS (+):\n%.4000s", cmp.Diff(text, other))
	}
	for _, want := range r.has {
		if !strings.Contains(text, want) {
			t.Errorf("no %.100q in\n%.2000s", want, text)
		}
	}
	for _, not := range r.hasNot {
		if strings.Contains(text, not) {
			t.Errorf("%q in\n%.2000s", not, text)
		}
	}
}

// The trace of a crash is for whoever works on the function.
func TestCarriersTellDevelopersAlike(t *testing.T) {
	t.Parallel()
	direct, bus := carriers(t, true)
	for _, r := range []request{
		{name: "a trace", to: "web/crash", status: 502, has: []string{`"trace":"TypeError`, "hello.js:3:1"}},
		{name: "a start that fails", to: "broken", status: 502, has: []string{"no such module"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.sendBoth(t, direct, bus)
		})
	}
}
