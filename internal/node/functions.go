package node

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// A deployment keeps the runner in step with the registry: what is deployed runs
// here, unless a session develops something of the same name.
type deployment struct {
	runner *runner.Runner
	store  *store
	labels map[string]string // of this node
	log    *slog.Logger

	mu        sync.Mutex           // one change of the runner at a time
	routing   func([]mayfly.Route) // the gateway's
	projects  []mayfly.Route       // of sessions; they stand before deployed ones
	routes    []mayfly.Route       // that the gateway has
	developed map[string]bool
	expected  map[string]bool // by a session, which builds them
	set       map[string]taken
	hosted    map[string]mayfly.Hosted
}

// A taken is what the runner has of a function.
type taken struct {
	revision  uint64
	instances mayfly.Instances
}

func newDeployment(r *runner.Runner, s *store, labels map[string]string, log *slog.Logger) *deployment {
	return &deployment{
		runner: r, store: s, labels: labels, log: log, routing: func([]mayfly.Route) {},
		developed: map[string]bool{}, expected: map[string]bool{}, set: map[string]taken{}, hosted: map[string]mayfly.Hosted{},
	}
}

// collectEvery is how often bundles that nothing names any more are looked for.
const collectEvery = time.Hour

// Run follows the registry until ctx ends, and clears away what nothing in it names.
func (d *deployment) Run(ctx context.Context) error {
	hourly := time.NewTicker(collectEvery)
	defer hourly.Stop()
	news := d.store.watch(ctx)
	for {
		select {
		case _, ok := <-news:
			if !ok {
				return nil
			}
			d.follow()
		case <-hourly.C:
			d.collect(ctx)
		}
	}
}

// collect deletes bundles that no entry names and nothing here runs.
func (d *deployment) collect(ctx context.Context) {
	var used []string
	for _, f := range d.runner.Functions() {
		used = append(used, f.Bundle(mayfly.Platform()))
	}
	for _, h := range d.runner.Hosted() {
		used = append(used, h.Bundle(mayfly.Platform()))
	}
	n, err := d.store.collect(ctx, used)
	if err != nil && ctx.Err() == nil {
		d.log.Warn("unused bundles not deleted", telemetry.KeyErr, err)
	}
	if n > 0 {
		d.log.Info("unused bundles deleted", "count", n)
	}
}

// route has the gateway serve the routes of sessions, then those that are deployed.
// The caller holds mu.
func (d *deployment) route() {
	routes := slices.Concat(d.projects, d.store.routes())
	if !reflect.DeepEqual(routes, d.routes) {
		d.routes = routes
		d.routing(routes)
	}
}

// routeBy sets what takes the routes, which are given to it at once.
func (d *deployment) routeBy(set func([]mayfly.Route)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.routing, d.routes = set, nil
	d.route()
}

// develop replaces the routes of sessions.
func (d *deployment) develop(routes []mayfly.Route) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.projects = routes
	d.route()
}

// fits reports whether this node can run a program and should.
func (d *deployment) fits(p mayfly.Program) bool {
	for key, value := range p.Labels {
		if d.labels[key] != value {
			return false
		}
	}
	return p.Bundle(mayfly.Platform()) != ""
}

// follow brings the runner in step with what is deployed now.
func (d *deployment) follow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	functions, services := d.store.list()
	there := map[string]bool{}
	for i := range functions {
		f := &functions[i]
		if !d.fits(f.Program) {
			continue // as if it were not there: others answer for it
		}
		there[string(f.Name)] = true
		if !d.developed[string(f.Name)] {
			d.setFunction(f)
		}
	}
	for _, h := range services {
		if !d.fits(h.Program) {
			continue
		}
		there[h.Name] = true
		if !d.developed[h.Name] {
			d.setService(h)
		}
	}
	for name := range d.set {
		if !there[name] {
			delete(d.set, name)
			d.runner.Remove(mayfly.Name(name))
		}
	}
	for name := range d.hosted {
		if !there[name] {
			delete(d.hosted, name)
			d.runner.Unhost(name)
		}
	}
	d.route()
}

