package runner

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
)

// Options say what a Runner makes instances with. Engines must be there; the zero
// value of everything else works.
type Options struct {
	Engines map[mayfly.Engine]Engine

	// Env returns an instance's environment, except what the engine adds, as NAME=value;
	// an error, such as a missing secret, is a failed start. The start's time limit begins
	// after it. ctx ends if nobody wants the instance anymore. Nil means empty.
	Env func(ctx context.Context, program mayfly.Program, name string, revision uint64, instance string) ([]string, error)

	// Ended is told when an instance and all that it started are gone, or when it failed to
	// start, so that what Env made for it can go; may be nil.
	Ended func(name, instance string)

	Output func(mayfly.Line) // gets what instances write and what is said about them; must not block
	Log    *slog.Logger      // discards if nil
	Node   string            // id, for messages

	Drain time.Duration // for calls in flight at the end; 30 s if zero
	Grace time.Duration // for an instance to stop gracefully; 5 s if zero
}

func (o Options) withDefaults() Options {
	if o.Env == nil {
		o.Env = func(context.Context, mayfly.Program, string, uint64, string) ([]string, error) { return nil, nil }
	}
	if o.Ended == nil {
		o.Ended = func(string, string) {}
	}
	if o.Output == nil {
		o.Output = func(mayfly.Line) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Drain = cmp.Or(o.Drain, 30*time.Second)
	o.Grace = cmp.Or(o.Grace, 5*time.Second)
	return o
}

// A Folder returns the path of a revision's unpacked bundle, and fetches it first if
// needed. A revision calls it for each start, one at a time.
type Folder = func(ctx context.Context) (string, error)

// A Runner keeps functions and hosted services alive. It works from New on.
type Runner struct {
	options Options

	mu     sync.RWMutex // taken before any unit's
	units  map[mayfly.Name]*unit
	closed bool

	places chan struct{} // of starts: with very many at once none would be ready in time

	lives  [2]sync.WaitGroup // of instances by their kind: from the start until each has gone
	forced chan struct{}     // closed when instances must stop despite calls in flight
	force  func()
}

// New returns an empty Runner.
func New(o Options) *Runner {
	r := &Runner{
		options: o.withDefaults(),
		units:   map[mayfly.Name]*unit{},
		places:  make(chan struct{}, 4*max(2, runtime.GOMAXPROCS(0))),
		forced:  make(chan struct{}),
	}
	r.force = sync.OnceFunc(func() { close(r.forced) })
	return r
}

// Run waits until ctx ends. Then new calls get the code Unavailable, those in flight
// end, or are cut off after Drain, and all instances stop.
func (r *Runner) Run(ctx context.Context) error {
	<-ctx.Done()
	r.end(r.options.Drain)
	return nil
}

// Close stops everything at once. It is for a Runner that never ran, and does
// nothing after Run.
func (r *Runner) Close() error {
	r.end(0)
	return nil
}

func (r *Runner) end(drain time.Duration) {
	r.mu.Lock()
	r.closed = true
	var services []*unit
	for _, u := range r.units {
		if u.kind == mayfly.KindService {
			services = append(services, u)
		} else {
			u.end(r.unavailable())
		}
	}
	r.mu.Unlock()
	timer := time.AfterFunc(drain, r.force)
	r.lives[mayfly.KindFunction].Wait()
	timer.Stop()
	for _, u := range services { // the functions may have needed them
		u.end(r.unavailable())
	}
	r.lives[mayfly.KindService].Wait()
}

func (r *Runner) unavailable() error {
	return mayfly.Errorf(mayfly.Unavailable, "node %s is stopping", cmp.Or(r.options.Node, "here")).WithHint("try again soon")
}

func unknown(name mayfly.Name) error {
	return mayfly.Errorf(mayfly.NotFound, "no function %q", name).WithHint("run mayfly list to see what is running")
}

// Set makes a revision current. New and waiting calls go to it; calls in flight end in
// the previous one, which is kept until the new one has started once: if that fails to
// start, calls go to the previous one. A change of Instances only, or of settings that
// instances do not see, restarts nothing. Errors: Invalid, Unavailable.
//
// A service is kept at its number of instances. One that ends starts again, after a rest
// that doubles. A new revision replaces them one at a time: the new instance must be
// ready before the old one stops.
func (r *Runner) Set(value mayfly.Unit, folder Folder) error {
	if err := r.check(value); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return r.unavailable()
	}
	r.of(value).set(value, folder)
	return nil
}

// Prepare starts an instance of a revision and keeps it for a minute, for a Set of
// the same value. Errors: those of Set, Crashed with a Trace if it did not start,
// Timeout if ctx ended. Of many at once for one name, some wait until others have
// started: Conflict if ctx ends before that. A service is not prepared: it would
// register itself on the bus and share the calls with the revision before.
func (r *Runner) Prepare(ctx context.Context, value mayfly.Unit, folder Folder) error {
	if err := r.check(value); err != nil || value.Kind == mayfly.KindService {
		return err
	}
	for {
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return r.unavailable()
		}
		owner := r.of(value)
		v, t := owner.prepare(value, folder)
		r.mu.Unlock()
		var err error
		if v != nil {
			err = owner.prepared(ctx, v, t)
		} else {
			err = owner.awaitTurn(ctx, value)
		}
		if err != nil {
			r.forget(owner)
		}
		if v != nil || err != nil {
			return err
		}
	}
}

