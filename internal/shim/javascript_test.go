package shim_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/shim"
)

// A nodeFunction is an instance of a JavaScript function.
type nodeFunction struct{ *instance }

// buildJavaScript builds a file and fails the test if that is an error.
func buildJavaScript(t *testing.T, entry string) (folder string, r shim.Result) {
	t.Helper()
	folder = t.TempDir()
	r, err := shim.JavaScript(t.Context(), shim.JavaScriptOptions{Entry: entry, Out: folder})
	if err != nil {
		t.Fatalf("build %s: %v\n%v", entry, err, mayflyTrace(err))
	}
	return folder, r
}

// startJavaScript builds a file, runs it, and returns when it listens.
func startJavaScript(t *testing.T, entry string, env ...string) nodeFunction {
	t.Helper()
	requireNode(t)
	entry, err := filepath.Abs(entry)
	if err != nil {
		t.Fatal(err)
	}
	folder, r := buildJavaScript(t, entry)
	return nodeFunction{start(t, r, folder, env...)}
}

// do sends a request to a case of the function and returns the whole reply.
func (n nodeFunction) do(t *testing.T, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://functions.test"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := n.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return res, string(got) + "<" + err.Error() + ">"
	}
	return res, string(got)
}

func requireNode(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("node")
	natstest.Require(t, "node", err, "install Node.js 18 or newer from https://nodejs.org")
}

