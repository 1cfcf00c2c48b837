//go:build unix

package httpengine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/process"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// programs are the functions of the tests below.
var programs = map[string]func(){
	"reaper":   func() { _ = process.Reap(os.Stdin) },
	"fixture":  fixture,
	"deserter": deserter,
	"patient":  patient,
	"broken": func() {
		for n := range 30 {
			fmt.Fprintln(os.Stderr, "line", n)
		}
		fmt.Fprint(os.Stderr, "no module named x")
		os.Exit(4)
	},
	"finished":  func() {},
	"linked":    linked,
	"foreigner": foreigner,
	"silent": func() {
		fmt.Println("waiting for Godot")
		select {}
	},
}

// deserter reads calls, closes their connections without a reply and keeps running.
func deserter() {
	l, err := net.Listen("unix", os.Getenv(mayfly.EnvSocket))
	if err != nil {
		os.Exit(1)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = http.ReadRequest(bufio.NewReader(c))
		c.Close()
	}
}

// patient ends on SIGTERM, once its clients have closed their connections.
func patient() {
	l, err := net.Listen("unix", os.Getenv(mayfly.EnvSocket))
	if err != nil {
		os.Exit(1)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	var open sync.WaitGroup
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { _, _ = io.Copy(io.Discard, c) })
		}
	}()
	<-end
	open.Wait()
}

// fixture acts by the path of a request.
func fixture() {
	l, err := net.Listen("unix", os.Getenv(mayfly.EnvSocket))
	if err != nil {
		os.Exit(1)
	}
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			_, _ = io.Copy(w, r.Body)
		case "/say":
			fmt.Fprintln(os.Stderr, "to stderr")
			fmt.Fprintln(os.Stdout, "to stdout")
		case "/mark":
			fmt.Printf("%[1]s%[2]s%[1]smarked\n", mayfly.LineMark, r.Header.Get(mayfly.HeaderCall))
		case "/crash":
			fmt.Fprintln(os.Stderr, "last words")
			os.Exit(3)
		case "/killed":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case "/half":
			fmt.Fprint(w, "half")
			_ = http.NewResponseController(w).Flush()
			os.Exit(3)
		case "/eat":
			for eaten := [][]byte{}; ; {
				eaten = append(eaten, bytes.Repeat([]byte("x"), 1<<20))
				runtime.KeepAlive(eaten)
			}
		}
	}))
}

// program returns one of the programs above.
func program(name string) mayfly.Program {
	return mayfly.Program{Engine: mayfly.EngineHTTP, Start: []string{os.Args[0], name}}
}

