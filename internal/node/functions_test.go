//go:build unix

package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bundle"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/deploy"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/project"
	"github.com/mayfly-run/mayfly/internal/registry"
	"github.com/nats-io/nats.go"
)

// A shelf is a node's registry as a deploy sees it, from outside.
type shelf struct {
	*registry.Registry
	digest string // of the one bundle that it holds
}

// openBus connects to the node at a URL of NATS.
func openBus(t *testing.T, nats string) *bus.Bus {
	t.Helper()
	remote := bus.Remote{URL: nats}
	b, err := bus.Open(t.Context(), bus.Options{Remote: remote, Core: remote.WithCoreKey(natstest.CoreKey)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// openShelf opens the registry of the node at a URL of NATS and uploads a folder to
// it.
func openShelf(t *testing.T, nats, folder string) *shelf {
	t.Helper()
	b := openBus(t, nats)
	r, err := registry.Open(t.Context(), b, registry.Options{By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	var packed bytes.Buffer
	digest, _, err := bundle.Pack(&packed, folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Upload(t.Context(), bytes.NewReader(packed.Bytes()), digest); err != nil {
		t.Fatal(err)
	}
	return &shelf{r, digest}
}

// deploy makes f current, and returns it so.
func (s *shelf) deploy(t *testing.T, f mayfly.Unit) mayfly.Unit {
	t.Helper()
	f.Bundles = map[string]string{mayfly.AnyPlatform: s.digest}
	f, _, err := s.Deploy(t.Context(), f, registry.Change{})
	if err != nil {
		t.Fatalf("deploy %s: %v", f.Name, err)
	}
	return f
}

// awaitStatus returns when a URL answers so.
func awaitStatus(t *testing.T, url string, status int) answer {
	t.Helper()
	var a answer
	eventually(t, "GET "+url+" has its status", func() bool {
		a = ask(t, "GET", url, nil)
		return a.StatusCode == status
	})
	return a
}

func shell(name mayfly.Name, text string, change ...func(*mayfly.Unit)) mayfly.Unit {
	f := mayfly.Unit{Name: name}
	f.Engine, f.Start, f.Env = mayfly.EngineExec, []string{"/bin/sh", "-c", text}, map[string]string{}
	for _, c := range change {
		c(&f)
	}
	return f
}

// holding is a script that holds the pipe, and so does its child.
const holding = `exec 3>"$PIPE"; echo open >&3; sleep 1000 & wait`

func TestDeployedFunctionSurvivesARestart(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := start(t, o)
	s := openShelf(t, n.NATS, t.TempDir())
	if a := ask(t, "GET", n.Gateway+"/fn/hello", nil); a.StatusCode != 404 {
		t.Errorf("before the deploy: %v", a)
	}
	s.deploy(t, web("hello"))
	awaitStatus(t, n.Gateway+"/fn/hello", 200)
	n.stop()

	n = start(t, o)
	if a := ask(t, "GET", n.Gateway+"/fn/hello/revision", nil); a.StatusCode != 200 || string(a.body) != "1" {
		t.Errorf("the first call after a restart: %v", a)
	}
	nc := connect(t, n.NATS)
	if m, err := nc.Request("fn.hello", []byte("x"), patience); err != nil || m.Header.Get("Nats-Service-Error") != "" {
		t.Errorf("over NATS: %v %v", m, err)
	}
	s = openShelf(t, n.NATS, t.TempDir())
	if err := s.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, n.Gateway+"/fn/hello", 404)
	eventually(t, "nobody listens for what was removed", func() bool {
		_, err := nc.Request("fn.hello", nil, patience)
		return err == nats.ErrNoResponders
	})
}

// A disk does not fill with what instances leave behind, nor with what those of a killed
// node left.
func TestTemporaryFilesGoWithTheirInstance(t *testing.T) {
	t.Parallel()
	o := options(t)
	left := filepath.Join(o.Folder, "tmp", "hello", "killed")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	n := start(t, o)
	gone := func(path string) bool {
		_, err := os.Stat(path)
		return errors.Is(err, fs.ErrNotExist)
	}
	if !gone(left) {
		t.Error("files of a killed node are still there")
	}
	s := openShelf(t, n.NATS, t.TempDir())
	s.deploy(t, shell("hello", `echo x >"$TMPDIR/x"; printf %s "$TMPDIR"`))
	temporary := string(awaitStatus(t, n.Gateway+"/fn/hello", 200).body)
	if gone(filepath.Join(temporary, "x")) {
		t.Errorf("%q has no file while the instance is there", temporary)
	}
	if err := s.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the files of the instance are gone", func() bool { return gone(temporary) })
}

func TestDiskLimitEndsTheInstance(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	s := openShelf(t, n.NATS, t.TempDir())
	hello := shell("hello", `[ -e "$TMPDIR/big" ] && echo full; case "$QUERY_STRING" in big) head -c 3000000 /dev/zero >"$TMPDIR/big"; exec sleep 1000;; esac; echo ok`)
	hello.Disk = 1 << 20
	s.deploy(t, hello)
	awaitStatus(t, n.Gateway+"/fn/hello", 200)
	a := ask(t, "GET", n.Gateway+"/fn/hello?big", nil)
	if text := string(a.body); a.StatusCode != 502 || !strings.Contains(text, "too much in TMPDIR, its limit is 1MiB") || !strings.Contains(text, "raise disk: of the function") {
		t.Errorf("over the limit: %v", a)
	}
	if a := awaitStatus(t, n.Gateway+"/fn/hello", 200); string(a.body) != "ok\n" {
		t.Errorf("after it: %v", a)
	}
}

// The directory learns of a removal later than the registry; no call may see the gap.
func TestRemovedFunctionIsNotFoundAtOnce(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	s := openShelf(t, n.NATS, t.TempDir())
	s.deploy(t, web("hello"))
	awaitStatus(t, n.Gateway+"/fn/hello", 200)
	eventually(t, "the directory lists hello", func() bool {
		return slices.ContainsFunc(n.Node.Status().Services, func(s mayfly.Service) bool { return s.Name == "hello" })
	})
	o := deploy.Options{Registry: s.Registry, Nodes: peers.New(openBus(t, n.NATS))}
	if err := deploy.Remove(t.Context(), "hello", o); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if a := ask(t, "GET", n.Gateway+"/fn/hello", nil); a.StatusCode != 404 {
			t.Errorf("after the removal: %v", a)
		}
	}
}

// A deploy costs nobody a call: neither those that an instance works at, nor those
// that come while the new one starts.
func TestDeployUnderLoadFailsNoCall(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	s := openShelf(t, n.NATS, t.TempDir())
	url := n.Gateway + "/fn/hello/revision"
	revision := func(text string) mayfly.Unit {
		return web("hello", func(f *mayfly.Unit) { f.Env["CONTENT"] = text })
	}
	s.deploy(t, revision("first"))
	awaitStatus(t, url, 200)

	var clients sync.WaitGroup
	stop, seen := make(chan struct{}), make(chan string, 1<<16)
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, err := tryAsk(context.Background(), "GET", url, nil)
				if err != nil || a.StatusCode != 200 {
					t.Errorf("a call failed: %v %v", a, err)
					return
				}
				seen <- string(a.body)
			}
		})
	}
	for next := range 3 {
		s.deploy(t, revision(strings.Repeat("next", next+1)))
		want := string(rune('2' + next))
		end := time.After(patience)
		for got := ""; got != want; {
			select {
			case got = <-seen:
			case <-end:
				t.Fatalf("revision %s never answers", want)
			}
		}
	}
	close(stop)
	clients.Wait()
}

