package peers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is a value of env that nobody may see; the recorded answers have it too.
const canary = "canary-of-the-env"

// answer runs an Answerer until the end of the test.
func answer(t *testing.T, b *bus.Bus, o peers.Options) {
	t.Helper()
	a, err := peers.NewAnswerer(t.Context(), b, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		a.Close()
	})
}

// hello is a function with something to hide.
func hello() mayfly.Unit {
	return mayfly.Unit{
		Name: "hello", Revision: 3, HTTP: []mayfly.Pattern{},
		Program: mayfly.Program{Engine: mayfly.EngineExec, Start: []string{"sh", "hello.sh"}, Env: map[string]string{"GREETING": canary}},
	}
}

func options() peers.Options {
	return peers.Options{
		Ready: func() error { return nil },
		Self:  peers.Node{ID: "n1", Name: "mayfly-n1", Platform: "linux/amd64", Version: "1.2.3", Labels: map[string]string{"zone": "eu"}},
		Units: func() []peers.Condition {
			return []peers.Condition{{Name: "late", Kind: "function", State: peers.Failed, Error: "line 1"}}
		},
		Routes: func() []peers.Route {
			return []peers.Route{{Node: "mayfly-n1", Pattern: "/x", Target: "x", Name: "x", Origin: "metadata"}}
		},
		Prepare: func(context.Context, mayfly.Unit) error { return nil },
		Restart: func(_ context.Context, r peers.Restart) []peers.Restarted {
			if r.Secret != "api-key" {
				return nil
			}
			return []peers.Restarted{{Name: "hello", Kind: "function", Instances: 2, Error: "broken"}}
		},
		State: func(name string) (peers.State, bool) {
			f := hello()
			return peers.State{
				Unit: &f, Serving: 2, Failing: "crashed", Waiting: 1, Rests: time.Unix(1e9, 0).UTC(),
				Instances: []peers.Instance{{ID: "i1", Revision: 2, Phase: "ready", Calls: 4, Usage: peers.Usage{PID: 7, Memory: 8, CPU: 9}}},
			}, name == "hello"
		},
	}
}

// reply plays a node that answers a subject with the same bytes, always.
func reply(t *testing.T, nc *nats.Conn, subject string, data []byte) {
	t.Helper()
	natstest.Serve(t, nc, subject, func(m *nats.Msg) { m.Respond(data) })
}

// before returns an answer recorded from the build before answers had a version.
func before(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/before-" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestBothEndsUnderstandEachOther(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	o := options()
	var prepared mayfly.Unit
	o.Prepare = func(_ context.Context, f mayfly.Unit) error { prepared = f; return nil }
	answer(t, b, o)
	p := peers.New(b)

	nodes, err := p.List(t.Context())
	if err != nil || len(nodes) != 1 {
		t.Fatal(nodes, err)
	}
	want := o.Self
	want.V, want.Key, want.Account, want.Raw = peers.Version, nodes[0].Key, peers.AccountOwn, nodes[0].Raw
	want.Units = o.Units()
	if len(want.Key) == 0 {
		t.Error("the node has no key")
	}
	if diff := cmp.Diff(want, nodes[0]); diff != "" {
		t.Error(diff)
	}
	routes, answered, err := p.Routes(t.Context())
	if err != nil || answered != 1 || len(routes) != 1 || routes[0].Pattern != "/x" || routes[0].V != peers.Version {
		t.Error(routes, answered, err)
	}
	if err := p.Prepare(t.Context(), nodes[0], hello()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(asJSON(t, hello()), asJSON(t, prepared)); diff != "" {
		t.Errorf("a node starts something else: %s", diff)
	}
	got, err := p.State(t.Context(), "n1", "hello")
	if err != nil {
		t.Fatal(err)
	}
	state, _ := o.State("hello")
	state.V, state.Unit.Env = peers.Version, map[string]string{"GREETING": ""}
	if diff := cmp.Diff(asJSON(t, state), asJSON(t, got)); diff != "" {
		t.Error(diff)
	}
	if _, err := p.State(t.Context(), "n1", "other"); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Errorf("a name that is not there: %v", err)
	}
	if _, err := p.State(t.Context(), "gone", "hello"); mayfly.CodeOf(err) != mayfly.Unavailable || !strings.Contains(err.Error(), "node gone") {
		t.Errorf("a node that is not there: %v", err)
	}
}