// environment is what programs need; -race builds must exit at once.
func environment() []string { return []string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"} }

func openKeeper(t testing.TB) *process.Keeper {
	t.Helper()
	k, err := process.Open(t.Context(), process.Options{Reaper: program("reaper").Start})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func newEngine(t testing.TB) (*Engine, string) {
	t.Helper()
	k := openKeeper(t)
	dir := filepath.Join(shortDir(t), "sockets")
	e, err := New(Options{Keeper: k, Folder: dir})
	if err != nil {
		t.Fatal(err)
	}
	return e, dir
}

// lines collects an instance's output.
type lines struct {
	mu   sync.Mutex
	all  []mayfly.Line
	more chan struct{}
}

func (l *lines) add(line mayfly.Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// await waits for the first line with that text and returns it.
func (l *lines) await(t *testing.T, text string) mayfly.Line {
	t.Helper()
	for ctx := ctxOf(t); ; {
		l.mu.Lock()
		n := slices.IndexFunc(l.all, func(line mayfly.Line) bool { return line.Text == text })
		if n >= 0 {
			defer l.mu.Unlock()
			return l.all[n]
		}
		l.mu.Unlock()
		select {
		case <-l.more:
		case <-ctx.Done():
			t.Fatalf("no line %q", text)
		}
	}
}

func specOf(p mayfly.Program) (runner.Spec, *lines) {
	out := &lines{more: make(chan struct{}, 1)}
	return runner.Spec{Name: "hello", Revision: 3, Program: p, Instance: "i1", Env: environment(), Output: out.add}, out
}

func start(t *testing.T, e *Engine, p mayfly.Program) (runner.Instance, *lines) {
	t.Helper()
	s, out := specOf(p)
	i, err := e.Start(ctxOf(t), s)
	if err != nil {
		trace, _ := errors.AsType[mayfly.Trace](err)
		t.Fatalf("%v\n%s", err, trace)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		i.Stop(ctx)
	})
	return i, out
}

func TestStartSaysWhyNot(t *testing.T) {
	t.Parallel()
	e, dir := newEngine(t)
	for _, tt := range []struct {
		name, program, says, trace, hint string
		wait                             time.Duration
	}{
		{"it ends", "broken", "hello exited before it listened: exit status 4", "no module named x", "fix what its output says; a web program must keep running", time.Minute},
		{"it ends well", "finished", "hello exited before it listened: exit status 0", "", "it printed nothing; a web program must keep running", time.Minute},
		// Long enough for a program to print a line on a busy machine.
		{"it never listens", "silent", "hello was not ready in 2s", "waiting for Godot", "it must answer HTTP on the unix socket", 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _ := specOf(program(tt.program))
			s.Limits.Instances.Start = mayfly.Duration(tt.wait)
			ctx, cancel := context.WithTimeout(t.Context(), tt.wait)
			defer cancel()
			_, err := e.Start(ctx, s)
			wantCode(t, err, mayfly.Crashed)
			trace, _ := errors.AsType[mayfly.Trace](err)
			if fmt.Sprint(err) != tt.says || !strings.HasSuffix(string(trace), tt.trace) || !strings.HasPrefix(mayfly.HintOf(err), tt.hint) {
				t.Errorf("error is %q, hint %q, trace %q", err, mayfly.HintOf(err), trace)
			}
			if n := strings.Count(string(trace), "\n") + 1; n > 20 {
				t.Errorf("the trace has %d lines", n)
			}
		})
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
			t.Errorf("sockets are left: %v, %v", left, err)
		}
	})
}

func TestDeathFailsTheCall(t *testing.T) {
	t.Parallel()
	e, dir := newEngine(t)
	for _, tt := range []struct {
		path, says, hint string
		memory           int64
	}{
		{"/crash", "hello crashed: exit status 3", "mayfly logs hello", 0},
		{"/killed", "hello crashed: signal 9 (killed)", "mayfly logs hello", 0},
		{"/eat", "hello crashed: out of memory, its limit is 96MiB", "raise memory", 96 << 20},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			p := program("fixture")
			p.Memory = tt.memory
			i, out := start(t, e, p)
			if _, err := i.Call(ctxOf(t), get("/echo")); err != nil {
				t.Fatal(err)
			}
			if _, err := i.Call(ctxOf(t), get("/say")); err != nil {
				t.Fatal(err)
			}
			out.await(t, "to stderr")
			out.await(t, "to stdout")
			fatal := get(tt.path)
			fatal.ID = "c2"
			_, err := i.Call(ctxOf(t), fatal)
			wantCode(t, err, mayfly.Crashed)
			if fmt.Sprint(err) != tt.says || !strings.Contains(mayfly.HintOf(err), tt.hint) {
				t.Errorf("error is %q with the hint %q, want %q and %q", err, mayfly.HintOf(err), tt.says, tt.hint)
			}
			if trace, _ := errors.AsType[mayfly.Trace](err); tt.path == "/crash" && trace != "last words" {
				t.Errorf("trace is %q", trace)
			}
			<-i.Done()
			wantCode(t, i.Err(), mayfly.Crashed)
			_, err = i.Call(ctxOf(t), get("/echo"))
			wantCode(t, err, mayfly.Crashed)
		})
	}
	t.Cleanup(func() {
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("sockets are left: %v", left)
		}
	})
}