// Of many deploys of one name at once each gets through, or is told that another was
// faster; the last one serves.
func TestManyDeploysOfOneName(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	s := openShelf(t, n.NATS, t.TempDir())
	var all sync.WaitGroup
	revisions := make([]uint64, 8) // that each one got
	for i := range revisions {
		file := filepath.Join(t.TempDir(), "hello.js")
		if err := os.WriteFile(file, fmt.Appendf(nil, "export default () => 'number %d'\n", i), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := project.Open(file, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		o := deploy.Options{Registry: s.Registry, Nodes: peers.New(openBus(t, n.NATS)), Folder: t.TempDir()}
		all.Go(func() {
			results, err := deploy.Projects(t.Context(), []*project.Project{p}, o)
			switch {
			case err == nil:
				revisions[i] = results[0].Revision
			case mayfly.CodeOf(err) != mayfly.Conflict || !strings.Contains(err.Error(), "another deploy changed"):
				t.Errorf("deploy %d: %v", i, err)
			}
		})
	}
	all.Wait()
	last := slices.Max(revisions)
	if got, want := ask(t, "GET", n.Gateway+"/fn/hello", nil), fmt.Sprint("number ", slices.Index(revisions, last)); last == 0 || string(got.body) != want {
		t.Errorf("the deploys became revisions %d, and %v answers, want %s", revisions, got, want)
	}
}

// What a function says before it dies is in the log, and the client hears why.
func TestFailedStartIsExplained(t *testing.T) {
	t.Parallel()
	o := options(t)
	var mu sync.Mutex
	var lines []mayfly.Line
	o.Output = func(l mayfly.Line) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, l)
	}
	n := start(t, o)
	f := web("hello", func(f *mayfly.Unit) {
		f.Start = []string{"/bin/sh", "-c", "echo hello.js:3: no such module >&2; exit 4"}
	})
	set(t, n, f, t.TempDir())
	a := ask(t, "GET", n.Gateway+"/fn/hello", nil)
	if a.StatusCode != 502 || !strings.Contains(string(a.body), "exit status 4") {
		t.Errorf("got %v, want 502 with exit status 4", a)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.ContainsFunc(lines, func(l mayfly.Line) bool {
		return l.Function == "hello" && l.Source == mayfly.Stderr && strings.Contains(l.Text, "hello.js:3: no such module")
	}) {
		t.Errorf("what it said is not among %+v", lines)
	}
}

// When the last place of the queue is taken the next call is refused at once. Who
// leaves the queue makes room.
func TestFullFunctionRefusesAtOnce(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	pipe := newPipe(t)
	set(t, n, web("narrow", pipe.on, func(f *mayfly.Unit) {
		f.Concurrency, f.Wait, f.Instances = 1, 1, mayfly.Instances{Max: 1}
	}), t.TempDir())
	url := n.Gateway + "/fn/narrow"
	var calls sync.WaitGroup
	begin := func(path string) (leave func()) {
		ctx, cancel := context.WithCancel(t.Context())
		calls.Go(func() { _, _ = tryAsk(ctx, "GET", url+path, nil) })
		return cancel
	}
	defer calls.Wait()
	leaveWork := begin("/hang")
	defer leaveWork()
	pipe.awaitOpen(t)
	leaveQueue := begin("/nothing")
	defer leaveQueue()
	nc := connect(t, n.NATS)
	eventually(t, "a call waits", func() bool {
		m, err := nc.Request("$SRV.STATS.narrow", nil, patience)
		return err == nil && strings.Contains(string(m.Data), `"waiting":1`)
	})
	began := time.Now()
	a := ask(t, "GET", url, nil)
	took := time.Since(began)
	if a.StatusCode != 429 || a.Header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "exhausted") {
		t.Errorf("a full function answers %v, want 429", a)
	}
	if took > 500*time.Millisecond {
		t.Errorf("refused after %v", took)
	}
	m, err := nc.Request("fn.narrow", nil, patience)
	if err != nil || m.Header.Get("Nats-Service-Error-Code") != "429" {
		t.Errorf("over NATS: %v %v, want 429", m, err)
	}
	leaveQueue()
	leaveWork()
	awaitStatus(t, url+"/nothing", 204)
}

