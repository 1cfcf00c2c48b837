package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/project"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var update = flag.Bool("update", false, "write the golden files")

// patience is what a failing test waits; a passing one waits for events.
const patience = time.Minute

// options returns those of a node on free ports with a folder of its own.
func options(t *testing.T) node.Options {
	t.Helper()
	o, err := newOptions(t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// newOptions is options for a process that is no test.
func newOptions(folder string, log *slog.Logger) (node.Options, error) {
	loaded, err := config.Load(config.LoadOptions{})
	if err != nil {
		return node.Options{}, err
	}
	c := loaded.Config
	c.Bus.Addr, c.Gateway.Addr, c.Admin.Addr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	if err := os.WriteFile(filepath.Join(folder, "core.key"), []byte(natstest.CoreKey), 0o600); err != nil {
		return node.Options{}, err
	}
	return node.Options{Config: c, Folder: folder, Version: "0.0.0-test", Log: log}, nil
}

// A running node is stopped by the end of its test, if stop did not do it before.
type running struct {
	*node.Node
	node.Status
	stop func() // returns when Run has returned
}

func start(t *testing.T, o node.Options) *running {
	t.Helper()
	n, err := node.New(t.Context(), o)
	if err != nil {
		t.Fatalf("start node: %v (hint: %s)", err, mayfly.HintOf(err))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stopped := false
	r := &running{Node: n, Status: n.Status(), stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run node: %v", err)
		}
	}}
	t.Cleanup(r.stop)
	return r
}

// connect connects to NATS as a user's program would.
func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// connectCore is connect for the account of Mayfly's state, at the server of a node
// with newOptions.
func connectCore(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserInfo(mayfly.UserCore, natstest.CoreKey))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// An answer is what came back over HTTP, read whole.
type answer struct {
	*http.Response
	body []byte
}

func (a answer) String() string {
	return fmt.Sprintf("%d %v %.300q", a.StatusCode, a.Header, a.body)
}

// ask sends a request and fails the test if no answer comes.
func ask(t *testing.T, method, url string, body []byte, headers ...string) answer {
	t.Helper()
	a, err := tryAsk(t.Context(), method, url, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tryAsk(ctx context.Context, method, url string, body []byte, headers ...string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	// A transport of its own leaves no connection for others to find.
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp, data}, err
}

// eventually waits until ok says so: what it asks is remembered by the other side
// of a socket, which tells nobody. It returns how long that took.
func eventually(t *testing.T, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for time.Since(began) < patience {
		if ok() {
			return time.Since(began)
		}
		<-tick.C
	}
	t.Fatalf("gave up waiting for: %s", what)
	return 0
}

// wantError checks code, words and hint of an error.
func wantError(t *testing.T, err error, code mayfly.Code, message, hint string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", message)
	}
	if mayfly.CodeOf(err) != code || !strings.Contains(err.Error(), message) || !strings.Contains(mayfly.HintOf(err), hint) {
		t.Errorf("error %v %q with hint %q, want %v with %q and %q", mayfly.CodeOf(err), err, mayfly.HintOf(err), code, message, hint)
	}
}

// manifest returns a project with the given manifest.
func manifest(t *testing.T, text string) *project.Project {
	t.Helper()
	p, err := project.Parse(filepath.Join(t.TempDir(), project.Manifest), []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const tasks = "project: shop\nroutes: {create: {http: /createTask, subject: tasks, payload: help please}}\n"

func TestNodeAnswersForItsProject(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Routes = manifest(t, tasks).Routes
	n := start(t, o)
	if len(n.Routes) != 1 || !n.Embedded || n.Folder != o.Folder || n.Took <= 0 {
		t.Errorf("status = %+v", n.Status)
	}
	if a := ask(t, "GET", n.Gateway+"/createTask", nil); a.StatusCode != 503 {
		t.Errorf("without a worker: %v, want 503", a)
	}
	natstest.Serve(t, connect(t, n.NATS), "tasks", func(m *nats.Msg) { m.Respond(append([]byte("did: "), m.Data...)) })
	if a := ask(t, "GET", n.Gateway+"/createTask", nil); a.StatusCode != 200 || string(a.body) != "did: help please" {
		t.Errorf("with a worker: %v", a)
	}
}

func TestShutdownAnswersWhatIsInFlight(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Routes = manifest(t, tasks).Routes
	n := start(t, o)
	began, finish := make(chan struct{}), make(chan struct{})
	natstest.Serve(t, connect(t, n.NATS), "tasks", func(m *nats.Msg) {
		close(began)
		<-finish
		m.Respond([]byte("done"))
	})
	type result struct {
		answer
		err error
	}
	came := make(chan result, 1)
	go func() {
		a, err := tryAsk(context.Background(), "POST", n.Gateway+"/createTask", []byte("x"))
		came <- result{a, err}
	}()
	<-began
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		n.stop()
	}()
	// The door is closed when nobody can come in any more.
	addr := strings.TrimPrefix(n.Gateway, "http://")
	eventually(t, "the gateway takes no new connection", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case <-stopped:
		t.Error("the node stopped with a call in flight")
	case r := <-came:
		t.Errorf("the call was answered before its worker was done: %v %v", r.answer, r.err)
	default:
	}
	close(finish)
	if r := <-came; r.err != nil || r.StatusCode != 200 || string(r.body) != "done" {
		t.Errorf("call in flight: %v %v", r.answer, r.err)
	}
	<-stopped
}

func TestShutdownCutsWhatOutlivesTheDrainTime(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Config.Drain = 50 * time.Millisecond
	o.Routes = manifest(t, tasks).Routes
	n := start(t, o)
	began := make(chan struct{})
	natstest.Serve(t, connect(t, n.NATS), "tasks", func(*nats.Msg) { close(began) }) // never answers
	came := make(chan error, 1)
	go func() {
		_, err := tryAsk(context.Background(), "POST", n.Gateway+"/createTask", []byte("x"))
		came <- err
	}()
	<-began
	n.stop()
	if err := <-came; err == nil {
		t.Error("a call that nobody answered got an answer")
	}
}

func TestNewLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() }) // after the subtests, which run in parallel
	for _, tt := range []struct {
		name   string
		change func(c *config.Config)
		key    string
	}{
		{"the gateway cannot listen", func(c *config.Config) { c.Gateway.Addr = taken.Addr().String() }, "gateway.addr"},
		{"the admin door cannot listen", func(c *config.Config) { c.Admin.Addr = taken.Addr().String() }, "admin.addr"},
		{"the bus cannot listen", func(c *config.Config) { c.Bus.Addr = taken.Addr().String() }, "bus.addr"},
		{"the monitor cannot listen", func(c *config.Config) { c.Bus.Monitor = taken.Addr().String() }, "bus.monitor"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			good := options(t)
			// Fixed addresses, so that one left open would be in the way. Goroutines
			// are TestMain's.
			good.Config.Bus.Addr, good.Config.Gateway.Addr, good.Config.Admin.Addr = natstest.FreeAddr(t), natstest.FreeAddr(t), natstest.FreeAddr(t)
			bad := good
			tt.change(&bad.Config)
			_, err := node.New(t.Context(), bad)
			wantError(t, err, mayfly.Conflict, tt.key, "another address with --"+tt.key)
			if _, ok := node.RunningAt(good.Folder); ok {
				t.Error("the folder is still in use")
			}
			start(t, good)
		})
	}
}