// Check starts an instance of a function that has had none since its Set, at low priority,
// and stops it again. A call does not wait for it: its own instance takes its place. Errors:
// Crashed with a Trace if it did not start.
func (r *Runner) Check(ctx context.Context, name mayfly.Name) error {
	if u := r.find(name); u != nil && u.kind == mayfly.KindFunction {
		return u.check(ctx)
	}
	return nil
}

// check returns what is wrong with a unit that was not validated before.
func (r *Runner) check(value mayfly.Unit) error {
	if r.options.Engines[value.Engine] == nil {
		return mayfly.Errorf(mayfly.Invalid, "unknown engine %q", value.Engine).
			WithHint("use one of %s", slices.Sorted(maps.Keys(r.options.Engines)))
	}
	return checkLimits(value.Limits)
}

func checkLimits(l mayfly.Limits) error {
	n := l.Instances
	switch {
	case l.Concurrency < 0 || l.Timeout < 0 || n.Min < 0 || n.Max < 0 || n.Idle < 0 || n.Start < 0:
		return mayfly.Errorf(mayfly.Invalid, "only wait may be negative")
	case n.Max > 0 && n.Min > n.Max:
		return mayfly.Errorf(mayfly.Invalid, "instances: min %d is more than max %d", n.Min, n.Max).WithHint("raise max, or lower min")
	}
	return nil
}

// of returns the unit of a value's name and kind, and creates it if missing.
func (r *Runner) of(value mayfly.Unit) *unit {
	u := r.units[value.Name]
	if u != nil && u.kind != value.Kind {
		u.end(unknown(value.Name))
		u = nil
	}
	if u == nil {
		u = &unit{runner: r, kind: value.Kind, name: value.Name, starting: make(chan struct{}, mostPrepared)}
		r.units[value.Name] = u
	}
	return u
}

// Remove removes a unit, without waiting for its end. A function's calls in flight end;
// waiting ones get the code NotFound.
func (r *Runner) Remove(name mayfly.Name) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u := r.units[name]; u != nil {
		delete(r.units, name)
		u.end(unknown(name))
	}
}

// forget drops a unit that only had a prepared revision, which is gone.
func (r *Runner) forget(u *unit) {
	if !u.empty() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.units[u.name] == u && u.empty() {
		delete(r.units, u.name)
	}
}

// Scale changes how many instances of a unit there may be, without a restart; the
// next revision that is Set brings its own. Errors: NotFound, Invalid.
func (r *Runner) Scale(name mayfly.Name, n mayfly.Instances) error {
	u := r.find(name)
	if u == nil {
		return unknown(name)
	}
	if err := checkLimits(mayfly.Limits{Instances: n}); err != nil {
		return err
	}
	u.scale(n)
	return nil
}

// Restart replaces the instances of a unit that run now, one by one, and returns how many
// those are: each new one is ready before an old one takes no more calls. It starts one of
// a unit that failed to start. If a new instance fails to start, the old ones stay and the
// error says why; the runner goes on trying. Errors: NotFound, Crashed, Timeout if ctx ended.
func (r *Runner) Restart(ctx context.Context, name mayfly.Name) (int, error) {
	u := r.find(name)
	if u == nil {
		return 0, unknown(name)
	}
	n, renewals := u.renew()
	for _, one := range renewals {
		select {
		case <-one.done:
			if one.err != nil {
				return n, one.err
			}
		case <-ctx.Done():
			return n, mayfly.Errorf(mayfly.Timeout, "the restart of %s goes on: %w", name, context.Cause(ctx)).
				WithHint("see mayfly info %s", name)
		}
	}
	return n, nil
}

// find returns the unit of a name if it has a current revision, or nil.
func (r *Runner) find(name mayfly.Name) *unit {
	r.mu.RLock()
	u := r.units[name]
	r.mu.RUnlock()
	if u == nil {
		return nil
	}
	if _, ok := u.get(); !ok {
		return nil
	}
	return u
}

// Units returns the current revisions of all units: functions by name, then services
// by name.
func (r *Runner) Units() []mayfly.Unit {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]mayfly.Unit, 0, len(r.units))
	for _, u := range r.units {
		if value, ok := u.get(); ok {
			all = append(all, value)
		}
	}
	slices.SortFunc(all, func(a, b mayfly.Unit) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// Programs returns the programs of all revisions that have instances or may get some: those
// leaving too.
func (r *Runner) Programs() (all []mayfly.Program) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, u := range r.units {
		u.mu.Lock()
		for _, v := range u.revisions() {
			all = append(all, v.value.Program)
		}
		u.mu.Unlock()
	}
	return all
}

// sameCode reports whether instances of a can serve as instances of b.
func sameCode(a, b mayfly.Unit) bool {
	a.Limits, b.Limits = a.WithDefaults(), b.WithDefaults()
	a.Instances, b.Instances = mayfly.Instances{}, mayfly.Instances{}
	if a.Kind == mayfly.KindService && a.Revision == 0 {
		return false // it was rebuilt, and is not prepared
	}
	return a.Revision == b.Revision && a.Limits == b.Limits && reflect.DeepEqual(a.Program, b.Program)
}