func TestJavaScriptAnswers(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, "testdata/javascript/behaviour.js", "SECRET=s3cret")
	zipped := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Upstream", "yes")
		http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader("from upstream"))
	}))
	t.Cleanup(zipped.Close)
	const plain, jsonType = "text/plain;charset=UTF-8", "application/json"

	for _, tt := range []struct {
		name   string
		method string
		path   string
		send   string
		header []string

		status int // 200 if 0
		kind   string
		want   string
		reply  []string // headers of the reply; "" for none
	}{
		{name: "text", path: "/text", kind: plain, want: "hello"},
		{name: "empty text", path: "/empty", kind: plain},
		{name: "text beyond ASCII", path: "/unicode", kind: plain, want: "h\u00e9llo \u2713"},
		{name: "large text", path: "/large", kind: plain, want: strings.Repeat("x", 3_000_000)},
		{name: "an object", path: "/object", kind: jsonType, want: `{"a":1}`},
		{name: "a list", path: "/list", kind: jsonType, want: `[1,2]`},
		{name: "a number", path: "/number", kind: jsonType, want: `42`},
		{name: "a boolean", path: "/yes", kind: jsonType, want: `true`},
		{name: "nothing", path: "/nothing", status: 204},
		{name: "null", path: "/null", status: 204},
		{name: "bytes", path: "/bytes", kind: "application/octet-stream", want: "bytes"},
		{name: "a Buffer", path: "/buffer", kind: "application/octet-stream", want: "buffer"},
		{name: "an ArrayBuffer", path: "/arrayBuffer", kind: "application/octet-stream", want: "bytes"},
		{name: "a Blob", path: "/blob", kind: "text/x-blob", want: "blob"},
		{name: "URLSearchParams", path: "/params", kind: "application/x-www-form-urlencoded;charset=UTF-8", want: "a=b+c"},
		{name: "a promise", path: "/promise", kind: plain, want: "later"},
		{name: "something like a promise", path: "/thenable", kind: plain, want: "thenable"},
		{name: "a Response", path: "/response", status: 201, kind: plain, want: "created", reply: []string{"X-A", "1"}},
		{name: "a Response of bytes", path: "/responseBytes", want: "bytes"},
		{name: "a Response without a body", path: "/responseEmpty", status: 202},
		{name: "Response.json", path: "/responseJSON", status: 203, kind: jsonType, want: `{"b":2}`},
		{name: "a Response of a stream", path: "/responseStream", kind: "text/x-stream", want: "one two"},
		{name: "a Response of a form", path: "/responseForm", kind: "application/x-www-form-urlencoded;charset=UTF-8", want: "c=d"},
		{name: "a redirect", path: "/redirect", status: 307, reply: []string{"Location", "http://example.com/there"}},
		{name: "not found", path: "/notFound", status: 404, kind: plain, want: "no such thing"},
		{name: "several cookies", path: "/cookies", kind: plain, want: "cookies", reply: []string{"Set-Cookie", "a=1", "Set-Cookie", "b=2"}},
		{name: "a Latin-1 header", path: "/latin", kind: plain, want: "\u2713", reply: []string{"X-Latin", "caf\xe9"}},
		{name: "headers of the connection are ours", path: "/hop", kind: plain, want: "hop"},
		{name: "a stream", path: "/stream", want: "bytes and text"},
		{name: "a generator", path: "/generator", kind: plain, want: "ab"},
		{name: "an async generator", path: "/asyncGenerator", kind: "application/octet-stream", want: "bytes!"},
		{name: "a generator without chunks", path: "/noChunks"},
		{name: "a fetched Response", path: "/fetched", method: "POST", send: zipped.URL, kind: "text/plain; charset=utf-8", want: "from upstream", reply: []string{"X-Upstream", "yes"}},
		{name: "HEAD of text", method: "HEAD", path: "/text", kind: plain, reply: []string{"Content-Length", "5"}},
		{name: "HEAD with a length", method: "HEAD", path: "/length", reply: []string{"Content-Length", "42"}},
		{name: "HEAD without a length", method: "HEAD", path: "/responseEmpty", status: 202, reply: []string{"Content-Length", ""}},
		{name: "HEAD of a stream", method: "HEAD", path: "/responseStream", kind: "text/x-stream"},
		{name: "HEAD of a generator", method: "HEAD", path: "/generator", kind: plain},

		{
			name: "a request", method: "PUT", path: "/echo/a%2Fb?q=%20&q=2", send: "sent", kind: jsonType,
			header: []string{"Mayfly-Call", "c1", "Mayfly-Param-Id", "Zo\u00eb", "X-A", "1", "X-A", "2", "Cookie", "a=1", "Cookie", "b=2"},
			want:   `{"method":"PUT","url":"http://functions.test/echo/a%2Fb?q=%20&q=2","body":"sent","used":true,"call":"c1","id":"Zo` + "\u00eb" + `","a":"1, 2","cookie":"a=1; b=2"}`,
		},
		{
			name: "a request without anything", path: "/echo", kind: jsonType,
			want: `{"method":"GET","url":"http://functions.test/echo","body":"","used":false,"call":"","a":null,"cookie":null}`,
		},
		{name: "a path with two slashes", path: "//text", status: 404, kind: plain, want: "no case "},
		{name: "JSON", method: "POST", path: "/json", send: "\ufeff{\"n\": [1]}", kind: jsonType, want: `{"got":{"n":[1]}}`},
		{name: "a long body as a stream", method: "POST", path: "/upload", send: strings.Repeat("y", 2_000_000), kind: plain, want: "2000000"},
		{name: "a long body that nobody reads", method: "POST", path: "/unread", send: strings.Repeat("y", 2_000_000), kind: plain, want: "not read"},
		{name: "a body passed on", method: "POST", path: "/proxied", send: "passed on", header: []string{"Content-Type", "text/x-mine"}, want: "passed on", reply: []string{"X-Was", "text/x-mine"}},
		{
			name: "the context", path: "/context", kind: jsonType, header: []string{"Mayfly-Call", "c2", "Mayfly-Deadline", "1700000000123"},
			want: `{"call":"c2","deadline":1700000000123,"secret":"s3cret","hidden":[],"aborted":false}`,
		},
		{
			name: "instanceof", path: "/instance", kind: jsonType,
			want: `[true,true,true,true,true,true,true,false,false,"[object Request]",true]`,
		},
		{name: "a rejection outside of the call", path: "/forget", kind: plain, want: "fine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res, got := n.do(t, cmp.Or(tt.method, "GET"), tt.path, tt.send, tt.header...)
			if want := cmp.Or(tt.status, 200); res.StatusCode != want {
				t.Errorf("status = %d, want %d", res.StatusCode, want)
			}
			if got != tt.want {
				t.Errorf("body = %.200q, want %.200q", got, tt.want)
			}
			if kind := res.Header.Get("Content-Type"); kind != tt.kind {
				t.Errorf("Content-Type = %q, want %q", kind, tt.kind)
			}
			want := http.Header{}
			for i := 0; i < len(tt.reply); i += 2 {
				want.Add(tt.reply[i], tt.reply[i+1])
			}
			for name, values := range want {
				if got := res.Header[name]; !slices.Equal(got, values) && (got != nil || values[0] != "") {
					t.Errorf("%s = %q, want %q", name, got, values)
				}
			}
		})
	}
}

