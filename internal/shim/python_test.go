package shim_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/shim"
)

func TestPythonAnswers(t *testing.T) {
	t.Parallel()
	i := startPython(t, "function.py")
	long := strings.Repeat("0123456789", 30_000)
	for _, tt := range []struct {
		name   string
		call   string // method, path and body
		header []string
		status int
		kind   string // Content-Type
		body   string
	}{
		{"text", "GET /str", nil, 200, "text/plain; charset=utf-8", "grüß"},
		{"bytes", "GET /bytes", nil, 200, "", "\x00\x01"},
		{"a dict", "GET /dict", nil, 200, "application/json", `{"a":[1,null],"ü":true}`},
		{"a list", "GET /list", nil, 200, "application/json", `[1,2]`},
		{"None", "GET /none", nil, 204, "", ""},
		{"a status", "GET /status", nil, 201, "text/plain; charset=utf-8", "made"},
		{"None with a status", "GET /gone", nil, 410, "", ""},
		{"a 205 has no body", "GET /reset", nil, 205, "text/plain; charset=utf-8", ""},
		{"nor has a stream's 205", "GET /reset-stream", nil, 205, "", ""},
		{"a pool of processes", "GET /pool", nil, 200, "application/json", `[1,4,9]`},
		{"a forked child has no link", "GET /fork", nil, 200, "text/plain; charset=utf-8", "0"},
		{"a child that is terminated", "GET /terminated", nil, 200, "application/json", `{"exit":-15}`},
		{"a generator", "GET /generator", nil, 200, "", "012"},
		{"a generator with a status", "GET /generator-status", nil, 203, "", "ab"},
		{"an empty generator", "GET /empty-generator", nil, 200, "", ""},
		{"events", "GET /events", nil, 200, "text/event-stream", "data: 1\n\n"},
		{"HEAD of text", "HEAD /str", nil, 200, "text/plain; charset=utf-8", ""},
		{"HEAD of a generator", "HEAD /generator", nil, 200, "", ""},
		{"async", "GET /later", []string{"Mayfly-Call", "c1"}, 200, "application/json", `{"call":"c1"}`},
		{"method, path and query", "PUT /method/a%20b%C3%BC?x=1&y=%20", nil, 200, "text/plain; charset=utf-8", "PUT /method/a bü x=1&y=%20"},
		{"the query's first values", "GET /query?a=1&a=2&b=%20&c", nil, 200, "application/json", `{"a":"1","b":" ","c":""}`},
		{"the path's values", "GET /params", []string{"Mayfly-Param-Id", "7"}, 200, "application/json", `{"id":"7"}`},
		{"the path's values in UTF-8", "GET /params", []string{"Mayfly-Param-City", "São 日本"}, 200, "application/json", `{"city":"São 日本"}`},
		{"headers", "GET /header", []string{"X-A", "1", "X-A", "2", "Cookie", "c=1"}, 200, "application/json", `["1, 2","1, 2",false,["1","2"],"c=1"]`},
		{"the body as text", "POST /text grüß", nil, 200, "text/plain; charset=utf-8", "grüß"},
		{"the body as JSON", "POST /json [1]", nil, 200, "application/json", `{"got":[1]}`},
		{
			"a body that is no JSON", "POST /json {", nil, 400, "text/plain; charset=utf-8",
			"the request's body is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)\n",
		},
		{
			"no body at all", "POST /json", nil, 400, "text/plain; charset=utf-8",
			"the request's body is not JSON: Expecting value: line 1 column 1 (char 0)\n",
		},
		{"the body twice", "POST /twice a", nil, 200, "", "aaa"},
		{"the body's lines", "POST /lines a\nb", nil, 200, "application/json", `["a\n","b"]`},
		{"a long body", "POST /body " + long, nil, 200, "", long},
		{"a long body that is not read", "POST /ignore " + long, nil, 200, "text/plain; charset=utf-8", "ignored"},
		{"a long body in pieces", "POST /pieces " + long, nil, 200, "application/json", `{"bytes":300000}`},
		{"a long body that the client asks for", "POST /length " + long, []string{"Expect", "100-continue"}, 200, "text/plain; charset=utf-8", "300000"},
		{"its own type", "GET /headers", nil, 200, "text/html", "<b>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			method, rest, _ := strings.Cut(tt.call, " ")
			path, body, _ := strings.Cut(rest, " ")
			r, err := i.do(method, path, body, tt.header...)
			if err != nil {
				t.Fatalf("%v\n%s", err, i.stderr)
			}
			if kind := r.header.Get("Content-Type"); r.status != tt.status || r.body != tt.body || kind != tt.kind {
				t.Errorf("%d %q %.200q, want %d %q %.200q\n%s", r.status, kind, r.body, tt.status, tt.kind, tt.body, i.stderr)
			}
		})
	}
}

