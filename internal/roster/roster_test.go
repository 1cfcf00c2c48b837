package roster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bundle"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/registry"
	"github.com/mayfly-run/mayfly/internal/roster"
	"github.com/mayfly-run/mayfly/internal/runner"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// nats.go 1.55.0 starts this goroutine for each upload. Where the upload is done
	// before it has run for the first time, it finds nothing to wait for, and waits.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

// An engine makes instances that answer with their name and revision.
type engine struct{}

func (engine) Traits() runner.Traits { return runner.Traits{} }

func (engine) Start(_ context.Context, s runner.Spec) (runner.Instance, error) {
	if s.Program.Env["CRASH"] != "" {
		return nil, errors.New("it crashed")
	}
	return &instance{who: mayfly.Unit{Name: mayfly.Name(s.Name), Revision: s.Revision}.String(), done: make(chan struct{})}, nil
}

type instance struct {
	who  string
	once sync.Once
	done chan struct{}
}

func (i *instance) Call(context.Context, *mayfly.Call) (mayfly.Reply, error) {
	return mayfly.Reply{Status: 200, Body: []byte(i.who)}, nil
}
func (i *instance) Done() <-chan struct{} { return i.done }
func (i *instance) Err() error            { return nil }
func (i *instance) Stop(context.Context)  { i.once.Do(func() { close(i.done) }) }
func (i *instance) Usage() runner.Usage   { return runner.Usage{} }

// A stage is a node as far as the roster sees it.
type stage struct {
	*roster.Roster
	bus      *bus.Bus
	registry *registry.Registry
	runner   *runner.Runner
	said     chan struct{} // tells that something was said about an instance
	digest   string        // of a bundle that is there
}

func start(t testing.TB, labels map[string]string) *stage {
	t.Helper()
	s := &stage{bus: natstest.New(t), said: make(chan struct{}, 1)}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	var err error
	if s.registry, err = registry.Open(t.Context(), s.bus, registry.Options{Cache: t.TempDir(), Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.registry.Close() })
	var packed bytes.Buffer
	if s.digest, _, err = bundle.Pack(&packed, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := s.registry.Upload(t.Context(), bytes.NewReader(packed.Bytes()), s.digest); err != nil {
		t.Fatal(err)
	}
	s.serve(t, labels, log)
	return s
}

// serve makes the roster, and runs it until the end of the test.
func (s *stage) serve(t testing.TB, labels map[string]string, log *slog.Logger) {
	t.Helper()
	s.runner = runner.New(runner.Options{
		Engines: map[mayfly.Engine]runner.Engine{mayfly.EngineHTTP: engine{}, mayfly.EngineService: engine{}},
		Output: func(mayfly.Line) {
			select {
			case s.said <- struct{}{}:
			default:
			}
		},
	})
	s.Roster = roster.New(roster.Options{Registry: s.registry, Runner: s.runner, Labels: labels, Log: log})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		s.runner.Close()
	})
}

func (s *stage) function(name mayfly.Name, change ...func(*mayfly.Unit)) mayfly.Unit {
	f := mayfly.Unit{Name: name}
	f.Engine, f.Bundles, f.Env = mayfly.EngineHTTP, map[string]string{mayfly.AnyPlatform: s.digest}, map[string]string{}
	for _, c := range change {
		c(&f)
	}
	return f
}

func (s *stage) deploy(t testing.TB, f mayfly.Unit) {
	t.Helper()
	if _, _, err := s.registry.Deploy(t.Context(), f, registry.Change{}); err != nil {
		t.Fatal(err)
	}
}

// develop sets a function as a session does.
func (s *stage) develop(t *testing.T, f mayfly.Unit) {
	t.Helper()
	f.Bundles = nil
	folder := t.TempDir()
	if err := s.Set(f, func(context.Context) (string, error) { return folder, nil }); err != nil {
		t.Fatal(err)
	}
}