func TestPortOfAnotherNATSServerIsExplained(t *testing.T) {
	t.Parallel()
	first := start(t, options(t))
	o := options(t)
	o.Config.Bus.Addr = strings.TrimPrefix(first.NATS, "nats://")
	_, err := node.New(t.Context(), o)
	wantError(t, err, mayfly.Conflict, "a NATS server already runs on "+o.Config.Bus.Addr, "--nats nats://"+o.Config.Bus.Addr)
}

func TestTwoNodesLiveOnOneMachine(t *testing.T) {
	t.Parallel()
	first, second := start(t, options(t)), start(t, options(t))
	natstest.AddService(t, connect(t, first.NATS), "One", "1.0.0", natstest.Endpoint{Name: "echo"})
	natstest.AddService(t, connect(t, second.NATS), "Two", "1.0.0", natstest.Endpoint{Name: "echo"})
	for _, tt := range []struct {
		name, url string
		want      int
	}{
		{"the first has its service", first.Gateway + "/svc/One/echo", 200},
		{"the second has its service", second.Gateway + "/svc/Two/echo", 200},
		{"the first has not the second's", first.Gateway + "/svc/Two/echo", 404},
		{"the second has not the first's", second.Gateway + "/svc/One/echo", 404},
	} {
		if a := ask(t, "POST", tt.url, []byte("x")); a.StatusCode != tt.want {
			t.Errorf("%s: %v, want %d", tt.name, a, tt.want)
		}
	}
	if first.stop(); ask(t, "GET", second.Gateway+"/readyz", nil).StatusCode != 200 {
		t.Error("the second is not ready after the first has stopped")
	}
}

func TestAdminDoorCanBeOff(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Config.Admin.Addr = config.AdminOff
	if n := start(t, o); n.Admin != "" {
		t.Errorf("admin door at %q", n.Admin)
	}
}

