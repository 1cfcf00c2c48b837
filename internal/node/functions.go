package node

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// A deployment keeps the runner in step with the registry: what is deployed runs
// here, unless a session develops something of the same name.
type deployment struct {
	runner *runner.Runner
	store  *store
	log    *slog.Logger

	mu        sync.Mutex // one change of the runner at a time
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

func newDeployment(r *runner.Runner, s *store, log *slog.Logger) *deployment {
	return &deployment{
		runner: r, store: s, log: log,
		developed: map[string]bool{}, expected: map[string]bool{}, set: map[string]taken{}, hosted: map[string]mayfly.Hosted{},
	}
}

// Run follows the registry until ctx ends.
func (d *deployment) Run(ctx context.Context) error {
	for range d.store.watch(ctx) {
		d.follow()
	}
	return nil
}

// follow brings the runner in step with what is deployed now.
func (d *deployment) follow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	functions, services := d.store.list()
	there := map[string]bool{}
	for i := range functions {
		f := &functions[i]
		there[string(f.Name)] = true
		if !d.developed[string(f.Name)] {
			d.setFunction(f)
		}
	}
	for _, h := range services {
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

// deployed reports whether the registry has something of that name.
func (d *deployment) deployed(name string) bool {
	functions, services := d.store.list()
	return slices.ContainsFunc(functions, func(f mayfly.Function) bool { return string(f.Name) == name }) ||
		slices.ContainsFunc(services, func(h mayfly.Hosted) bool { return h.Name == name })
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
func (w Workshop) Deployed(name string) bool { return w.deployment.deployed(name) }

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
		return f.Revision == 0 && p.deployment.deployed(string(f.Name))
	})
}