func TestRestartAnswersUnitByUnit(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	o := options()
	answer(t, b, o)
	p := peers.New(b)
	got, err := p.Restart(t.Context(), "n1", peers.Restart{Secret: "api-key"})
	if diff := cmp.Diff(o.Restart(t.Context(), peers.Restart{Secret: "api-key"}), got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if got, err := p.Restart(t.Context(), "n1", peers.Restart{Name: "Other"}); err != nil || len(got) != 0 {
		t.Errorf("a name that it does not run: %v, error %v", got, err)
	}
	if _, err := p.Restart(t.Context(), "n1", peers.Restart{}); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a question without a name: %v", err)
	}
}

func TestPrepareReturnsTheNodesOwnError(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	o := options()
	o.Prepare = func(context.Context, mayfly.Unit) error {
		return mayfly.Errorf(mayfly.Crashed, "it exited with 3: %w", mayfly.Trace("line 1\nline 2")).WithHint("fix it")
	}
	answer(t, b, o)
	err := peers.New(b).Prepare(t.Context(), peers.Node{ID: "n1"}, hello())
	if mayfly.CodeOf(err) != mayfly.Crashed || mayfly.HintOf(err) != "fix it" || !strings.Contains(err.Error(), "it exited with 3") {
		t.Errorf("error is %v", err)
	}
}