func TestWatchHearsServicesComeAndGo(t *testing.T) {
	t.Parallel()
	changes := make(chan node.Change, 16)
	o := options(t)
	o.Watch = func(c node.Change) { changes <- c }
	n := start(t, o)
	next := func() node.Change {
		t.Helper()
		select {
		case c := <-changes:
			return c
		case <-time.After(patience):
			t.Fatal("no change was told")
			return node.Change{}
		}
	}
	nc := connect(t, n.NATS)
	service := natstest.AddService(t, nc, "Echo", "1.0.0", natstest.Endpoint{Name: "echo"})
	if c := next(); c.Gone || c.Service.Name != "Echo" || c.Service.ID != service.Info().ID || len(c.Service.Endpoints) != 1 {
		t.Errorf("first change = %+v, want Echo that came", c)
	}
	second := natstest.AddService(t, nc, "Echo", "1.0.0", natstest.Endpoint{Name: "echo"})
	if c := next(); c.Gone || c.Service.ID != second.Info().ID {
		t.Errorf("second change = %+v, want the other instance", c)
	}
	if err := service.Stop(); err != nil {
		t.Fatal(err)
	}
	if c := next(); !c.Gone || c.Service.ID != service.Info().ID {
		t.Errorf("third change = %+v, want the first instance gone", c)
	}
}

func TestNodesAnswerWithTheirRoutes(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Routes = manifest(t, tasks).Routes
	n := start(t, o)
	nc := connect(t, n.NATS)
	natstest.AddService(t, nc, "Shop", "1.0.0",
		natstest.Endpoint{Name: "create", Metadata: map[string]string{mayfly.MetaHTTP: "/createTask"}},
		natstest.Endpoint{Name: "top", Metadata: map[string]string{mayfly.MetaHTTP: "GET /top/{n}"}})
	want := []peers.Route{
		{Pattern: "/createTask", Target: "tasks", Name: "create", Origin: "project shop"},
		{Pattern: "GET /top/{n}", Target: "Shop/top", Name: "Shop/top", Origin: "metadata"},
		{Pattern: "/createTask", Target: "Shop/create", Name: "Shop/create", Origin: "metadata", Shadowed: `conflicts with route "/createTask"`},
	}
	core := connectCore(t, n.NATS)
	var got []peers.Route
	eventually(t, "all routes are listed", func() bool {
		m, err := core.Request(mayfly.SubjectRoutes, nil, patience)
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		if err := json.Unmarshal(m.Data, &got); err != nil {
			t.Fatal(err)
		}
		return len(got) == len(want)
	})
	for i := range got {
		if got[i].Node == "" || got[i].V != peers.Version {
			t.Errorf("route %s does not say whose it is or in which format", got[i].Name)
		}
		got[i].Node, got[i].V = "", 0
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Names and types of metrics are what dashboards are built on.
func TestMetricsAreThoseOfTheGoldenFile(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	ask(t, "GET", n.Gateway+"/healthz", nil) // a counter by status shows itself once it has counted
	hello := mayfly.Unit{Name: "hello", Program: mayfly.Program{Engine: mayfly.EngineExec, Start: []string{"hello"}}}
	if err := n.Roster().Set(hello, func(context.Context) (string, error) { return t.TempDir(), nil }); err != nil {
		t.Fatal(err)
	}
	a := ask(t, "GET", n.Admin+"/metrics", nil)
	if a.StatusCode != 200 {
		t.Fatal(a)
	}
	lines := regexp.MustCompile(`(?m)^# (HELP|TYPE) mayfly_.*\n`).FindAllString(string(a.body), -1)
	compare(t, "testdata/metrics.txt", strings.Join(lines, ""))

	info := fmt.Sprintf(`mayfly_info{nats_server=%q,version="0.0.0-test"} 1`, server.VERSION)
	for _, want := range []string{info, "mayfly_ready 1", `mayfly_calls_total{status="200"} 1`, "mayfly_functions 1", `mayfly_function_calls_total{function="hello"} 0`, "go_goroutines "} {
		if !strings.Contains(string(a.body), "\n"+want) {
			t.Errorf("/metrics has no line %s", want)
		}
	}
}

// compare checks text against a golden file, or writes the file with -update.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.SplitAfter(string(want), "\n"), strings.SplitAfter(got, "\n")); diff != "" {
		t.Errorf("%s differs (write it with -update): %s", file, diff)
	}
}

// An external server is one that is not ours, on a fixed port, so that it can stop
// and come back.
type external struct {
	options server.Options
	server  *server.Server
}

func startExternal(t *testing.T) *external {
	t.Helper()
	e := &external{options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
	}}
	e.start(t)
	e.options.Port = e.server.Addr().(*net.TCPAddr).Port
	t.Cleanup(e.stop)
	return e
}

func (e *external) start(t *testing.T) {
	t.Helper()
	o := e.options // the server writes into it
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	e.server = s
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the external server does not start")
	}
}