// A kill -9 under load costs the calls in that instance. Waiting calls are served by the
// next one, and nothing leaks.
func TestKillUnderLoadCostsTheCallsInHand(t *testing.T) {
	t.Parallel()
	const concurrency, callers, each = 2, 8, 50
	e, _ := newEngine(t)
	r := runner.New(runner.Options{
		Engines: map[mayfly.Engine]runner.Engine{mayfly.EngineHTTP: e},
		Env: func(context.Context, mayfly.Program, string, uint64, string) ([]string, error) {
			return environment(), nil
		},
	})
	t.Cleanup(func() { r.Close() })
	f := mayfly.Unit{Name: "hello", Program: program("fixture")}
	f.Concurrency, f.Instances.Max, f.Timeout = concurrency, 1, mayfly.Duration(time.Minute)
	if err := r.Set(f, func(context.Context) (string, error) { return t.TempDir(), nil }); err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	var failed, done atomic.Int32
	starts := func() uint64 {
		s, _ := r.Stats("hello")
		return s.Starts
	}
	half := make(chan struct{})
	for range callers {
		calls.Go(func() {
			for i := 0; i < each || starts() < 2; i++ {
				reply, err := r.Call(ctxOf(t), "hello", &mayfly.Call{Path: "/echo", Body: []byte("hi")})
				if err != nil {
					wantCode(t, err, mayfly.Crashed)
					failed.Add(1)
				} else if string(reply.Body) != "hi" {
					t.Errorf("reply is %q", reply.Body)
				}
				if done.Add(1) == callers*each/2 {
					close(half)
				}
			}
		})
	}
	<-half
	if s, _ := r.State("hello"); syscall.Kill(s.Instances[0].Usage.PID, syscall.SIGKILL) != nil {
		t.Error("no instance was there to be killed")
	}
	calls.Wait()
	s, _ := r.Stats("hello")
	if n := failed.Load(); n > concurrency || int(s.Errors) != int(n) {
		t.Errorf("%d calls failed and %d were counted, want at most %d", n, s.Errors, concurrency)
	}
	if int(s.Requests) != int(done.Load()) || s.InFlight != 0 || s.Waiting != 0 || s.Rejected != 0 || s.Starts != 2 || s.Crashes != 1 {
		t.Errorf("Stats = %+v", s)
	}
}

