package shim_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/shim"
)

func TestASGI(t *testing.T) {
	t.Parallel()
	i := startPython(t, "asgi.py")
	long := strings.Repeat("0123456789", 30_000)
	for _, tt := range []struct {
		name   string
		call   string // method, path and body
		status int
		body   string
	}{
		{"echoes", "POST /echo hello", 201, "hello"},
		{"a long body in pieces", "POST /echo " + long, 201, long},
		{"no body", "POST /echo", 201, ""},
		{
			"the scope", "GET /scope?q=%20", 200,
			`['GET', 'https', '/fn/shop/scope', b'/fn/shop/scope', '/fn/shop', b'q=%20', ('10.0.0.1', 5), ('shop.example', 8080), b'x', {'word': 'from the start'}, {'ready': True}]`,
		},
		{"a length of its own", "GET /length", 200, "abcdef"},
		{"parts", "GET /parts", 200, "abcdef"},
		{"HEAD", "HEAD /parts", 200, ""},
		{"no content", "GET /nothing", 204, ""},
		{"a response of 64 MiB", "GET /long", 200, everyByte()},
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
			if r.status != tt.status || sha256.Sum256([]byte(r.body)) != sha256.Sum256([]byte(tt.body)) {
				t.Errorf("%d %.300q, want %d %.300q\n%s", r.status, r.body, tt.status, tt.body, i.stderr)
			}
		})
	}
	if r, err := i.do("HEAD", "/length", ""); err != nil || r.header.Get("Content-Length") != "6" {
		t.Errorf("HEAD: %v, %v", r.header, err)
	}
	r, err := i.do("POST", "/echo", "x")
	if err != nil || !slices.Equal(r.header.Values("Set-Cookie"), []string{"a=1", "b=2"}) || r.header.Get("X-Read") != "1" {
		t.Errorf("header = %v, %v", r.header, err)
	}
}

// everyByte is what /long of asgi.py answers.
func everyByte() string {
	var text strings.Builder
	for n := range 64 {
		text.WriteString(strings.Repeat(string(rune(n)), 1<<20))
	}
	return text.String()
}

func TestASGICrashIsSaid(t *testing.T) {
	t.Parallel()
	i := startPython(t, "asgi.py")
	for path, want := range map[string]string{
		"/boom": "RuntimeError: boom", "/leave": "SystemExit: leaving",
		"/silent": "RuntimeError: app returned before its response was complete",
	} {
		r := i.get(t, path)
		if crash := r.header.Get(mayfly.HeaderCrash); r.status != 502 || crash != want || strings.Contains(r.body, "mayfly_shim") {
			t.Errorf("%s: %d %q\n%s", path, r.status, crash, r.body)
		}
	}
	if r, err := i.try("/late"); r.body != "begun" || err == nil {
		t.Errorf("read %q, %v; want what came, and an error", r.body, err)
	}
	i.stderr.wait(t, "RuntimeError: half-way")
}

// The process says each word when the work on the call has ended.
func TestASGIClientThatLeavesIsReported(t *testing.T) {
	t.Parallel()
	i := startPython(t, "asgi.py")
	for path, words := range map[string][]string{
		"/events": {"connected", "told of the end", "Disconnected"},
		"/flood":  {"flood ended"},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			r, err := http.NewRequestWithContext(ctx, "GET", "http://localhost"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := i.client.Do(r) // the head has come, though no event has
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			leave()
			for _, word := range words {
				i.stdout.wait(t, word+"\n")
			}
		})
	}
}

