package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/project"
	"github.com/mayfly-run/mayfly/internal/registry"
)

// A fleet is nodes that say what they are asked. It starts nothing, and takes for
// current what the registry has.
type fleet struct {
	registry *registry.Registry
	nodes    []peers.Node
	fails    map[string]error // by node

	mu       sync.Mutex
	prepared []string // node: function@revision
}

func (f *fleet) List(context.Context) ([]peers.Node, error) { return f.nodes, nil }

func (f *fleet) Prepare(_ context.Context, n peers.Node, fn mayfly.Unit) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prepared = append(f.prepared, n.ID+": "+fn.String())
	return f.fails[n.ID]
}

func (f *fleet) State(ctx context.Context, _, name string) (peers.State, error) {
	fn, err := f.registry.Get(ctx, mayfly.Ref{Name: mayfly.Name(name)})
	return peers.State{Serving: fn.Revision}, err
}

// asked returns what was prepared since it was called last, in order.
func (f *fleet) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.prepared
	f.prepared = nil
	slices.Sort(all)
	return all
}

// A place is a registry, a fleet and projects in a folder.
type place struct {
	t        *testing.T
	registry *registry.Registry
	fleet    *fleet
	folder   string
}

func newPlace(t *testing.T, nodes ...peers.Node) *place {
	t.Helper()
	r, err := registry.Open(t.Context(), natstest.New(t), registry.Options{By: "ada@example"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if nodes == nil {
		nodes = []peers.Node{{ID: "n1", Platform: mayfly.Platform()}}
	}
	return &place{t: t, registry: r, fleet: &fleet{registry: r, nodes: nodes, fails: map[string]error{}}, folder: t.TempDir()}
}

// project writes a manifest and files and opens the project.
func (p *place) project(manifest string, files map[string]string) *project.Project {
	p.t.Helper()
	folder := p.t.TempDir()
	files = maps.Clone(files)
	if files == nil {
		files = map[string]string{"a.sh": "echo a\n"}
	}
	files[project.Manifest] = manifest
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	one, err := project.Open(folder, func(string) (string, bool) { return "", false })
	if err != nil {
		p.t.Fatal(err)
	}
	return one
}

func (p *place) options() Options {
	return Options{Registry: p.registry, Nodes: p.fleet, Folder: p.folder}
}

func (p *place) deploy(o Options, projects ...*project.Project) []Result {
	p.t.Helper()
	results, err := Projects(p.t.Context(), projects, o)
	if err != nil {
		p.t.Fatal(err)
	}
	return results
}

// names returns what is deployed.
func (p *place) names() (all []string) {
	for _, u := range p.registry.List() {
		all = append(all, u.String())
	}
	return all
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s:\n%s", what, diff)
	}
}

func TestOneNodeThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t, peers.Node{ID: "good", Platform: mayfly.Platform()}, peers.Node{ID: "bad", Platform: mayfly.Platform()})
	trace := mayfly.Trace("Error: no module\n")
	p.fleet.fails["bad"] = mayfly.Errorf(mayfly.Crashed, "a@1 did not start: %w", trace)
	results, err := Projects(t.Context(), []*project.Project{p.project("project: shop\nfunctions: {a: {code: ./a.sh}, b: {code: ./a.sh}}\nroutes: {r: {http: GET /r, subject: s}}\n", nil)}, p.options())
	if mayfly.CodeOf(err) != mayfly.Crashed || !strings.Contains(err.Error(), "does not start on node bad") {
		t.Errorf("error is %v", err)
	}
	if got, ok := errors.AsType[mayfly.Trace](err); !ok || got != trace {
		t.Errorf("trace is %q", got)
	}
	want(t, "results", results, nil)
	want(t, "deployed", p.names(), nil)
	want(t, "routes", len(p.registry.Routes()), 0)
}

func TestNamesOfOthersChangeNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.deploy(p.options(), p.project("project: shop\nfunctions: {taken: {code: ./a.sh}}\n", nil))
	p.fleet.asked()
	thief := p.project("project: thief\nfunctions: {aaa: {code: ./a.sh}, taken: {code: ./a.sh}}\n", nil)
	_, err := Projects(t.Context(), []*project.Project{thief}, p.options())
	if mayfly.CodeOf(err) != mayfly.Denied || !strings.Contains(mayfly.HintOf(err), "--take") {
		t.Errorf("error is %v, hint %q", err, mayfly.HintOf(err))
	}
	want(t, "deployed", p.names(), []string{"taken@1"})
	want(t, "asked", p.fleet.asked(), nil)

	o := p.options()
	o.Take = true
	p.deploy(o, thief)
	want(t, "deployed", p.names(), []string{"aaa@1", "taken@2"})
}

func TestNamesThatClashChangeNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.deploy(p.options(), p.project("project: shop\nfunctions: {a: {code: ./a.sh}}\nservices: {Mailer: {code: ./a.sh, start: sh a.sh}}\nroutes: {r: {http: GET /r, subject: s}}\n", nil))
	there := p.names()
	for _, tt := range []struct {
		name      string
		manifests []string
		code      mayfly.Code
		hint      string
	}{
		{"in two projects", []string{"project: x\nfunctions: {n: {code: ./a.sh}}\n", "project: y\nfunctions: {n: {code: ./a.sh}}\n"}, mayfly.Conflict, "another name"},
		{"a service that was a function", []string{"project: shop\nfunctions: {b: {code: ./a.sh}}\nservices: {a: {code: ./a.sh, start: sh a.sh}}\n"}, mayfly.Conflict, "mayfly remove a;"},
		{"a route of another project", []string{"project: x\nfunctions: {n: {code: ./a.sh}}\nroutes: {r: {http: GET /x, subject: s}}\n"}, mayfly.Denied, "--take"},
		{"a service of another project", []string{"project: x\nservices: {Mailer: {code: ./a.sh, start: sh a.sh}}\n"}, mayfly.Denied, "--take"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []*project.Project
			for _, m := range tt.manifests {
				all = append(all, p.project(m, nil))
			}
			_, err := Projects(t.Context(), all, p.options())
			if mayfly.CodeOf(err) != tt.code || !strings.Contains(mayfly.HintOf(err), tt.hint) {
				t.Errorf("error is %v, hint %q", err, mayfly.HintOf(err))
			}
			want(t, "deployed", p.names(), there)
		})
	}
}

func TestOnlyNodesThatFitAreAsked(t *testing.T) {
	t.Parallel()
	p := newPlace(t,
		peers.Node{ID: "eu", Platform: mayfly.Platform(), Labels: map[string]string{"zone": "eu"}},
		peers.Node{ID: "us", Platform: mayfly.Platform(), Labels: map[string]string{"zone": "us"}},
		peers.Node{ID: "plain", Platform: mayfly.Platform()},
	)
	p.deploy(p.options(), p.project("project: shop\nfunctions: {a: {code: ./a.sh, labels: {zone: eu}}, b: {code: ./a.sh}}\n", nil))
	want(t, "asked", p.fleet.asked(), []string{"eu: a@1", "eu: b@1", "plain: b@1", "us: b@1"})

	nowhere := p.project("project: mars\nfunctions: {c: {code: ./a.sh, labels: {zone: mars}}}\n", nil)
	_, err := Projects(t.Context(), []*project.Project{nowhere}, p.options())
	if mayfly.CodeOf(err) != mayfly.Unavailable || !strings.Contains(err.Error(), "label zone=mars") {
		t.Errorf("error is %v", err)
	}
	o := p.options()
	o.NoWait = true
	want(t, "results", p.deploy(o, nowhere), []Result{{Name: "c", Kind: mayfly.KindFunction, Revision: 1, Changed: true}})
	want(t, "asked", p.fleet.asked(), nil)
}

func TestNoNodeIsUnavailable(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.fleet.nodes = nil
	one := p.project("project: shop\nfunctions: {a: {code: ./a.sh}}\n", nil)
	_, err := Projects(t.Context(), []*project.Project{one}, p.options())
	if mayfly.CodeOf(err) != mayfly.Unavailable || !strings.Contains(mayfly.HintOf(err), "--no-wait") {
		t.Errorf("error is %v, hint %q", err, mayfly.HintOf(err))
	}
	o := p.options()
	o.NoWait = true
	p.deploy(o, one)
	want(t, "deployed", p.names(), []string{"a@1"})
}

func TestNodeThatIsNotReadyIsToldFirst(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	one := p.project("project: shop\nfunctions: {a: {code: ./a.sh}}\n", nil)
	p.deploy(p.options(), one)
	p.fleet.nodes[0].Unready, p.fleet.nodes[0].Hint = "the disk is full", "free space"
	o := p.options()
	o.Tell = func(e Event) { t.Errorf("%s began", e.Step) }
	_, err := Projects(t.Context(), []*project.Project{one}, o)
	_, again := Rollback(t.Context(), mayfly.Ref{Name: "a"}, o)
	for _, err := range []error{err, again} {
		if mayfly.CodeOf(err) != mayfly.Unavailable || !strings.Contains(err.Error(), "the disk is full") || mayfly.HintOf(err) != "free space" {
			t.Errorf("error is %v, hint %q", err, mayfly.HintOf(err))
		}
	}
}