// await waits for news, of functions or of their instances, until there is what is expected.
func (s *stage) await(t testing.TB, what string, there func() bool) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	news, late := s.Watch(ctx), time.After(time.Minute)
	for !there() {
		select {
		case <-news:
		case <-s.said:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

// awaitAnswer waits until calls of a function are answered so; "" is by nobody.
func (s *stage) awaitAnswer(t *testing.T, name mayfly.Name, want string) {
	t.Helper()
	s.await(t, fmt.Sprintf("%s is answered by %q", name, want), func() bool {
		if f, _ := s.Function(name); f == nil {
			return want == ""
		}
		reply, err := s.runner.Call(t.Context(), name, &mayfly.Call{})
		return err == nil && string(reply.Body) == want
	})
}

// public returns who answers for a name on the bus.
func (s *stage) public(name mayfly.Name) string {
	if f := s.Public(name); f != nil {
		return f.String()
	}
	return ""
}

func TestDevelopedTakesPrecedence(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	revision := func(text string) mayfly.Unit {
		return s.function("hello", func(f *mayfly.Unit) { f.Env["TEXT"] = text })
	}
	s.deploy(t, revision("one"))
	s.awaitAnswer(t, "hello", "hello@1")
	s.Expect(mayfly.Unit{Name: "hello"}, func() {})
	if f, building := s.Function("hello"); f == nil || building {
		t.Error("what is deployed does not answer while another is built")
	}
	s.Remove("hello") // the build failed, and it left the manifest
	s.awaitAnswer(t, "hello", "hello@1")

	s.develop(t, s.function("hello"))
	s.awaitAnswer(t, "hello", "hello@dev")
	s.deploy(t, revision("two"))
	s.deploy(t, s.function("other"))
	s.awaitAnswer(t, "other", "other@1") // so the roster has heard of both
	s.awaitAnswer(t, "hello", "hello@dev")
	if got := s.public("hello"); got != "" {
		t.Errorf("the bus sees %s, want what other nodes have deployed", got)
	}
	s.Remove("hello")
	s.awaitAnswer(t, "hello", "hello@2")
	if got := s.public("hello"); got != "hello@2" {
		t.Errorf("the bus sees %q", got)
	}
}

func TestCallersWaitForABuild(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	if err := s.Built(t.Context(), "mine"); err != nil {
		t.Errorf("nothing is built: %v", err)
	}
	s.Expect(mayfly.Unit{Name: "mine"}, func() {})
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Built(late, "mine"); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("a caller that leaves: %v", err)
	}
	waited := make(chan error)
	wait := func() { go func() { waited <- s.Built(t.Context(), "mine") }() }
	wait()
	s.Fail("mine", mayfly.Errorf(mayfly.Invalid, "it does not compile: %w", mayfly.Trace("line 1")))
	err := <-waited
	if trace, ok := errors.AsType[mayfly.Trace](err); mayfly.CodeOf(err) != mayfly.Crashed || !ok || trace != "line 1" {
		t.Errorf("after a build that fails: %v", err)
	}
	s.Expect(mayfly.Unit{Name: "mine"}, func() {})
	s.Fail("mine", mayfly.Errorf(mayfly.Crashed, "exit status 3"))
	if err := s.Built(t.Context(), "mine"); err == nil || !strings.Contains(err.Error(), `"mine" does not start: exit status 3`) {
		t.Errorf("after a start that fails: %v", err)
	}
	s.Expect(mayfly.Unit{Name: "mine"}, func() {})
	wait()
	s.develop(t, s.function("mine"))
	if err := <-waited; err != nil {
		t.Errorf("after a build that works: %v", err)
	}
	s.Expect(mayfly.Unit{Name: "other"}, func() {})
	go func() { waited <- s.Built(t.Context(), "other") }()
	s.Remove("other")
	if err := <-waited; err != nil {
		t.Errorf("after it left the manifest: %v", err)
	}
}

// What a session announces is built before the rest once a call waits for it.
func TestFirstCallHastensABuild(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	wanted := make(chan mayfly.Name, 10)
	for _, name := range []mayfly.Name{"idle", "called"} {
		s.Expect(mayfly.Unit{Name: name}, func() { wanted <- name })
	}
	s.Expect(mayfly.Unit{Kind: mayfly.KindService, Name: "worker"}, func() { wanted <- "worker" })
	late, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		_ = s.Built(late, "called")
		_, _ = s.Coming(late, "")
	}
	if got := []mayfly.Name{<-wanted, <-wanted}; got[0] != "called" || got[1] != "worker" || len(wanted) != 0 {
		t.Errorf("wanted: %v and %d more", got, len(wanted))
	}
}