func TestPythonSetsHeaders(t *testing.T) {
	t.Parallel()
	i := startPython(t, "function.py")
	r := i.get(t, "/headers")
	if got := r.header.Values("Set-Cookie"); !slices.Equal(got, []string{"a=1", "b=2"}) || r.header.Get("X-One") != "1" {
		t.Errorf("header = %v", r.header)
	}
	if r := i.get(t, "/pairs"); r.status != 304 || r.header.Get("ETag") != `"x"` {
		t.Errorf("304 = %d %v", r.status, r.header)
	}
	r = i.get(t, "/reset")
	if _, sent := r.header["X-None"]; sent || !slices.Equal(r.header.Values("X-Some"), []string{"a"}) || r.header.Get("Content-Length") != "0" {
		t.Errorf("header with values of None = %v", r.header)
	}
}

func TestPythonCrashIsSaid(t *testing.T) {
	t.Parallel()
	i := startPython(t, "function.py")
	for _, tt := range []struct{ path, crash, trace string }{
		{"/crash", "ZeroDivisionError: division by zero", "Traceback (most recent call last):\n  File \"function.py\", line "},
		{"/chained", "RuntimeError: so", "File \"friend.py\", line 2, in fail\n"},
		{"/fails-first", "RuntimeError: before the first", "in fails_first"},
		{"/exit", "SystemExit: leaving", "in leave"},
		{"/nobody", "KeyError: '/nobody'", "in handle"},
		{"/unprintable", "Unprintable: <exception str() failed>", "in unprintable"},
		{"/int", "TypeError: handle returned int: return str, bytes, dict, list, None, (body, status[, headers]) or a generator", ""},
		{"/bad-status", "ValueError: handle returned status 1000: return a number from 200 to 599", ""},
		{"/bad-header", `ValueError: the header X contains a line break or NUL: 'a\r\nY: b'`, ""},
		{"/bad-name", "ValueError: 'X Y' is not a header name", ""},
		{"/nan", "ValueError: Out of range float values are not JSON compliant", ""},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			r := i.get(t, tt.path)
			if crash := r.header.Get(mayfly.HeaderCrash); r.status != http.StatusBadGateway || !strings.HasPrefix(crash, tt.crash) {
				t.Errorf("%d, crash %q, want %q", r.status, crash, tt.crash)
			}
			if !strings.Contains(r.body, tt.trace) || strings.Contains(r.body, "mayfly_shim") || !strings.Contains(r.body, tt.crash) {
				t.Errorf("trace = %s\nwant %q in it and nothing of the shim", r.body, tt.trace)
			}
			i.stderr.wait(t, strings.TrimSpace(r.body[strings.LastIndex(strings.TrimSpace(r.body), "\n")+1:]))
		})
	}
}

func TestPythonStreamThatFailsBreaksOff(t *testing.T) {
	t.Parallel()
	i := startPython(t, "function.py")
	if r, err := i.try("/broken-stream"); r.body != "one" || err == nil {
		t.Errorf("read %q, %v; want what came, and an error", r.body, err)
	}
	i.stderr.wait(t, "RuntimeError: half-way")
}

// The process says each word when the work on the call has ended.
func TestPythonClientThatLeavesEndsTheCall(t *testing.T) {
	t.Parallel()
	i := startPython(t, "function.py")
	for _, tt := range []struct{ path, begins, ended string }{
		{"/ticks", "", "\ngenerator closed"},
		{"/idle", "", "idle generator closed"},
		{"/async-generator", "", "async generator closed"},
		{"/forever", "waiting", "cancelled"},
		{"/busy", "busy", "busy ended"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			r, err := http.NewRequestWithContext(ctx, "GET", "http://localhost"+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.begins != "" {
				var gone sync.WaitGroup
				gone.Go(func() {
					if resp, err := i.client.Do(r); err == nil {
						resp.Body.Close()
					}
				})
				i.stdout.wait(t, tt.begins)
				leave()
				gone.Wait()
			} else {
				resp, err := i.client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				// The first line comes though the stream goes on.
				if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line == "" {
					t.Fatalf("first line = %q, %v", line, err)
				}
				leave()
			}
			i.stdout.wait(t, strings.TrimSpace(tt.ended))
		})
	}
}