// The work on a call ends with its time, and with its client.
func TestWorkEndsWithItsCall(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	remote := options(t)
	remote.Config.Gateway.Local = false
	over := start(t, remote)
	hasty := func(f *mayfly.Unit) { f.Timeout = mayfly.Duration(500 * time.Millisecond) }
	for _, tt := range []struct {
		name   string
		node   *running
		f      mayfly.Unit
		path   string
		leaves bool
	}{
		{"an http function's client leaves", n, web("web-left"), "/hang", true},
		{"a stream's client leaves", n, web("stream-left"), "/events/0", true},
		{"an exec function's client leaves", n, shell("sh-left", holding), "", true},
		{"an exec stream's client leaves", n, shell("sh-stream-left", `echo first; `+holding), "", true},
		{"an http function is too slow", n, web("web-late", hasty), "/hang", false},
		{"an exec function is too slow", n, shell("sh-late", holding, hasty), "", false},
		{"an http function is too slow over NATS", over, web("web-late", hasty), "/hang", false},
		{"an exec function is too slow over NATS", over, shell("sh-late", holding, hasty), "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pipe := newPipe(t)
			pipe.on(&tt.f)
			set(t, tt.node, tt.f, t.TempDir())
			url := tt.node.Gateway + "/fn/" + string(tt.f.Name)
			if tt.path != "" {
				awaitStatus(t, url+"/nothing", 204) // its time is for the work, not for the start
			}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			done := make(chan answer, 1)
			go func() {
				a, _ := tryAsk(ctx, "POST", url+tt.path, nil)
				done <- a
			}()
			pipe.awaitOpen(t)
			if tt.leaves {
				leave()
			} else if a := <-done; a.Response == nil || a.StatusCode != 504 {
				t.Errorf("too slow: %v, want 504", a)
			}
			if took := pipe.awaitClosed(t); took > time.Second {
				t.Errorf("it worked on for %v", took)
			}
		})
	}
}