// A slow client must not keep the others waiting.
func TestASGISlowClientHoldsUpNobody(t *testing.T) {
	t.Parallel()
	i := startPython(t, "asgi.py")
	resp, err := i.client.Get("http://localhost/long")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if r := i.get(t, "/parts"); r.body != "abcdef" {
		t.Errorf("%d %q", r.status, r.body)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != 64<<20 || err != nil {
		t.Errorf("the slow one read %d bytes, %v", n, err)
	}
}

func TestASGILinesCarryTheirCall(t *testing.T) {
	t.Parallel()
	i := startPython(t, "asgi.py")
	i.get(t, "/talk", mayfly.HeaderCall, "c7")
	mark := mayfly.LineMark + "c7" + mayfly.LineMark
	i.stdout.wait(t, mark+"said in a call\n"+mark+"and in a thread\n")
}

// Lifespan has begun before the first call, and ends after the last.
func TestASGIFinishesCallsBeforeItStops(t *testing.T) {
	t.Parallel()
	i := startPython(t, "asgi.py")
	if got := i.stdout.String(); got != "started\n" {
		t.Errorf("at the start it said %q", got)
	}
	if r := i.get(t, "/after"); r.body != "done" {
		t.Errorf("reply = %+v", r)
	}
	i.get(t, "/parts") // on the same connection
	i.stopAtTheGate(t)
	if i.err != nil || !strings.HasSuffix(i.stdout.String(), "shut down\n") || !strings.Contains(i.stdout.String(), "and done\n") {
		t.Errorf("it ended with %v\n%s\n%s", i.err, i.stdout, i.stderr)
	}
}

// A call that never ends keeps neither the process nor its lifespan from ending.
func TestASGIShutsDownWhileStreamsAreOpen(t *testing.T) {
	t.Parallel()
	i := startPython(t, "asgi.py")
	for _, path := range []string{"/events", "/hang"} {
		resp, err := i.client.Get("http://localhost" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
	}
	i.stop(t)
	said := i.stdout.String()
	for _, word := range []string{"told of the end\n", "hang ended\n"} {
		if !strings.Contains(said, word) {
			t.Errorf("it said %s, want %q", said, word)
		}
	}
	if !strings.HasSuffix(said, "shut down\n") || i.stderr.String() != "" {
		t.Errorf("it said %s\n%s", said, i.stderr)
	}
}

func TestASGISendThatIsCanceledCutsTheConnection(t *testing.T) {
	t.Parallel()
	i := startPython(t, "asgi.py")
	resp, err := i.client.Get("http://localhost/stall")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	i.stdout.wait(t, "cut\n")
	if text, err := io.ReadAll(resp.Body); err == nil || strings.Trim(string(text), "x") != "" {
		t.Errorf("read %d bytes to the end", len(text))
	}
}

func TestASGIGivesNoPieceTwice(t *testing.T) {
	t.Parallel()
	i := startPython(t, "asgi.py")
	resp, err := i.client.Post("http://localhost/twice", "text/plain", io.MultiReader(strings.NewReader("once"))) // of no known length
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); string(text) != "once" || err != nil {
		t.Errorf("read %q, %v", text, err)
	}
}

func TestASGIThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ code, want string }{
		"fails": {`
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
`, "RuntimeError: no database\n"},
		"fails as Starlette does": {`
async def app(scope, receive, send):
    await receive()
    try:
        1 / 0
    except BaseException as e:
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise
`, "  File \"a.py\", line 4, in app\n    1 / 0\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := strings.TrimPrefix(tt.code, "\n")
			r, out, err := buildPython(t, filepath.Join(write(t, map[string]string{"a.py": code}), "a.py"))
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

// A call of a class, a partial and one without a lifespan are ASGI as well.
func TestASGIIsKnownInEachForm(t *testing.T) {
	t.Parallel()
	const answer = `
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"asgi"})
`
	for name, code := range map[string]string{
		"a function":      "async def app(scope, receive, send):" + answer,
		"an object":       "class App:\n  async def __call__(self, scope, receive, send):" + answer + "app = App()",
		"a method":        "class App:\n  async def call(self, scope, receive, send):" + answer + "app = App().call",
		"beside a handle": "async def app(scope, receive, send):" + answer + "def handle(request): return 'an endpoint'",
		"a partial":       "import functools\nasync def call(more, scope, receive, send):" + answer + "app = functools.partial(call, 1)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, out, err := buildPython(t, filepath.Join(write(t, map[string]string{"a.py": code}), "a.py"))
			if err != nil {
				t.Fatal(err)
			}
			if got := start(t, r, out).get(t, "/"); got.body != "asgi" {
				t.Errorf("reply = %+v", got)
			}
		})
	}
}