func TestPythonLinesCarryTheirCall(t *testing.T) {
	t.Parallel()
	i := startPython(t, "function.py")
	i.get(t, "/talk", mayfly.HeaderCall, "c7")
	i.get(t, "/later", mayfly.HeaderCall, "c8")
	mark := func(call, line string) string { return mayfly.LineMark + call + mayfly.LineMark + line + "\n" }
	i.stdout.wait(t, mark("c7", "a b"))
	i.stdout.wait(t, mark("c7", "no end"))
	i.stdout.wait(t, mark("c8", "from async"))
	i.stderr.wait(t, mark("c7", "two")+mark("c7", "lines"))
}

func TestPythonFinishesCallsBeforeItStops(t *testing.T) {
	t.Parallel()
	i := startPython(t, "function.py")
	i.get(t, "/str") // an idle connection must not keep it
	i.stopAtTheGate(t)
	if i.err != nil {
		t.Errorf("it ended with %v\n%s", i.err, i.stderr)
	}
}

// The signal may come while the main thread is at anything: here, as it starts a
// thread.
func TestPythonStopsWhateverItIsAt(t *testing.T) {
	t.Parallel()
	r, out, err := buildPython(t, filepath.Join(write(t, map[string]string{"a.py": `
import os, signal, threading

def start(thread, usual=threading.Thread.start):
    os.kill(os.getpid(), signal.SIGTERM)
    usual(thread)

threading.Thread.start = start

def handle(request): pass
`}), "a.py"))
	if err != nil {
		t.Fatal(err)
	}
	i := launch(t, r, out)
	<-i.ended
	if i.err != nil || i.stderr.String() != "" {
		t.Errorf("it ended with %v\n%s", i.err, i.stderr)
	}
}

func TestPythonServesManyAtOnce(t *testing.T) {
	t.Parallel()
	i := startPython(t, "function.py")
	var callers sync.WaitGroup
	for n := range 32 {
		callers.Go(func() {
			for k := range 20 {
				want := fmt.Sprintf("%d/%d", n, k)
				path := []string{"/body", "/text"}[k%2]
				if r, err := i.do("POST", path, want); err != nil || r.body != want {
					t.Errorf("reply = %q, %v, want %q", r.body, err, want)
					return
				}
			}
		})
	}
	callers.Wait()
}

func TestWSGI(t *testing.T) {
	t.Parallel()
	i := startPython(t, "wsgi.py")
	for _, tt := range []struct {
		name   string
		call   string // method, path and body
		status int
		body   string
	}{
		{"echoes", "POST /echo hello", 201, "hello"},
		{"the environment", "GET /environ?q=1", 200, "GET|/fn/shop|/environ|q=1||shop.example|8080|x|10.0.0.1|https"},
		{"a length of its own", "GET /length", 200, "abcdef"},
		{"parts", "GET /parts", 200, "abcdef"},
		{"HEAD", "HEAD /parts", 200, ""},
		{"write", "GET /write", 200, "written and returned"},
		{"no content", "GET /nothing", 204, ""},
		{"a response that is taken back", "GET /replaced", 500, "replaced"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			method, rest, _ := strings.Cut(tt.call, " ")
			path, body, _ := strings.Cut(rest, " ")
			r, err := i.do(method, path, body, "X-A", "x", "X-Forwarded-Prefix", "/fn/shop", "X-Forwarded-Proto", "https",
				mayfly.HeaderRemote, "10.0.0.1:5", "Host", "shop.example:8080")
			if err != nil {
				t.Fatalf("%v\n%s", err, i.stderr)
			}
			if r.status != tt.status || r.body != tt.body {
				t.Errorf("%d %q, want %d %q\n%s", r.status, r.body, tt.status, tt.body, i.stderr)
			}
		})
	}
}

func TestWSGIClosesWhatItIterates(t *testing.T) {
	t.Parallel()
	i := startPython(t, "wsgi.py")
	i.get(t, "/parts")
	i.stdout.wait(t, "closed\n")
}