func TestCallersWaitForAService(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	service := func(name mayfly.Name) mayfly.Unit {
		return s.function(name, func(u *mayfly.Unit) {
			u.Kind, u.Engine, u.Instances = mayfly.KindService, mayfly.EngineService, mayfly.Exactly(1)
		})
	}
	if again, problem := s.Coming(t.Context(), ""); again || problem != nil {
		t.Errorf("nothing is on its way: %v, %v", again, problem)
	}
	s.Expect(mayfly.Unit{Kind: mayfly.KindService, Name: "worker"}, func() {})
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if again, problem := s.Coming(late, ""); again || mayfly.CodeOf(problem) != mayfly.Unavailable || !strings.Contains(problem.Error(), `service "worker" has been building for 0s`) {
		t.Errorf("a caller that leaves: %v, %v", again, problem)
	}
	type answer struct {
		again   bool
		problem error
	}
	waited := make(chan answer)
	wait := func(name string) {
		go func() {
			again, problem := s.Coming(t.Context(), name)
			waited <- answer{again, problem}
		}()
	}
	wait("")
	s.Fail("worker", mayfly.Errorf(mayfly.Invalid, "it does not compile"))
	if a := <-waited; a.again { // the news may have come before the wait
		a.again, a.problem = s.Coming(t.Context(), "")
		if a.again || mayfly.CodeOf(a.problem) != mayfly.Crashed || !strings.Contains(a.problem.Error(), "it does not compile") {
			t.Errorf("after a build that fails: %+v", a)
		}
	}
	s.Expect(mayfly.Unit{Kind: mayfly.KindService, Name: "other"}, func() {})
	if again, problem := s.Coming(t.Context(), "worker"); again || problem == nil {
		t.Errorf("another one is built: %v, %v", again, problem)
	}
	wait("other")
	s.develop(t, service("other")) // it may not listen yet
	for range 3 {
		if a := <-waited; !a.again {
			t.Errorf("a service that is connecting: %+v", a)
		}
		wait("other")
	}
	<-waited
	s.Remove("other")
	s.Remove("worker")
	if again, problem := s.Coming(t.Context(), ""); again || problem != nil {
		t.Errorf("after they left the manifest: %v, %v", again, problem)
	}
}

// What is deployed and in trouble is the business of those alone that call it by its name.
func TestDeployedServiceKeepsNobodyElseWaiting(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	deployed := func(name mayfly.Name, crash string) {
		s.deploy(t, s.function(name, func(u *mayfly.Unit) {
			u.Kind, u.Engine, u.Instances = mayfly.KindService, mayfly.EngineService, mayfly.Exactly(1)
			if crash != "" {
				u.Env["CRASH"] = crash
			}
		}))
	}
	deployed("healthy", "")
	deployed("billing", "1")
	s.await(t, "billing fails and healthy runs", func() bool {
		all := s.Conditions()
		return len(all) == 2 && all[0].State == peers.Failing && all[1].State == peers.Running
	})
	for _, name := range []string{"", "typo", "healthy"} {
		if again, problem := s.Coming(t.Context(), name); again || problem != nil {
			t.Errorf("a call of %q: %v, %v", name, again, problem)
		}
	}
	again, problem := s.Coming(t.Context(), "billing")
	if again || problem == nil || strings.Contains(problem.Error(), "it crashed") { // an error of ours
		t.Errorf("a call of billing: %v, %v", again, problem)
	}
}

func TestConditionsNameWhatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.Expect(mayfly.Unit{Name: "built"}, func() {})
	s.Expect(mayfly.Unit{Name: "broken"}, func() {})
	s.Fail("broken", errors.New("line 1"))
	s.develop(t, s.function("idle"))
	s.develop(t, s.function("crashing", func(f *mayfly.Unit) { f.Env["CRASH"] = "1" }))
	s.develop(t, s.function("worker", func(u *mayfly.Unit) {
		u.Kind, u.Engine, u.Instances = mayfly.KindService, mayfly.EngineService, mayfly.Exactly(1)
	}))
	if _, err := s.runner.Call(t.Context(), "crashing", &mayfly.Call{}); err == nil {
		t.Fatal("it started")
	}
	var got []string
	for _, c := range s.Conditions() {
		state := c.State
		if state == peers.Starting && c.Name == "worker" {
			state = peers.Running // depends on the machine
		}
		got = append(got, fmt.Sprintf("%s %s %s %v", c.Kind, c.Name, state, c.Err))
	}
	want := []string{
		"function broken failed line 1", "function built building <nil>",
		"function crashing failing it crashed", "service worker running <nil>",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// A request at a function's own path waits for its build, as one at /fn does: the route
// leads there before the function is built, after that failed, and until it is removed.
func TestPatternsLeadToWhatIsBeingBuilt(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	at := func(path string) func(*mayfly.Unit) {
		return func(u *mayfly.Unit) {
			p, err := mayfly.ParsePattern(path)
			if err != nil {
				t.Fatal(err)
			}
			u.HTTP = []mayfly.Pattern{p}
		}
	}
	want := func(when string, patterns ...string) {
		t.Helper()
		s.await(t, when, func() bool {
			var there []string
			for _, r := range s.Routes() {
				there = append(there, r.Pattern.String()+" "+string(r.Function))
			}
			return slices.Equal(there, patterns)
		})
	}
	s.Expect(s.function("mine", at("POST /mine")), func() {})
	want("while it is built", "POST /mine mine")
	s.Fail("mine", mayfly.Errorf(mayfly.Invalid, "it does not compile"))
	want("after that failed", "POST /mine mine")
	s.Expect(s.function("mine", at("POST /moved")), func() {})
	want("with another path", "POST /moved mine")
	s.develop(t, s.function("mine", at("POST /built")))
	want("once it serves", "POST /built mine")
	s.Expect(s.function("mine", at("POST /next")), func() {})
	want("while its next build runs", "POST /built mine")
	s.Remove("mine")
	want("once it is gone")
	s.Expect(s.function("mine", at("POST /mine")), func() {})
	s.Remove("mine")
	want("if it goes before it is built")
}

func TestDevelopedIsPublicUnderAFreeName(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.Expect(mayfly.Unit{Name: "mine"}, func() {})
	if f, building := s.Function("mine"); f != nil || !building {
		t.Errorf("%v, %v while it is built", f, building)
	}
	s.develop(t, s.function("mine"))
	if _, building := s.Function("mine"); building || s.public("mine") != "mine@dev" {
		t.Errorf("the bus sees %q", s.public("mine"))
	}
	s.deploy(t, s.function("mine"))
	s.await(t, "it is hidden behind the deployed one", func() bool { return s.public("mine") == "" })
	if err := s.registry.Remove(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "it is public again", func() bool { return s.public("mine") == "mine@dev" })
	s.Remove("mine")
	s.awaitAnswer(t, "mine", "")
}

func TestOnlyWhatFitsIsServed(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"gpu": "yes"})
	s.deploy(t, s.function("elsewhere", func(f *mayfly.Unit) { f.Labels = map[string]string{"gpu": "no"} }))
	s.deploy(t, s.function("foreign", func(f *mayfly.Unit) { f.Bundles = map[string]string{"plan9/mips": s.digest} }))
	s.deploy(t, s.function("here", func(f *mayfly.Unit) { f.Labels = map[string]string{"gpu": "yes"} }))
	s.awaitAnswer(t, "here", "here@1")
	for _, name := range []mayfly.Name{"elsewhere", "foreign"} {
		if f, _ := s.Function(name); f != nil {
			t.Errorf("%s is served", f)
		}
		if !s.Deployed(name) {
			t.Errorf("%s does not count as deployed", name)
		}
	}
	s.deploy(t, s.function("here", func(f *mayfly.Unit) { f.Labels = map[string]string{"gpu": "no"} }))
	s.awaitAnswer(t, "here", "")
}

// A registry that was restored from a backup may count on from a lower number.
func TestSameNumberOfOtherContentIsTaken(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.deploy(t, s.function("hello"))
	s.awaitAnswer(t, "hello", "hello@1")
	js, err := s.bus.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), mayfly.BucketRegistry)
	if err != nil {
		t.Fatal(err)
	}
	value := fmt.Sprintf(`{"v":1,"name":"hello","revision":1,"engine":"http","start":["./other"],"bundles":{"any":%q}}`, s.digest)
	if _, err := kv.PutString(t.Context(), "function/hello", value); err != nil {
		t.Fatal(err)
	}
	s.await(t, "the other content of hello@1", func() bool {
		units := s.runner.Units()
		return len(units) == 1 && slices.Equal(units[0].Start, []string{"./other"})
	})
}