func TestJavaScriptReadsForms(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, "testdata/javascript/behaviour.js")
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	w.WriteField("a", "field")
	f, _ := w.CreateFormFile("f", "f.txt")
	io.WriteString(f, "file")
	w.Close()
	if _, got := n.do(t, "POST", "/form", form.String(), "Content-Type", w.FormDataContentType()); got != "field file" {
		t.Errorf("the form was read as %q", got)
	}
}

func TestJavaScriptCrashIsSaid(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, "testdata/javascript/behaviour.js")
	for _, tt := range []struct {
		name, path string
		crash      string
		trace      string // a part of it
	}{
		{"thrown", "/throws", "TypeError: it is \u2713 broken in two lines", "(behaviour.js:"},
		{"rejected", "/rejects", "Error: rejected", "[cause]: Error: the cause"},
		{"not an error", "/throwsText", "thrown: 'only text'", "'only text'"},
		{"before the first chunk", "/throwsFirst", "Error: before the first chunk", "behaviour.js:"},
		{"after the first chunk, at once", "/throwsSecond", "Error: for the second chunk", "behaviour.js:"},
		{"after the first chunk, async", "/throwsSecondAsync", "Error: for the second chunk", "behaviour.js:"},
		{"a stream at once", "/streamThrows", "Error: of a stream", "behaviour.js:"},
		{"status", "/badStatus", "RangeError: status 99 is not between 200 and 599", "behaviour.js:"},
		{"header's value", "/badHeader", `TypeError: "a\r\nb: c" is not a header value`, "behaviour.js:"},
		{"header's name", "/badName", `TypeError: "x bad" is not a header name`, "behaviour.js:"},
		{"circular object", "/badJSON", "TypeError: Converting circular structure to JSON", "circular"},
		{"a function", "/badKind", "TypeError: the handler returned a function, which is not a reply", ""},
		{"a network error", "/networkError", "TypeError: the handler returned Response.error()", ""},
		{"body read twice", "/twice", "TypeError: Body is unusable: it was already read", "behaviour.js:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res, body := n.do(t, "POST", tt.path, "body")
			if res.StatusCode != 502 || !strings.HasPrefix(res.Header.Get(mayfly.HeaderCrash), tt.crash) {
				t.Errorf("%d, %s = %q, want %q", res.StatusCode, mayfly.HeaderCrash, res.Header.Get(mayfly.HeaderCrash), tt.crash)
			}
			if !strings.Contains(body, tt.trace) {
				t.Errorf("the trace has no %q:\n%s", tt.trace, body)
			}
			for _, ours := range []string{"shim.cjs", "node:"} {
				if strings.Contains(body, ours) {
					t.Errorf("the trace names %s:\n%s", ours, body)
				}
			}
			n.stderr.wait(t, strings.SplitN(body, "\n", 2)[0])
		})
	}
}