func (e *external) stop() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// onServer returns options of a node that uses the server.
func (e *external) onServer(t *testing.T) node.Options {
	t.Helper()
	o := options(t)
	o.Config.NATS = e.server.ClientURL()
	o.Config.Gateway.Expose = []string{"*"}
	return o
}

func TestReadinessFollowsAnExternalServer(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	n := start(t, e.onServer(t))
	status := func(path string) int { return ask(t, "GET", n.Gateway+path, nil).StatusCode }
	if got := status("/readyz"); got != 200 {
		t.Fatalf("ready: %d", got)
	}
	e.stop()
	if took := eventually(t, "not ready", func() bool { return status("/readyz") == 503 }); took > 2*time.Second {
		t.Errorf("the loss was noticed after %s, want 2 s at most", took)
	}
	if got := status("/healthz"); got != 200 {
		t.Errorf("healthz without NATS: %d, want 200", got)
	}
	e.start(t)
	eventually(t, "ready again", func() bool { return status("/readyz") == 200 })
	natstest.AddService(t, connect(t, e.server.ClientURL()), "Echo", "1.0.0", natstest.Endpoint{Name: "echo"})
	if a := ask(t, "POST", n.Gateway+"/svc/Echo/echo", []byte("back")); a.StatusCode != 200 || string(a.body) != "back" {
		t.Errorf("a call after the server came back: %v", a)
	}
}

// What works on the embedded server works on one that is not ours.
func TestNodeUsesAnExternalServer(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	o := e.onServer(t)
	o.Routes = manifest(t, tasks).Routes
	n := start(t, o)
	if n.Embedded || n.NATS != e.server.ClientURL() {
		t.Errorf("status = %+v, want the external server", n.Status)
	}
	nc := connect(t, e.server.ClientURL())
	natstest.Serve(t, nc, "tasks", func(m *nats.Msg) { m.Respond(m.Data) })
	if a := ask(t, "POST", n.Gateway+"/createTask", []byte("mine")); a.StatusCode != 200 || string(a.body) != "mine" {
		t.Errorf("call: %v", a)
	}
	if _, err := os.Stat(filepath.Join(o.Folder, "nats")); err == nil {
		t.Error("a store was made for a server that does not run")
	}
	n.stop()
	if _, err := nc.Request("tasks", nil, patience); err != nil {
		t.Errorf("the server stopped with the node: %v", err)
	}
}

func TestExternalServerExposesNothingByDefault(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	o := e.onServer(t)
	o.Config.Gateway.Expose = nil
	n := start(t, o)
	natstest.AddService(t, connect(t, e.server.ClientURL()), "Echo", "1.0.0", natstest.Endpoint{Name: "echo"})
	if a := ask(t, "POST", n.Gateway+"/svc/Echo/echo", []byte("x")); a.StatusCode != 404 {
		t.Errorf("%v, want 404", a)
	}
}

func TestNodeWithoutItsServerSaysSo(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Config.NATS = "nats://" + natstest.FreeAddr(t)
	o.Config.Bus.Wait = 10 * time.Millisecond
	_, err := node.New(t.Context(), o)
	wantError(t, err, mayfly.Unavailable, o.Config.NATS, "--nats")
}

func TestStreamsSurviveARestartUntilFresh(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := start(t, o)
	js, err := jetstream.New(connect(t, n.NATS))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "kept.x", []byte("still here")); err != nil {
		t.Fatal(err)
	}
	n.stop()

	messages := func(n *running) int {
		t.Helper()
		js, err := jetstream.New(connect(t, n.NATS))
		if err != nil {
			t.Fatal(err)
		}
		s, err := js.Stream(t.Context(), "KEPT")
		if err != nil {
			return -1
		}
		return int(s.CachedInfo().State.Msgs)
	}
	again := start(t, o)
	if got := messages(again); got != 1 {
		t.Errorf("%d messages after a restart, want 1", got)
	}
	again.stop()
	o.Fresh = true
	if got := messages(start(t, o)); got != -1 {
		t.Errorf("%d messages in a fresh folder, want no stream", got)
	}
}

func TestStatusNamesTheVersions(t *testing.T) {
	t.Parallel()
	s := start(t, options(t)).Status
	if s.Version != "0.0.0-test" || s.Server != server.VERSION || s.Go != runtime.Version() {
		t.Errorf("status = %+v", s)
	}
}

// net/http prepares a server that serves for TLS, whether it is to speak it or not.
func TestStatusStaysWhileTheDoorsServe(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	ask(t, "GET", n.Gateway+"/healthz", nil)
	if now := n.Node.Status(); now.Gateway != n.Gateway || !strings.HasPrefix(now.Gateway, "http://localhost:") {
		t.Errorf("gateway at %s while it serves, was at %s", now.Gateway, n.Gateway)
	}
}