// A disk that gets full holds no upload until its time is up.
func TestUploadEndsWhenItsNodeStaysUnready(t *testing.T) {
	t.Parallel()
	p := newPlace(t, peers.Node{ID: "n1", Store: true, Unready: "the disk is full", Hint: "free space"})
	d := &deployment{Options: p.options()}
	err := d.whileReady(t.Context(), func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if mayfly.CodeOf(err) != mayfly.Unavailable || !strings.Contains(err.Error(), "the disk is full") || mayfly.HintOf(err) != "free space" {
		t.Errorf("error is %v, hint %q", err, mayfly.HintOf(err))
	}
}

// A node that nothing here is for stops nobody.
func TestNodeThatIsNotReadyMayBeAnother(t *testing.T) {
	t.Parallel()
	p := newPlace(t,
		peers.Node{ID: "eu", Platform: mayfly.Platform(), Labels: map[string]string{"zone": "eu"}},
		peers.Node{ID: "us", Platform: mayfly.Platform(), Labels: map[string]string{"zone": "us"}, Unready: "the disk is full"},
	)
	one := p.project("project: shop\nfunctions: {a: {code: ./a.sh, labels: {zone: eu}}}\n", nil)
	o := p.options()
	var warnings []string
	o.Warn = func(text string) { warnings = append(warnings, text) }
	p.deploy(o, one)
	want(t, "deployed", p.names(), []string{"a@1"})
	want(t, "warnings", warnings, []string{"node us is not ready: the disk is full; it is not needed for this"})

	p.fleet.nodes[1].Store = true
	if _, err := Projects(t.Context(), []*project.Project{one}, o); err == nil || !strings.Contains(err.Error(), "node us is not ready") {
		t.Errorf("error is %v, though the node has the store", err)
	}
}

func TestSameContentIsUnchanged(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	const manifest = "project: shop\nfunctions: {a: {code: ./a.sh}}\n"
	p.deploy(p.options(), p.project(manifest, nil))
	want(t, "asked", p.fleet.asked(), []string{"n1: a@1"})
	unchanged := []Result{{Name: "a", Kind: mayfly.KindFunction, Revision: 1, Nodes: 1}}
	want(t, "again", p.deploy(p.options(), p.project(manifest, nil)), unchanged)
	want(t, "asked", p.fleet.asked(), nil)

	// How many instances there may be is no reason to start one.
	more := p.deploy(p.options(), p.project("project: shop\nfunctions: {a: {code: ./a.sh, instances: {max: 9}}}\n", nil))
	want(t, "more instances", more, []Result{{Name: "a", Kind: mayfly.KindFunction, Revision: 2, Changed: true, Nodes: 1}})
	want(t, "asked", p.fleet.asked(), nil)

	p.deploy(p.options(), p.project(manifest, map[string]string{"a.sh": "echo other\n"}))
	want(t, "asked", p.fleet.asked(), []string{"n1: a@3"})
}

func TestUnlistedThingsAreRemoved(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	const service = "services: {Mailer: {code: ./a.sh, start: sh a.sh}}\n"
	p.deploy(p.options(), p.project("project: other\nfunctions: {o: {code: ./a.sh}}\nroutes: {o: {http: GET /o, subject: s}}\n", nil))
	p.deploy(p.options(), p.project("project: shop\nfunctions: {a: {code: ./a.sh}, b: {code: ./a.sh}}\nroutes: {r: {http: [GET /r, GET /r2], subject: s}}\n"+service, nil))
	want(t, "deployed", p.names(), []string{"a@1", "b@1", "o@1", "Mailer@1"})
	want(t, "routes", len(p.registry.Routes()), 3)

	results := p.deploy(p.options(), p.project("project: shop\nfunctions: {b: {code: ./a.sh}}\n", nil))
	want(t, "results", results, []Result{
		{Name: "b", Kind: mayfly.KindFunction, Revision: 1, Nodes: 1},
		{Name: "a", Kind: mayfly.KindFunction, Revision: 1, Removed: true},
		{Name: "Mailer", Kind: mayfly.KindService, Revision: 1, Removed: true},
	})
	want(t, "deployed", p.names(), []string{"b@1", "o@1"})
	want(t, "routes", len(p.registry.Routes()), 1)
}

func TestRollbackIsTriedFirst(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	const manifest = "project: shop\nfunctions: {a: {code: ./a.sh}}\n"
	for _, code := range []string{"echo 1\n", "echo 2\n"} {
		p.deploy(p.options(), p.project(manifest, map[string]string{"a.sh": code}))
	}
	p.fleet.asked()

	p.fleet.fails["n1"] = mayfly.Errorf(mayfly.Crashed, "a@3 did not start")
	if _, err := Rollback(t.Context(), mayfly.Ref{Name: "a"}, p.options()); mayfly.CodeOf(err) != mayfly.Crashed {
		t.Errorf("error is %v", err)
	}
	want(t, "deployed", p.names(), []string{"a@2"})

	delete(p.fleet.fails, "n1")
	p.fleet.asked()
	r, err := Rollback(t.Context(), mayfly.Ref{Name: "a"}, p.options())
	if err != nil {
		t.Fatal(err)
	}
	want(t, "result", r, Result{Name: "a", Kind: mayfly.KindFunction, Revision: 3, Changed: true, Nodes: 1})
	want(t, "asked", p.fleet.asked(), []string{"n1: a@3"})

	// What a node has prepared it takes only if it is the very same.
	first, err := p.registry.Get(t.Context(), mayfly.Ref{Name: "a", Revision: 1})
	if err != nil {
		t.Fatal(err)
	}
	first.Revision = 3
	now, err := p.registry.Get(t.Context(), mayfly.Ref{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "current", now, first)

	for name, revision := range map[mayfly.Name]uint64{"a": 99, "nobody": 0} {
		if _, err := Rollback(t.Context(), mayfly.Ref{Name: name, Revision: revision}, p.options()); mayfly.CodeOf(err) != mayfly.NotFound {
			t.Errorf("rollback of %s@%d: %v", name, revision, err)
		}
	}
}

func TestBuildThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	one := p.project("project: shop\nfunctions: {a: {code: ./a.sh}, z: {code: ./a.sh, build: 'echo wrong >&2; exit 1'}}\n", nil)
	_, err := Projects(t.Context(), []*project.Project{one}, p.options())
	if mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("error is %v", err)
	}
	if trace, _ := errors.AsType[mayfly.Trace](err); !strings.Contains(string(trace), "wrong") {
		t.Errorf("trace is %q", trace)
	}
	want(t, "deployed", p.names(), nil)
	left, err := os.ReadDir(filepath.Join(p.folder, "build"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAllThatFailAreNamed(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	var names []string
	manifest := "project: shop\nfunctions:\n"
	for i := range 13 {
		name := fmt.Sprintf("bad-%c", 'a'+i)
		pause := ""
		if i == 0 { // the first in the order fails last
			pause = "sleep 0.1; "
		}
		manifest += fmt.Sprintf("  %s: {code: ./a.sh, build: '%secho %s >&2; exit 1'}\n", name, pause, name)
		names = append(names, name)
	}
	_, err := Projects(t.Context(), []*project.Project{p.project(manifest+"  good: {code: ./a.sh}\n", nil)}, p.options())
	if err == nil || !strings.HasPrefix(err.Error(), "build bad-a: ") || !strings.HasSuffix(err.Error(), "(also failed: "+strings.Join(names[1:11], ", ")+" and 2 more)") {
		t.Errorf("error is %v", err)
	}
	if trace, _ := errors.AsType[mayfly.Trace](err); !strings.Contains(string(trace), "bad-a") {
		t.Errorf("trace is %q", trace)
	}
	want(t, "deployed", p.names(), nil)
}

func TestBundlesOfOneDigestAreUploadedOnce(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	manifest := "project: shop\nfunctions:\n"
	for i := range 20 {
		manifest += fmt.Sprintf("  f%02d: {code: ./a.sh}\n", i)
	}
	o := p.options()
	uploads := 0
	o.Tell = func(e Event) { // one call at a time, or the race detector says so
		if e.Step == "upload" {
			uploads++
		}
	}
	results := p.deploy(o, p.project(manifest, nil))
	want(t, "uploads", uploads, 1)
	for i, r := range results {
		want(t, "result", r, Result{Name: fmt.Sprintf("f%02d", i), Kind: mayfly.KindFunction, Revision: 1, Changed: true, Nodes: 1})
	}
	want(t, "results", len(results), 20)
}

func TestBrokenOffDeployChangesNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	ctx, cancel := context.WithCancel(t.Context())
	o := p.options()
	o.Tell = func(Event) { cancel() }
	_, err := Projects(ctx, []*project.Project{p.project("functions: {a: {code: ./a.sh}, b: {code: ./a.sh}}\n", nil)}, o)
	if !errors.Is(err, context.Canceled) || mayfly.HintOf(err) == "" || strings.Contains(err.Error(), "context") {
		t.Errorf("error is %v", err)
	}
	want(t, "deployed", p.names(), nil)
}