func TestJavaScriptTraceNamesLinesAndColumns(t *testing.T) {
	t.Parallel()
	lib := "// Fails.\nexport const fail: (why: string) => never = (why) => {\n  throw new Error(why);\n};\n"
	lazy := "import { fail } from './lib';\n\nexport const value = fail('while it loads');\n"
	entry := "#!/usr/bin/env node\nimport { fail } from './lib';\ntype Nothing = {};\n%s\n" +
		"export default async (request: Request) => {\n  if (request.url.endsWith('/lazy')) await import('./lazy');\n  if (request.url.endsWith('/placed')) (await import('./deep/placed')).fall();\n  fail('here');\n};\n"
	placed := "// Knows its place.\ntype Nothing = {};\nexport const fall = (): never => {\n  throw new Error(import.meta.url + __dirname);\n};\n"
	for _, tt := range []struct{ name, line string }{
		{"CommonJS", ""},
		{"ES module", "await null;"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := startJavaScript(t, writeFiles(t, "a.ts", fmt.Sprintf(entry, tt.line), "lib.ts", lib, "lazy.ts", lazy, "deep/placed.ts", placed))
			for path, places := range map[string][]string{
				"/":       {"lib.ts:3:9)", "a.ts:8:3)"},
				"/lazy":   {"lib.ts:3:9)", "lazy.ts:3:22)"},
				"/placed": {"deep/placed.ts:4:9)", "a.ts:7:"},
			} {
				_, trace := n.do(t, "GET", path, "")
				for _, place := range places {
					if !strings.Contains(trace, "("+place) && !strings.Contains(trace, "at "+strings.TrimSuffix(place, ")")) {
						t.Errorf("%s: the trace does not name %s\n%s", path, place, trace)
					}
				}
				if strings.Contains(trace, "function.") || strings.Contains(trace, "shim.cjs") {
					t.Errorf("%s: the trace names more than the user's files\n%s", path, trace)
				}
			}
		})
	}
}

func TestJavaScriptBodyThatIsNoJSONIsTheClientsFault(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, "testdata/javascript/behaviour.js")
	res, body := n.do(t, "POST", "/json", "{")
	if res.StatusCode != 400 || !strings.HasPrefix(body, "the request's body is not JSON: ") || res.Header.Get(mayfly.HeaderCrash) != "" {
		t.Errorf("%d %q, %v", res.StatusCode, body, res.Header)
	}
}

func TestJavaScriptStreamThatFailsBreaksOff(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, "testdata/javascript/behaviour.js")
	for _, path := range []string{"/throwsLater", "/badChunk", "/badLength"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://functions.test"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := n.client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		if err == nil {
			t.Errorf("%s ended as if nothing had happened", path)
		}
	}
	n.stderr.wait(t, "Error: after the first chunk")
	n.stderr.wait(t, "a chunk of a stream must be text or bytes, not object")
	if _, got := n.do(t, "GET", "/text", ""); got != "hello" {
		t.Errorf("afterwards the function says %q", got)
	}
}

func TestJavaScriptLinesCarryTheirCall(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, "testdata/javascript/behaviour.js")
	n.do(t, "GET", "/logs", "", mayfly.HeaderCall, "c1")
	mark := func(call, text string) string { return mayfly.LineMark + call + mayfly.LineMark + text + "\n" }
	n.stdout.wait(t, mark("c1", "one"))
	n.stdout.wait(t, mark("c1", "half a line"))
	n.stderr.wait(t, mark("c1", "four"))

	var both sync.WaitGroup
	for _, name := range []string{"ada", "bob"} {
		both.Go(func() { n.do(t, "GET", "/meet", "", mayfly.HeaderCall, name+"1", "X-Name", name) })
	}
	both.Wait()
	for _, name := range []string{"ada", "bob"} {
		n.stdout.wait(t, mark(name+"1", name+" came"))
	}
	for line := range strings.Lines(n.stdout.String()) {
		mark, text, _ := strings.Cut(strings.TrimPrefix(line, mayfly.LineMark), mayfly.LineMark)
		if name := strings.Fields(text)[0]; (name == "ada" || name == "bob") && mark != name+"1" {
			t.Errorf("%q is marked as a line of call %q", text, mark)
		}
	}
	n.do(t, "GET", "/throwsText", "", mayfly.HeaderCall, "c3")
	n.stderr.wait(t, mark("c3", "'only text'"))
}

// stream opens a reply and returns its body.
func (n nodeFunction) stream(t *testing.T, path string) (*bufio.Reader, func()) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://functions.test"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := n.client.Do(req)
	if err != nil {
		leave()
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(); res.Body.Close() })
	return bufio.NewReader(res.Body), leave
}