// Whoever reads along sees which variables there are, and none of their values.
func TestNoValueOfEnvLeavesTheNode(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	answer(t, b, options())
	nc := natstest.ConnectCore(t, b)
	all, err := nc.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	p := peers.New(b)
	if _, err := p.State(t.Context(), "n1", "hello"); err != nil {
		t.Fatal(err)
	}
	var nodes []peers.Node
	for len(nodes) == 0 { // on a busy machine it may answer after the end of a question
		if nodes, err = p.List(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Prepare(t.Context(), nodes[0], hello()); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for ; ; seen++ {
		m, err := all.NextMsg(time.Millisecond)
		if err != nil {
			break
		}
		if strings.Contains(string(m.Data), canary) {
			t.Errorf("%s shows a value of env: %s", m.Subject, m.Data)
		}
	}
	if seen < 6 {
		t.Errorf("only %d messages were seen", seen)
	}
}

func TestAnswersOfTheBuildBeforeAreUnderstood(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.ConnectCore(t, b)
	reply(t, nc, mayfly.SubjectNodes, before(t, "nodes"))
	reply(t, nc, mayfly.SubjectRoutes, before(t, "routes"))
	p := peers.New(b)
	nodes, err := p.List(t.Context())
	if err != nil || len(nodes) != 1 {
		t.Fatal(nodes, err)
	}
	n := nodes[0]
	if n.V != 0 || n.Platform != "linux/amd64" || n.Limiter != "rss" || n.Labels["zone"] != "eu" {
		t.Errorf("node is %+v", n)
	}
	routes, _, err := p.Routes(t.Context())
	if err != nil || len(routes) != 1 || routes[0].Pattern != "GET /hello/{name}" || routes[0].Origin != "project shop" {
		t.Errorf("routes are %+v, error %v", routes, err)
	}
	natstest.Serve(t, nc, "mayfly.node."+n.ID+".state", func(m *nats.Msg) {
		m.Respond(before(t, "state-"+string(m.Data)))
	})
	f, err := p.State(t.Context(), n.ID, "hello")
	if err != nil {
		t.Fatal(err)
	}
	if f.Unit.Kind != mayfly.KindFunction || f.Unit.Name != "hello" || f.Current() != 1 || f.Serving != 1 || f.Developed() || !f.Rests.IsZero() ||
		len(f.Instances) != 1 || f.Instances[0].Phase != "ready" || f.Instances[0].Usage.CPU != 5581*time.Microsecond {
		t.Errorf("function is %s", asJSON(t, f))
	}
	h, err := p.State(t.Context(), n.ID, "ticker")
	if err != nil {
		t.Fatal(err)
	}
	if h.Unit.Kind != mayfly.KindService || h.Unit.Name != "ticker" || h.Current() != 1 || h.Instances[0].Usage.PID != 20930 || h.Instances[0].Usage.Memory != 3174400 {
		t.Errorf("service is %s", asJSON(t, h))
	}
	for name, s := range map[string]peers.State{"GREETING": f, "TOKEN": h} {
		if text := asJSON(t, s.Unit); strings.Contains(text, canary) || !strings.Contains(text, name) {
			t.Errorf("the answer shows a value of env, or not its name: %s", text)
		}
	}
}

// A command of the build before asks this one: what it reads must be there, by names
// that differ in case alone.
func TestTheBuildBeforeUnderstandsAnswers(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	o := options()
	prepared := make(chan mayfly.Unit, 1)
	o.Prepare = func(_ context.Context, f mayfly.Unit) error { prepared <- f; return nil }
	answer(t, b, o)
	nc := natstest.ConnectCore(t, b)
	ask := func(subject string, question []byte) []byte {
		t.Helper()
		m, err := nc.Request(subject, question, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return m.Data
	}
	// The types are those of the build before.
	type listed struct {
		Node     string            `json:"node"`
		Platform string            `json:"platform"`
		Version  string            `json:"version"`
		Limiter  string            `json:"limiter"`
		Labels   map[string]string `json:"labels,omitempty"`
	}
	var n listed
	if err := json.Unmarshal(ask(mayfly.SubjectNodes, nil), &n); err != nil {
		t.Fatal(err)
	}
	want := listed{Node: "n1", Platform: "linux/amd64", Version: "1.2.3", Labels: map[string]string{"zone": "eu"}}
	if diff := cmp.Diff(want, n); diff != "" {
		t.Error(diff)
	}
	var routes []struct{ Node, Pattern, Target, Name, Origin string }
	if err := json.Unmarshal(ask(mayfly.SubjectRoutes, nil), &routes); err != nil || len(routes) != 1 || routes[0].Pattern != "/x" {
		t.Errorf("routes are %v, error %v", routes, err)
	}
	var s struct {
		Function  mayfly.Unit
		Hosted    struct{ Name string }
		Instances []struct {
			ID       string
			Revision uint64
			Phase    string
			Started  time.Time
			Calls    int
			Usage    struct {
				PID    int
				Memory int64
				CPU    time.Duration
			}
		}
		Waiting int
		Serving uint64
		Failing string
		Rests   time.Time
	}
	if err := json.Unmarshal(ask("mayfly.node.n1.state", []byte("hello")), &s); err != nil {
		t.Fatal(err)
	}
	if s.Function.Revision != 3 || s.Hosted.Name != "" || s.Serving != 2 || s.Failing != "crashed" || s.Waiting != 1 || s.Rests.IsZero() ||
		len(s.Instances) != 1 || s.Instances[0].Usage.PID != 7 || s.Instances[0].Calls != 4 || s.Instances[0].ID != "i1" {
		t.Errorf("state is %+v", s)
	}
	// Its question is the function as it is.
	if got := ask("mayfly.node.n1.prepare", []byte(asJSON(t, hello()))); len(got) > 0 {
		t.Errorf("prepare is answered with %q", got)
	}
	if diff := cmp.Diff(asJSON(t, hello()), asJSON(t, <-prepared)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCannotBeUnderstoodIsSaid(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.ConnectCore(t, b)
	for i, tt := range []struct {
		name, answer, says, hint string
		code                     mayfly.Code
	}{
		{"a newer format", `{"v":2,"serving":{}}`, "node n0 answers in format 2", "update this Mayfly", mayfly.Unavailable},
		{"a newer format that still parses", `{"v":3}`, "node n1 answers in format 3", "update this Mayfly", mayfly.Unavailable},
		{"another type", `{"v":1,"serving":"now"}`, "cannot parse the answer of node n2", "mayfly nodes", mayfly.Internal},
		{"not JSON", `hello`, "cannot parse the answer of node n3", "mayfly nodes", mayfly.Internal},
	} {
		node := fmt.Sprintf("n%d", i)
		reply(t, nc, "mayfly.node."+node+".state", []byte(tt.answer))
		_, err := peers.New(b).State(t.Context(), node, "hello")
		if mayfly.CodeOf(err) != tt.code || !strings.Contains(fmt.Sprint(err), tt.says) || !strings.Contains(mayfly.HintOf(err), tt.hint) {
			t.Errorf("%s: error %v, hint %q", tt.name, err, mayfly.HintOf(err))
		}
	}
}

func TestPrepareRefusesWhatItCannotOpen(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	o := options()
	o.Prepare = func(_ context.Context, f mayfly.Unit) error { return fmt.Errorf("started %s", f) }
	answer(t, b, o)
	p := peers.New(b)
	nodes, err := p.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The key of another start of the node.
	other := natstest.New(t)
	answer(t, other, options())
	others, err := peers.New(other).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nodes[0].Key = others[0].Key
	if err := p.Prepare(t.Context(), nodes[0], hello()); mayfly.CodeOf(err) != mayfly.Unavailable || mayfly.HintOf(err) != "deploy again" {
		t.Errorf("a restarted node: %v", err)
	}
	nodes[0].Key = []byte("short")
	if err := p.Prepare(t.Context(), nodes[0], hello()); err == nil || !strings.Contains(err.Error(), "invalid key") {
		t.Errorf("a node with a bad key: %v", err)
	}
	for question, want := range map[string]mayfly.Code{
		`{"v":2,"sealed":"AAAA"}`: mayfly.Unavailable, `{"v":1,"sealed":"AAAA"}`: mayfly.Unavailable,
		`{"v":1}`: mayfly.Invalid, `hello`: mayfly.Invalid, `[]`: mayfly.Invalid, ``: mayfly.Invalid,
	} {
		reply, err := b.Ask(t.Context(), mayfly.Call{Subject: "mayfly.node.n1.prepare", Body: []byte(question), Deadline: time.Now().Add(10 * time.Second)})
		if err == nil {
			err = reply.Err()
		}
		if mayfly.CodeOf(err) != want {
			t.Errorf("%q: %v, want code %s", question, err, want)
		}
	}
}

func TestUnknownFieldsAreKept(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.ConnectCore(t, b)
	reply(t, nc, mayfly.SubjectNodes, []byte(`{"v":7,"node":"n1","platform":"linux/arm64","moons":{"count":2}}`))
	reply(t, nc, mayfly.SubjectRoutes, []byte(`[{"v":7,"node":"n1","pattern":"/x","moons":["a"]}]`))
	nodes, err := peers.New(b).List(t.Context())
	if err != nil || len(nodes) != 1 || !strings.Contains(asJSON(t, nodes[0].Raw), `"moons":{"count":2}`) {
		t.Errorf("nodes are %+v, error %v", nodes, err)
	}
	routes, _, err := peers.New(b).Routes(t.Context())
	if err != nil || len(routes) != 1 || !strings.Contains(asJSON(t, routes[0].Raw), `"moons":["a"]`) {
		t.Errorf("routes are %+v, error %v", routes, err)
	}
}

// Anybody on the bus may answer, and must not choose which subjects we ask.
func TestNodesWithoutAProperIDAreSkipped(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.ConnectCore(t, b)
	natstest.Serve(t, nc, mayfly.SubjectNodes, func(m *nats.Msg) {
		for _, text := range []string{
			`{"node":"b","platform":"linux/arm64"}`, `{"node":"a","platform":"linux/amd64"}`, `{"node":"b"}`,
			`{"node":"a.b"}`, `{"node":"a b\r\nPUB x 0"}`, `{"node":">"}`, `{"node":""}`, `{"node":7}`, `not JSON`, ``,
		} {
			m.Respond([]byte(text))
		}
	})
	nodes, err := peers.New(b).List(t.Context())
	if err != nil || len(nodes) != 2 || nodes[0].ID != "a" || nodes[1].ID != "b" || nodes[1].Platform != "linux/arm64" {
		t.Errorf("nodes are %+v, error %v", nodes, err)
	}
}

// A list that does not fit into one message is cut, not lost.
func TestRoutesFitIntoAMessage(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	o := options()
	var all []peers.Route
	for i := range 20_000 {
		all = append(all, peers.Route{Node: "mayfly-n1", Pattern: fmt.Sprintf("GET /a/rather/long/path/%d", i), Name: "shop/checkout"})
	}
	o.Routes = func() []peers.Route { return all }
	answer(t, b, o)
	routes, nodes, err := peers.New(b).Routes(t.Context())
	for range 60 { // on a busy machine so long a list takes more than the second that is waited for it
		if err != nil || nodes > 0 {
			break
		}
		routes, nodes, err = peers.New(b).Routes(t.Context())
	}
	if err != nil || len(routes) < 2_500 || !strings.HasSuffix(routes[0].Pattern, "/0") {
		t.Errorf("%d routes, error %v", len(routes), err)
	}
}

// However many units do not answer, the node does.
func TestVeryManyUnitsFitOneAnswer(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	o := options()
	o.Units = func() []peers.Condition {
		return slices.Repeat([]peers.Condition{{Name: "f", Error: strings.Repeat("x", 100)}}, 20_000)
	}
	answer(t, b, o)
	nodes, err := peers.New(b).List(t.Context())
	if err != nil || len(nodes) != 1 || len(nodes[0].Units) < 2_000 {
		t.Errorf("%d nodes (%v)", len(nodes), err)
	}
}