func TestWatchTellsWhatChanged(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	pattern, err := mayfly.ParsePattern("GET /third")
	if err != nil {
		t.Fatal(err)
	}
	s.SetRoutes([]mayfly.Route{{Name: "early", Pattern: pattern, Function: "first"}})
	s.deploy(t, s.function("first"))
	s.awaitAnswer(t, "first", "first@1")
	ctx, stop := context.WithCancel(t.Context())
	news := s.Watch(ctx)
	want := func(after string, names ...mayfly.Name) {
		t.Helper()
		got := map[mayfly.Name]bool{}
		for late := time.After(time.Minute); len(got) < len(names); {
			select {
			case changed := <-news:
				for name := range changed {
					got[name] = true
				}
			case <-late:
				t.Fatalf("after %s only %v is told", after, got)
			}
		}
		if all := slices.Sorted(maps.Keys(got)); !slices.Equal(all, names) {
			t.Errorf("after %s %q are told, want %q", after, all, names)
		}
	}
	want("the start", "", "first")
	routes := s.Routes()
	s.deploy(t, s.function("second"))
	want("a deploy", "second")
	if _, err := s.registry.Scale(t.Context(), "second", mayfly.Instances{Max: 2}); err != nil {
		t.Fatal(err)
	}
	want("scaling", "second")
	if f, _ := s.Function("second"); f.Instances.Max != 2 {
		t.Errorf("second has %+v", f.Instances)
	}
	if again := s.Routes(); &again[0] != &routes[0] {
		t.Error("no route has changed, and they were made anew")
	}
	s.deploy(t, s.function("third", func(f *mayfly.Unit) { f.HTTP = []mayfly.Pattern{pattern} }))
	want("the deploy of a pattern", "", "third")
	s.SetRoutes([]mayfly.Route{{Name: "session", Pattern: pattern, Function: "first"}})
	want("routes of a session", "")
	if _, err := s.registry.DeployRoutes(t.Context(), []mayfly.Route{{Name: "deployed", Pattern: pattern, Function: "first"}}, registry.Change{}); err != nil {
		t.Fatal(err)
	}
	want("the deploy of a route", "")
	var names []string
	for _, r := range s.Routes() {
		names = append(names, r.Name)
	}
	if diff := cmp.Diff([]string{"session", "deployed", "third"}, names); diff != "" {
		t.Errorf("the order of precedence: %s", diff)
	}
	if err := s.registry.Remove(t.Context(), "third"); err != nil {
		t.Fatal(err)
	}
	want("a removal", "", "third")
	stop()
	for range news { // is closed
	}
}

func TestServicesAreKeptLikeFunctions(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	service := mayfly.Unit{Kind: mayfly.KindService, Name: "Ticker", Limits: mayfly.Limits{Instances: mayfly.Exactly(1)}}
	service.Engine, service.Bundles = mayfly.EngineService, map[string]string{mayfly.AnyPlatform: s.digest}
	running := func() string {
		for _, u := range s.runner.Units() {
			if u.Kind == mayfly.KindService {
				return u.String()
			}
		}
		return ""
	}
	deploy := func() {
		t.Helper()
		if _, _, err := s.registry.Deploy(t.Context(), service, registry.Change{}); err != nil {
			t.Fatal(err)
		}
		seen := fmt.Sprint("seen", service.Instances.Min)
		s.deploy(t, s.function(mayfly.Name(seen))) // followed after the service
		s.awaitAnswer(t, mayfly.Name(seen), seen+"@1")
	}
	deploy()
	if got := running(); got != "Ticker@1" {
		t.Errorf("%q runs", got)
	}
	developed := service
	developed.Bundles = nil
	if err := s.Set(developed, func(context.Context) (string, error) { return t.TempDir(), nil }); err != nil {
		t.Fatal(err)
	}
	service.Instances = mayfly.Exactly(2)
	deploy()
	if got := running(); got != "Ticker@dev" {
		t.Errorf("%q runs", got)
	}
	s.Remove("Ticker")
	if got := running(); got != "Ticker@2" {
		t.Errorf("%q runs", got)
	}
}

// A node that may store nothing serves what is developed on it.
func TestRosterWithoutARegistry(t *testing.T) {
	t.Parallel()
	why := errors.New("no JetStream")
	s := &stage{registry: registry.None(why)}
	s.serve(t, nil, nil)
	s.develop(t, s.function("mine"))
	s.awaitAnswer(t, "mine", "mine@dev")
	if s.public("mine") != "mine@dev" || s.Deployed("mine") {
		t.Errorf("the bus sees %q", s.public("mine"))
	}
	if _, err := s.Bundle(s.function("f", func(f *mayfly.Unit) { f.Bundles[mayfly.AnyPlatform] = "x" }).Program)(t.Context()); !errors.Is(err, why) && mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a bundle: %v", err)
	}
	if err := s.registry.Close(); err != nil {
		t.Error(err)
	}
}