// An event passes when it is written, not when the next one is.
func TestEventsPassOneByOne(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	set(t, n, web("events"), t.TempDir())
	set(t, n, web("lines", func(f *mayfly.Unit) {
		f.Engine, f.Env[partVariable] = mayfly.EngineExec, partLines
	}), t.TempDir())
	for _, path := range []string{"/fn/events/events/5", "/fn/lines"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			if late := lateEvents(t, n.Gateway+path, 5); late[len(late)/2] > 50*time.Millisecond {
				t.Errorf("half of the events are later than %v; all of them: %v", late[len(late)/2], late)
			} else {
				t.Log(late)
			}
		})
	}
}

// lateEvents returns how late each event of a stream is, sorted. An event holds the
// time at which it was written.
func lateEvents(t *testing.T, url string, want int) []time.Duration {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var late []time.Duration
	piece := make([]byte, 4096)
	for {
		n, err := resp.Body.Read(piece)
		now := time.Now()
		for line := range strings.Lines(string(piece[:n])) {
			text, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
			if !ok {
				continue
			}
			written, err := time.ParseDuration(text + "ns")
			if err != nil {
				t.Fatalf("an event is %q", line)
			}
			late = append(late, now.Sub(time.Unix(0, int64(written))))
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(late) != want {
		t.Fatalf("%d events came, want %d", len(late), want)
	}
	slices.Sort(late)
	return late
}

// A client that leaves in the middle of its request, or that says too little for
// too long, costs the function nothing, and the next one is served.
func TestClientThatLeavesEarly(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Config.Gateway.BodyTimeout = 300 * time.Millisecond
	n := start(t, o)
	set(t, n, web("web"), t.TempDir())
	url := n.Gateway + "/fn/web"
	for _, tt := range []struct {
		name, head string
		answers    string // "" is none
	}{
		{"in the headers", "POST /fn/web HTTP/1.1\r\nHost: local", ""},
		{"before a short body", "POST /fn/web/sum HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc", "400"},
		{"before a long body", "POST /fn/web/sum HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc", "400"},
		{"in a chunk", "POST /fn/web/sum HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc", "400"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := sayAndClose(t, n.Gateway, tt.head); !strings.Contains(got, tt.answers) {
				t.Errorf("answered %q, want %s", got, tt.answers)
			}
			if a := ask(t, "GET", url, nil); a.StatusCode != 200 {
				t.Errorf("the next call: %v", a)
			}
		})
	}
}

// sayAndClose says something, says that there is no more, and returns what comes
// back.
func sayAndClose(t *testing.T, gateway, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(gateway, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// Scaling starts more instances of a revision, and restarts none.
func TestScaledFunctionGoesOn(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	s := openShelf(t, n.NATS, t.TempDir())
	s.deploy(t, web("hello", func(f *mayfly.Unit) { f.Concurrency = 1 }))
	url := n.Gateway + "/fn/hello"
	awaitStatus(t, url, 200)
	first := pidOf(t, url)
	if _, err := s.Scale(t.Context(), "hello", mayfly.Instances{Min: 2}); err != nil {
		t.Fatal(err)
	}
	pids := map[int]bool{}
	var mu sync.Mutex
	eventually(t, "two instances answer", func() bool {
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				a, err := tryAsk(t.Context(), "GET", url+"/pid", nil)
				pid, _ := strconv.Atoi(string(a.body))
				if err != nil || pid == 0 {
					t.Errorf("GET /pid: %v %v", a, err)
				}
				mu.Lock()
				defer mu.Unlock()
				pids[pid] = true
			})
		}
		both.Wait()
		return len(pids) == 2
	})
	if !pids[first] {
		t.Errorf("the instance that was there, %d, is not among %v", first, pids)
	}
}