func TestWSGICrashIsSaid(t *testing.T) {
	t.Parallel()
	i := startPython(t, "wsgi.py")
	r := i.get(t, "/boom")
	if crash := r.header.Get(mayfly.HeaderCrash); r.status != 502 || crash != "RuntimeError: boom" || !strings.Contains(r.body, `File "wsgi.py"`) {
		t.Errorf("%d %q\n%s", r.status, crash, r.body)
	}
	for _, path := range []string{"/late", "/long"} {
		if r, err := i.try(path); err == nil && r.status == 200 {
			t.Errorf("%s came whole: %q", path, r.body)
		}
	}
}

func TestPythonFindsTheForm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		files  map[string]string
		short  bool
		inputs []string
	}{
		{"handle", map[string]string{"a.py": "def handle(request): pass"}, true, []string{"a.py"}},
		{"async handle", map[string]string{"a.py": "async def handle(request): pass"}, true, []string{"a.py"}},
		{"handle by another name", map[string]string{"a.py": "handle = lambda r: None"}, true, []string{"a.py"}},
		{"handle from a module", map[string]string{"a.py": "from b import handle", "b.py": "import c", "c.py": "", "d.py": "not read ("}, true, []string{"a.py", "b.py", "c.py"}},
		{
			"handle from a package",
			map[string]string{"a.py": "from p.q import x as handle", "p/__init__.py": "", "p/q.py": "from . import r", "p/r.py": ""},
			true,
			[]string{"a.py", "p/__init__.py", "p/q.py", "p/r.py"},
		},
		{"handle in a try", map[string]string{"a.py": "try:\n  from fast import handle\nexcept ImportError:\n  def handle(r): pass"}, true, []string{"a.py"}},
		{"a WSGI app that also runs by itself", map[string]string{"a.py": "app = object()\nif __name__ == '__main__':\n  app.run()"}, true, []string{"a.py"}},
		{"an ASGI app that also runs by itself", map[string]string{"a.py": "app = object()\nif __name__ == '__main__':\n  import uvicorn\n  uvicorn.run(app, port=8000)"}, true, []string{"a.py"}},
		{
			"an app that runs its own server",
			map[string]string{"a.py": "import os\napp = object()\nif __name__ == '__main__':\n  import uvicorn\n  uvicorn.run(app, port=int(os.environ.get('PORT', 8000)))"},
			false,
			[]string{"a.py"},
		},
		{
			"an app that runs its own server on the socket",
			map[string]string{"a.py": "import os\napp = object()\ndef main(): app.run(os.environ['MAYFLY_SOCKET'])\nif __name__ == '__main__': main()"},
			false,
			[]string{"a.py"},
		},
		{"a program", map[string]string{"a.py": "import socket\nprint(1)"}, false, []string{"a.py"}},
		{"a program with a main", map[string]string{"a.py": "def main(): pass\nif __name__ == '__main__':\n  main()"}, false, []string{"a.py"}},
		{"a program whose handle is none of ours", map[string]string{"a.py": "if __name__ == '__main__':\n  def handle(x): pass\n  handle(1)"}, false, []string{"a.py"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			folder := write(t, tt.files)
			r, out, err := buildPython(t, filepath.Join(folder, "a.py"))
			if err != nil {
				t.Fatal(err)
			}
			var inputs []string
			for _, file := range tt.inputs {
				inputs = append(inputs, filepath.Join(folder, filepath.FromSlash(file)))
			}
			if r.Short != tt.short || !slices.Equal(r.Inputs, inputs) {
				t.Errorf("short is %v of %q, want %v of %q", r.Short, r.Inputs, tt.short, inputs)
			}
			if _, err := os.Stat(filepath.Join(out, "mayfly_shim")); (err == nil) != tt.short {
				t.Errorf("the shim: %v", err)
			}
		})
	}
}

func TestPythonSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                 string
		files                map[string]string
		message, hint, trace string
	}{
		{"does not compile", map[string]string{"a.py": "x = 1\ndef handle(request)\n  pass\n"}, "a.py does not compile", "", "  File \"a.py\", line 2\n    def handle(request)\n"},
		{"imports what does not compile", map[string]string{"a.py": "import b\ndef handle(r): pass", "b.py": "("}, "b.py does not compile", "", "  File \"b.py\", line 1\n"},
		{"says return outside of a function", map[string]string{"a.py": "handle = 1\nreturn"}, "a.py does not compile", "", "  File \"a.py\", line 2\n"},
		{"is no text", map[string]string{"a.py": "handle = '\xff'"}, "a.py does not compile", "", ""},
		{"is nested too deeply", map[string]string{"a.py": "handle = " + strings.Repeat("(", 100_000)}, "a.py does not compile", "", ""},
		{"only defines", map[string]string{"a.py": "'''Doc.'''\nimport os\ndef handler(request): pass\n"}, "a.py defines neither handle nor app", "write def handle(request)", ""},
		{"is empty", map[string]string{"a.py": ""}, "a.py defines neither handle nor app", "write def handle(request)", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := buildPython(t, filepath.Join(write(t, tt.files), "a.py"))
			if tt.hint == "" && tt.trace == "" {
				if trace, _ := errors.AsType[mayfly.Trace](err); trace == "" {
					t.Errorf("err = %v without a trace", err)
				} else {
					tt.trace = string(trace)
				}
			}
			refused(t, err, tt.message, tt.hint, tt.trace)
		})
	}
}

func TestPythonThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, code, want string }{
		{"fails", "import os\nx = 1 / 0\ndef handle(r): pass", "Traceback (most recent call last):\n  File \"a.py\", line 2, in <module>\n"},
		{"lacks a module", "import nowhere\ndef handle(r): pass", "ModuleNotFoundError: No module named 'nowhere'\n"},
		{"has neither", "handle = None", "NameError: a.py defines neither handle nor app: write def handle(request)\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, out, err := buildPython(t, filepath.Join(write(t, map[string]string{"a.py": tt.code}), "a.py"))
			if err != nil {
				t.Fatal(err)
			}
			i := launch(t, r, out)
			<-i.ended
			if i.process.ProcessState.ExitCode() != 1 || !strings.Contains(i.stderr.String(), tt.want) || strings.Contains(i.stderr.String(), "mayfly_shim") {
				t.Errorf("%v:\n%swant %q", i.err, i.stderr, tt.want)
			}
		})
	}
}

// Packages hold files for other versions of Python, which they do not import here.
func TestPythonLeavesPackagesAlone(t *testing.T) {
	t.Parallel()
	requirePython(t)
	home := write(t, map[string]string{"a.py": "import package\ndef handle(r): pass"})
	out := write(t, map[string]string{"a.py": "import package\ndef handle(r): pass", "package/__init__.py": "if 0: from . import old", "package/old.py": "print 'old'"})
	r, err := shim.Python(t.Context(), shim.PythonOptions{Entry: filepath.Join(home, "a.py"), Out: out})
	if want := []string{filepath.Join(home, "a.py")}; err != nil || !slices.Equal(r.Inputs, want) {
		t.Errorf("inputs = %q, %v, want %q", r.Inputs, err, want)
	}
}

// A function may be called as a module of Python's own, which others import.
func TestPythonPackageImportsItsOwn(t *testing.T) {
	t.Parallel()
	i := startPython(t, "package/main.py")
	if r := i.get(t, "/"); r.status != 200 || r.body != "from the package and its word" {
		t.Errorf("%d %q\n%s", r.status, r.body, i.stderr)
	}
}

func TestPythonFileMayBeNamedAsPythonsOwn(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"socket.py", "email.py", "types.py", "time.py", "hello-world.v2.py"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := write(t, map[string]string{name: "import urllib.request, socket, time\ndef handle(request):\n  return str(time.time() > 0 and socket.AF_UNIX is not None)"})
			r, out, err := buildPython(t, filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			if reply := start(t, r, out).get(t, "/"); reply.body != "True" {
				t.Errorf("reply = %+v", reply)
			}
		})
	}
}

func TestPythonIsCompiledOnce(t *testing.T) {
	t.Parallel()
	r, out, err := buildPython(t, filepath.Join("testdata", "python", "function.py"))
	if err != nil {
		t.Fatal(err)
	}
	before := tree(t, out)
	for _, module := range []string{"__pycache__/function", "__pycache__/friend", "mayfly_shim/__pycache__/request"} {
		if !slices.ContainsFunc(before, func(name string) bool { return strings.HasPrefix(name, module+".") }) {
			t.Errorf("%s is not compiled: %q", module, before)
		}
	}
	i := start(t, r, out)
	i.get(t, "/str")
	i.stop(t)
	if after := tree(t, out); !slices.Equal(before, after) {
		t.Errorf("running made of %q %q", before, after)
	}
}