func TestDeathEndsTheStream(t *testing.T) {
	t.Parallel()
	e, _ := newEngine(t)
	i, _ := start(t, e, program("fixture"))
	r, err := i.Call(ctxOf(t), get("/half"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stream.Close()
	body, err := io.ReadAll(r.Stream)
	wantCode(t, err, mayfly.Crashed)
	if string(body) != "half" || fmt.Sprint(err) != "hello crashed: exit status 3" {
		t.Errorf("read %q, %v; want half and how it ended", body, err)
	}
}

func TestNothingWaitsForAnIdleConnection(t *testing.T) {
	t.Parallel()
	e, _ := newEngine(t)
	i, _ := start(t, e, program("patient"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	i.Stop(ctx)
	if ctx.Err() != nil {
		t.Error("it was killed while it waited for us")
	}
}

func TestClosedConnectionIsNoDeath(t *testing.T) {
	t.Parallel()
	e, _ := newEngine(t)
	i, _ := start(t, e, program("deserter"))
	_, err := i.Call(ctxOf(t), get("/"))
	wantCode(t, err, mayfly.Crashed)
	if !strings.Contains(fmt.Sprint(err), "closed the connection") {
		t.Errorf("error is %q", err)
	}
	select {
	case <-i.Done():
		t.Error("the instance is gone")
	default:
	}
}

func TestLinesBelongToTheirCall(t *testing.T) {
	t.Parallel()
	e, _ := newEngine(t)
	i, out := start(t, e, program("fixture"))
	for _, tt := range []struct{ path, text string }{{"/say", "to stderr"}, {"/say", "to stdout"}, {"/mark", "marked"}} {
		call := get(tt.path)
		call.ID = tt.path + " " + tt.text
		if _, err := i.Call(ctxOf(t), call); err != nil {
			t.Fatal(err)
		}
		line := out.await(t, tt.text)
		if !strings.HasPrefix(line.Call, tt.path) || line.Function != "hello" || line.Revision != 3 || line.Instance != "i1" || line.Time.IsZero() {
			t.Errorf("line is %+v", line)
		}
	}
}

// What runs is a copy, in a folder that the user has never seen.
func TestPythonTraceNamesTheUsersFile(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	natstest.Require(t, "python3", err, "install Python 3.9 or newer")
	e, _ := newEngine(t)
	s, out := specOf(mayfly.Program{Start: []string{python, "-B", "main.py"}})
	s.Folder = t.TempDir()
	for name, text := range map[string]string{"main.py": "import part.friend", "part/friend.py": "import os\nprint(os.getcwd(), flush=True)\n1 / 0"} {
		file := filepath.Join(s.Folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = e.Start(ctxOf(t), s)
	wantCode(t, err, mayfly.Crashed)
	trace, _ := errors.AsType[mayfly.Trace](err)
	for _, want := range []string{`  File "main.py", line 1, in <module>`, `  File "part/friend.py", line 3, in <module>`} {
		if !strings.Contains(string(trace), want+"\n") {
			t.Errorf("trace is %s", trace)
		}
		out.await(t, want)
	}
	out.await(t, s.Folder) // what the program prints itself stays as it is
}

func TestMarksOfLines(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, line, call, text string }{
		{"none", "hi", "", "hi"},
		{"one", "\x1ec1\x1ehi", "c1", "hi"},
		{"of an empty line", "\x1ec1\x1e", "c1", ""},
		{"without its end", "\x1ec1 hi", "", "\x1ec1 hi"},
		{"within a line", "hi \x1ec1\x1e", "", "hi \x1ec1\x1e"},
		{"an endless id", "\x1e" + strings.Repeat("c", 99) + "\x1ehi", "", "\x1e" + strings.Repeat("c", 99) + "\x1ehi"},
	} {
		if call, text := cutMark(tt.line); call != tt.call || text != tt.text {
			t.Errorf("%s: %q, %q", tt.name, call, text)
		}
	}
}

func TestFolderOfSockets(t *testing.T) {
	t.Parallel()
	k := openKeeper(t)
	if _, err := New(Options{Keeper: k, Folder: "/tmp/" + strings.Repeat("long/", 20)}); mayfly.CodeOf(err) != mayfly.Invalid || mayfly.HintOf(err) == "" {
		t.Errorf("error is %v, want invalid with a hint", err)
	}
	if _, err := New(Options{Keeper: k}); err == nil {
		t.Error("no folder is enough")
	}
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Keeper: k, Folder: dir}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may enter: %v, %v", info.Mode(), err)
	}
}

// An ordinary program: it uses PORT, or gets the socket's path.
func TestNodeAnswers(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("node")
	natstest.Require(t, "node", err, "install Node.js")
	e, _ := newEngine(t)
	for _, variable := range []string{"PORT", "MAYFLY_SOCKET"} {
		t.Run(variable, func(t *testing.T) {
			t.Parallel()
			i, _ := start(t, e, mayfly.Program{Start: []string{"node", "-e", `
				require('http').createServer((q, r) => {
					if (q.url == '/events') { r.write('data: 1\n\n'); setImmediate(() => r.end('data: 2\n\n')) }
					else { q.pipe(r) }
				}).listen(process.env.` + variable + `)`}})
			large := strings.Repeat("0123456789", 100_000)
			for _, tt := range []struct {
				call *mayfly.Call
				want string
			}{
				{&mayfly.Call{Body: []byte("hi")}, "hi"},
				{&mayfly.Call{Body: []byte(large)}, large},
				{&mayfly.Call{Stream: strings.NewReader(large), Length: -1}, large},
				{get("/events"), "data: 1\n\ndata: 2\n\n"},
				{get("/"), ""},
			} {
				r, err := i.Call(ctxOf(t), tt.call)
				if err != nil {
					t.Fatal(err)
				}
				if got := bodyOf(t, r); got != tt.want {
					t.Errorf("body has %d bytes that are not the %d expected", len(got), len(tt.want))
				}
			}
		})
	}
}

func TestTrialDoesNotTakeTimeFromOthers(t *testing.T) {
	t.Parallel()
	e, _ := newEngine(t)
	s, _ := specOf(program("fixture"))
	priority := func() int {
		i, err := e.Start(ctxOf(t), s)
		if err != nil {
			t.Fatal(err)
		}
		defer i.Stop(ctxOf(t))
		n, err := syscall.Getpriority(syscall.PRIO_PROCESS, i.Usage().PID)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	usual := priority()
	s.Trial = true
	if trial := priority(); trial == usual {
		t.Errorf("a trial has priority %d like any other instance", trial)
	}
}