func TestFastAPI(t *testing.T) {
	t.Parallel()
	i := startFramework(t, "fast.py", "fastapi")
	mounted := []string{"X-Forwarded-Prefix", "/fn/shop", "X-Forwarded-Proto", "https", mayfly.HeaderRemote, "10.0.0.1:5", "Host", "shop.example:8080", mayfly.HeaderCall, "c7"}
	for _, want := range []struct{ call, body string }{
		{"GET /", `{"hello":"world","ready":["started"],"url":"https://shop.example:8080/fn/shop/","client":"10.0.0.1"}`},
		{`POST /items/7 {"name":"tea","price":1.5}`, `{"number":7,"name":"tea","total":3.0}`},
		{"POST /upload " + strings.Repeat("x", 300_000), `{"bytes":300000}`},
		{"GET /sub/inner", "https://shop.example:8080/fn/shop/sub/inner"},
		{"GET /nowhere", `{"detail":"Not Found"}`},
		{"GET /boom", "Internal Server Error"},
	} {
		method, rest, _ := strings.Cut(want.call, " ")
		path, body, _ := strings.Cut(rest, " ")
		r, err := i.do(method, path, body, append([]string{"Content-Type", "application/json"}, mounted...)...)
		if err != nil {
			t.Fatalf("%v\n%s", err, i.stderr)
		}
		if r.body != want.body {
			t.Errorf("%.40s = %d %q, want %q\n%s", want.call, r.status, r.body, want.body, i.stderr)
		}
	}
	mark := mayfly.LineMark + "c7" + mayfly.LineMark
	i.stdout.wait(t, mark+"in a thread\n")
	i.stdout.wait(t, mark+"item 7 is stored\n")
	i.stderr.wait(t, "RuntimeError: boom\n")
	if said := i.stderr.String(); strings.Contains(said, "mayfly_shim") || strings.Count(said, "RuntimeError: boom\n") != 1 {
		t.Errorf("it said %s", said)
	}
	if docs := i.get(t, "/docs", mounted...); !strings.Contains(docs.body, "/fn/shop/openapi.json") {
		t.Errorf("docs = %s", docs.body)
	}

	resp, err := i.client.Get("http://localhost/events")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, len("data: 0\n\n"))); err != nil {
		t.Error(err)
	}
	resp.Body.Close()
	i.stdout.wait(t, "events ended\n")
	open, err := i.client.Get("http://localhost/events")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Body.Close()
	i.stop(t)
	if got := i.stdout.String(); !strings.HasPrefix(got, "started\n") || !strings.HasSuffix(got, "shut down\n") {
		t.Errorf("it said %s", got)
	}
}

func TestFlask(t *testing.T) {
	t.Parallel()
	i := startFramework(t, "flasked.py", "flask")
	if r := i.get(t, "/ada?q=1", "X-Forwarded-Prefix", "/fn/shop"); strings.TrimSpace(r.body) != `{"hello":"ada","q":"1","url":"/fn/shop/ada"}` {
		t.Errorf("%d %s\n%s", r.status, r.body, i.stderr)
	}
	form := "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue\r\n--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n\r\nfile\r\n--x--\r\n"
	if r, err := i.do("POST", "/form", form, "Content-Type", "multipart/form-data; boundary=x"); err != nil || r.body != "value file" {
		t.Errorf("form = %+v, %v", r, err)
	}
}

// startFramework starts a file of testdata with an interpreter that has a module.
func startFramework(t *testing.T, name, module string) *instance {
	t.Helper()
	requirePython(t)
	python := ""
	for _, candidate := range []string{"python3", "/usr/bin/python3"} { // a system's packages are not those of a version manager's
		if exec.Command(candidate, "-c", "import "+module).Run() == nil {
			python = candidate
			break
		}
	}
	var missing error
	if python == "" {
		missing = errors.New("no python3 can import it")
	}
	natstest.Require(t, module, missing, "install it, on Debian as python3-"+module)
	folder, err := filepath.Abs(filepath.Join("testdata", "python"))
	if err != nil {
		t.Fatal(err)
	}
	out := copied(t, folder)
	r, err := shim.Python(t.Context(), shim.PythonOptions{Entry: filepath.Join(folder, name), Out: out, Development: true, Interpreter: python})
	if err != nil {
		t.Fatal(err)
	}
	return start(t, r, out)
}