func TestPythonCompilesTheShimOnceForAllBuilds(t *testing.T) {
	t.Parallel()
	requirePython(t)
	folder := write(t, map[string]string{"a.py": "def handle(request): pass"})
	cache := filepath.Join(t.TempDir(), "cache")
	build := func() {
		t.Helper()
		if _, err := shim.Python(t.Context(), shim.PythonOptions{Entry: filepath.Join(folder, "a.py"), Out: folder, Cache: cache}); err != nil {
			t.Fatal(err)
		}
	}
	build()
	kept, _ := filepath.Glob(filepath.Join(cache, "*-server.*"))
	if len(kept) != 1 {
		t.Fatalf("the cache holds %q", tree(t, cache))
	}
	if err := os.WriteFile(kept[0], []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	build()
	compiled, _ := filepath.Glob(filepath.Join(folder, "mayfly_shim", "__pycache__", "server.*"))
	if text, err := os.ReadFile(strings.Join(compiled, "")); string(text) != "kept" {
		t.Errorf("the second build compiled it anew: %v", err)
	}
}

func TestPythonGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	requirePython(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := shim.Python(ctx, shim.PythonOptions{Entry: "/none.py", Out: t.TempDir()})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

// The shims cannot import the names of the wire.
func TestShimsSpeakTheWire(t *testing.T) {
	t.Parallel()
	for files, names := range map[string][]string{
		"python/mayfly_shim/*.py": {mayfly.EnvLink, mayfly.HeaderCall, mayfly.HeaderRemote, strings.ToLower(mayfly.HeaderParamPrefix), `\x1e`},
		"golang/main.go.tmpl":     {mayfly.EnvLink, mayfly.EnvSocket},
		"../../fn/fn.go":          {mayfly.EnvLink, mayfly.EnvSocket},
		"../instance/request.go":  {mayfly.HeaderRemote},
	} {
		var text []byte
		parts, err := filepath.Glob(filepath.FromSlash(files))
		for _, part := range parts {
			one, fault := os.ReadFile(part)
			text, err = append(text, one...), errors.Join(err, fault)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !strings.Contains(string(text), `"`+name) && !strings.Contains(string(text), name+`{`) {
				t.Errorf("%s does not know %s", files, name)
			}
		}
	}
}

// startPython builds and starts a file of testdata.
func startPython(t *testing.T, name string) *instance {
	t.Helper()
	r, out, err := buildPython(t, filepath.Join("testdata", "python", name))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Short {
		t.Fatalf("%s is a program", name)
	}
	return start(t, r, out)
}

// buildPython copies a file's folder, as a project does, and builds it there.
func buildPython(t *testing.T, entry string) (r shim.Result, out string, err error) {
	t.Helper()
	requirePython(t)
	entry, err = filepath.Abs(entry)
	if err != nil {
		t.Fatal(err)
	}
	out = copied(t, filepath.Dir(entry))
	r, err = shim.Python(t.Context(), shim.PythonOptions{Entry: entry, Out: out})
	return r, out, err
}

// copied returns a copy of a folder.
func copied(t *testing.T, folder string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	return to
}

func requirePython(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("python3")
	natstest.Require(t, "python3", err, "install Python 3.9 or newer")
}

// found returns what a function is started with.
func found(t *testing.T, o shim.PythonOptions) string {
	t.Helper()
	o.Out = t.TempDir()
	o.Entry = filepath.Join(o.Out, "hello.py")
	if err := os.WriteFile(o.Entry, []byte("def handle(request):\n    return 'hi'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := shim.Python(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r.Start[0]
}

// A version manager's stand-in for python3 may take longer than the function. So the
// one that was found is used again, as long as it is there.
func TestPythonInDevelopmentIsStartedByItsPath(t *testing.T) {
	t.Parallel()
	requirePython(t)
	if got := found(t, shim.PythonOptions{}); got != "python3" {
		t.Errorf("deployed, it is started as %s", got)
	}
	real := found(t, shim.PythonOptions{Development: true})
	if !filepath.IsAbs(real) {
		t.Errorf("in development it is started as %s", real)
	}

	known := filepath.Join(t.TempDir(), "known")
	used := known + ".used"
	script := fmt.Sprintf("#!/bin/sh\n: > %s\nexec %s \"$@\"\n", used, real)
	if err := os.WriteFile(known, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	found(t, shim.PythonOptions{Development: true, Interpreter: known})
	if _, err := os.Stat(used); err != nil {
		t.Errorf("the interpreter that is known was not used: %v", err)
	}
	if got := found(t, shim.PythonOptions{Development: true, Interpreter: known + ".gone"}); got != real {
		t.Errorf("after the known one has gone it is started as %s, not %s", got, real)
	}
}