// setFunction makes f current, or changes no more than its instances where the
// revision is the same: a number is given once, so nothing else has changed. It looks
// at no more than that, because each deploy has all functions looked at. The caller
// holds mu.
func (d *deployment) setFunction(f *mayfly.Function) {
	old, known := d.set[string(f.Name)]
	var err error
	switch {
	case !known || old.revision != f.Revision:
		err = d.runner.Set(*f, d.bundle(f.Program))
	case old.instances != f.Instances:
		err = d.runner.Scale(f.Name, f.Instances)
	default:
		return
	}
	if err != nil {
		d.log.Error("function not taken", telemetry.KeyFunction, f.Name, telemetry.KeyRevision, f.Revision, telemetry.KeyErr, err)
		return
	}
	d.set[string(f.Name)] = taken{f.Revision, f.Instances}
}

// setService keeps h alive. The caller holds mu.
func (d *deployment) setService(h mayfly.Hosted) {
	if old, known := d.hosted[h.Name]; known && reflect.DeepEqual(old, h) {
		return
	}
	if err := d.runner.Host(h, d.bundle(h.Program)); err != nil {
		d.log.Error("service not taken", telemetry.KeyService, h.Name, telemetry.KeyRevision, h.Revision, telemetry.KeyErr, err)
		return
	}
	d.hosted[h.Name] = h
}

// bundle returns how the runner gets at a program's code.
func (d *deployment) bundle(p mayfly.Program) runner.Folder {
	return func(ctx context.Context) (string, error) {
		digest := p.Bundle(mayfly.Platform())
		if digest == "" {
			return "", mayfly.Errorf(mayfly.Unavailable, "there is no bundle for %s", mayfly.Platform()).
				WithHint("deploy it again while this node runs")
		}
		return d.store.fetch(ctx, digest)
	}
}

// A Workshop is a node's runner as a session uses it: what it sets stands before
// what is deployed, until it is removed.
type Workshop struct{ deployment *deployment }

// Expect says that a function is being built. It ends with Set, or with Remove if
// it cannot be built.
func (w Workshop) Expect(name mayfly.Name) {
	d := w.deployment
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expected[string(name)] = true
}

// Prepare starts an instance of f, to see whether it can.
func (w Workshop) Prepare(ctx context.Context, f mayfly.Function, folder runner.Folder) error {
	return w.deployment.runner.Prepare(ctx, f, folder)
}

// Set serves f.
func (w Workshop) Set(f mayfly.Function, folder runner.Folder) error {
	d := w.deployment
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.runner.Set(f, folder); err != nil {
		return err
	}
	d.developed[string(f.Name)] = true
	delete(d.expected, string(f.Name))
	delete(d.set, string(f.Name))
	return nil
}

// Host keeps h alive.
func (w Workshop) Host(h mayfly.Hosted, folder runner.Folder) error {
	d := w.deployment
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.runner.Host(h, folder); err != nil {
		return err
	}
	d.developed[h.Name] = true
	delete(d.hosted, h.Name)
	return nil
}

// Remove serves a function no more, or the deployed one of that name.
func (w Workshop) Remove(name mayfly.Name) {
	w.forget(string(name), func() { w.deployment.runner.Remove(name) })
}

// Unhost ends a service, or runs the deployed one of that name.
func (w Workshop) Unhost(name string) {
	w.forget(name, func() { w.deployment.runner.Unhost(name) })
}

func (w Workshop) forget(name string, remove func()) {
	d := w.deployment
	d.mu.Lock()
	delete(d.developed, name)
	delete(d.expected, name)
	remove()
	d.mu.Unlock()
	d.follow()
}

// Deployed reports whether others see a deployed function of that name.
func (w Workshop) Deployed(name string) bool { return w.deployment.store.has(name) }

// local are the functions of this node, for its own gateway.
type local struct {
	*runner.Runner
	deployment *deployment
}

// Expected reports whether a function is being built.
func (l local) Expected(name mayfly.Name) bool {
	l.deployment.mu.Lock()
	defer l.deployment.mu.Unlock()
	return l.deployment.expected[string(name)]
}

// public are the functions that a node shows on the bus: not those that are
// developed here while a deployed one has the name, or callers of the one would
// be answered by the other.
type public struct {
	*runner.Runner
	deployment *deployment
}

// Functions returns them.
func (p public) Functions() []mayfly.Function {
	return slices.DeleteFunc(p.Runner.Functions(), func(f mayfly.Function) bool {
		return f.Revision == 0 && p.deployment.store.has(string(f.Name))
	})
}