func TestJavaScriptStreamsComeChunkByChunk(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, "testdata/javascript/streams.js")
	events, leave := n.stream(t, "/events")
	for i := range 3 {
		want := fmt.Sprintf("event %d\n", i)
		if got, err := events.ReadString('\n'); got != want {
			t.Fatalf("got %q (%v), want %q", got, err, want)
		}
		n.do(t, "GET", "/next", "") // only now the generator goes on
	}
	leave()
	ended := make(chan string, 1)
	var asking sync.WaitGroup
	asking.Go(func() {
		_, how := n.do(t, "GET", "/ended?name=events", "")
		ended <- how
	})
	defer asking.Wait()
	for { // the shim may hear later than we do that the client has left
		n.do(t, "GET", "/next", "")
		select {
		case how := <-ended:
			if how != "returned" {
				t.Errorf("the generator ended: %q", how)
			}
			return
		default:
		}
	}
}

func TestJavaScriptClientThatLeavesCancels(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, "testdata/javascript/streams.js")
	for _, tt := range []struct {
		name, path string
		want       string
		headless   bool // the reply's head never comes
		partial    bool // and neither does the end of the request's body
	}{
		{name: "a stream in flow", path: "endless", want: "cancelled: AbortError"},
		{name: "a stream that is silent", path: "silent", want: "cancelled: AbortError"},
		{name: "a generator that never waits", path: "sync", want: "returned"},
		{name: "a handler that waits", path: "hangs", want: "aborted: AbortError", headless: true},
		{name: "a body that is read", path: "reads", want: "read: AbortError", headless: true, partial: true},
		{name: "a body that is streamed", path: "readsStream", want: "read: AbortError", headless: true, partial: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			r, err := http.NewRequestWithContext(ctx, "POST", "http://functions.test/"+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			var call sync.WaitGroup
			body, rest := io.Pipe()
			if tt.partial {
				r.Body, r.ContentLength = body, 100
				call.Go(func() { io.WriteString(rest, "not all") })
			}
			if !tt.headless {
				res, err := n.client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
			} else {
				call.Go(func() {
					if res, err := n.client.Do(r); err == nil {
						res.Body.Close()
						t.Errorf("it answered %d", res.StatusCode)
					}
				})
				n.do(t, "GET", "/began?name="+tt.path, "") // the call came before this one
			}
			leave()
			rest.CloseWithError(ctx.Err())
			call.Wait()
			if _, how := n.do(t, "GET", "/ended?name="+tt.path, ""); how != tt.want {
				t.Errorf("it ended: %q, want %q", how, tt.want)
			}
		})
	}
	if text := n.stderr.String(); text != "" {
		t.Errorf("a client that leaves is no error, but stderr says %q", text)
	}
}

func TestJavaScriptStreamWaitsForItsReader(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, "testdata/javascript/streams.js")
	body, _ := n.stream(t, "/endless")
	if _, err := body.ReadByte(); err != nil {
		t.Fatal(err)
	}
	// Without back-pressure the stream would be pulled for ever, and no other call
	// be answered.
	before := ""
	for {
		_, now := n.do(t, "GET", "/pulled", "")
		if now == before {
			break
		}
		before = now
	}
	if len(before) > 3 { // 16 KiB each
		t.Errorf("%s chunks were pulled for a reader that does not read", before)
	}
}

func TestJavaScriptFinishesWhatWaitUntilWasGiven(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, writeFiles(t, "late.js", `
		let go;
		const gate = new Promise((resolve) => (go = resolve));
		export default async (request, context) => {
			const { pathname } = new URL(request.url);
			if (pathname === "/go") return go(), "went";
			context.waitUntil(gate.then(() => console.log("done late")));
			process.on("SIGTERM", () => go());
			return "soon";
		}`))
	if _, got := n.do(t, "GET", "/", ""); got != "soon" {
		t.Fatalf("got %q", got)
	}
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if <-n.ended; n.err != nil {
		t.Errorf("it ended: %v", n.err)
	}
	n.stdout.wait(t, "done late")
}

func TestJavaScriptFinishesCallsBeforeItStops(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, writeFiles(t, "slow.js", `
		export default async function* () {
			const stopping = new Promise((resolve) => process.once("SIGTERM", resolve));
			yield "begun\n";
			await stopping;
			yield "ended\n";
		}`))
	body, _ := n.stream(t, "/")
	if got, err := body.ReadString('\n'); got != "begun\n" {
		t.Fatalf("got %q, %v", got, err)
	}
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(body); string(rest) != "ended\n" || err != nil {
		t.Errorf("the rest is %q, %v", rest, err)
	}
	if <-n.ended; n.err != nil {
		t.Errorf("it ended: %v", n.err)
	}
}

func TestJavaScriptThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	requireNode(t)
	const none = "the default export is no handler: export default (request) => "
	for _, tt := range []struct{ name, code, want, place string }{
		{"fails", "const a = 1;\n\nthrow new Error('at its start');\nexport default a;", "Error: at its start\n", "a.js:3:7"},
		{"fails later", "await null; null.x;\nexport default 1;", "TypeError: Cannot read properties of null (reading 'x')\n", "a.js:1:18"},
		{"lacks a module", "const name = 'nowhere'; require(name); module.exports = 1", "Error: Cannot find module 'nowhere'\n", "a.js:1:25"},
		{"text", "export default 'hello'", none, ""},
		{"a class", "module.exports = class App { fetch() {} }", "the default export is a class: export default new App()\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			folder, r := buildJavaScript(t, writeFiles(t, "a.js", tt.code))
			i := launch(t, r, folder)
			<-i.ended
			said := i.stderr.String()
			if i.process.ProcessState.ExitCode() != 1 || !strings.HasPrefix(said, tt.want) || !strings.Contains(said, tt.place) || strings.Contains(said, "shim.cjs:") {
				t.Errorf("%v:\n%swant %q at %q", i.err, said, tt.want, tt.place)
			}
		})
	}
}

func TestJavaScriptUncaughtErrorEndsIt(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, writeFiles(t, "uncaught.ts", `
		const fail = (why: string) => { throw new Error(why) };
		export default () => new Promise(() => setTimeout(() => fail("in a timer"), 1));`))
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://functions.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := n.client.Do(req); err == nil {
		res.Body.Close()
	}
	if <-n.ended; n.err == nil || n.err.Error() != "exit status 1" {
		t.Errorf("it ended: %v", n.err)
	}
	n.stderr.wait(t, "in a timer")
	n.stderr.wait(t, "uncaught.ts:2:")
}

// writeFiles writes files, given as names and texts, into a new folder and returns
// the path of the first.
func writeFiles(t *testing.T, namesAndTexts ...string) string {
	t.Helper()
	files := map[string]string{}
	for i := 0; i < len(namesAndTexts); i += 2 {
		files[namesAndTexts[i]] = namesAndTexts[i+1]
	}
	return filepath.Join(write(t, files), filepath.FromSlash(namesAndTexts[0]))
}

// mayflyTrace returns the trace of an error, or "".
func mayflyTrace(err error) string {
	trace, _ := errors.AsType[mayfly.Trace](err)
	return string(trace)
}

func TestJavaScriptObjectsBehaveAsTheStandards(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, "testdata/javascript/standard.js")
	if _, got := n.do(t, "GET", "/", ""); got != "[]" {
		t.Errorf("other than Node's own:\n%s", strings.ReplaceAll(got, `","`, "\",\n\""))
	}
	_, list := n.do(t, "GET", "/requests", "")
	var names []string
	if err := json.Unmarshal([]byte(list), &names); err != nil || len(names) < 15 {
		t.Fatalf("cases %s: %v", list, err)
	}
	for _, name := range names {
		for _, tt := range []struct{ method, body, kind string }{
			{"GET", "", ""},
			{"DELETE", "", ""},
			{"POST", `{"a":1}`, "application/json"},
			{"PUT", "a=b&c=d", "application/x-www-form-urlencoded"},
		} {
			header := []string{"X-A", "1", "X-A", "2"}
			if tt.body != "" {
				header = append(header, "X-Body", tt.body, "Content-Type", tt.kind)
			}
			if _, got := n.do(t, tt.method, "/requests/"+url.PathEscape(name), tt.body, header...); got != "[]" {
				t.Errorf("%s: other than Node's own: %s", tt.method, got)
			}
		}
	}
}
