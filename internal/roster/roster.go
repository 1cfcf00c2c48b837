package roster

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/news"
	"github.com/mayfly-run/mayfly/internal/registry"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// Options configure a Roster.
type Options struct {
	Registry *registry.Registry
	Runner   *runner.Runner
	Labels   map[string]string // of this node
	Routes   []mayfly.Route    // of sessions, see SetRoutes
	Log      *slog.Logger      // discards if nil
}

// A Roster is what this node serves. New returns one with all that is deployed; Run
// follows changes.
type Roster struct {
	registry *registry.Registry
	runner   *runner.Runner
	labels   map[string]string
	log      *slog.Logger
	news     news.Feed[mayfly.Name]

	changing sync.Mutex // one change of the runner at a time; taken before mu

	mu        sync.RWMutex // guards the fields below; writers hold both locks
	units     map[mayfly.Name]*mayfly.Unit
	developed map[mayfly.Name]bool   // units that a session has set
	building  map[mayfly.Name]*build // units that a session has announced but not set
	sessions  []mayfly.Route
	routes    []mayfly.Route // all of them; nil after a change, until the next read
}

// New returns a Roster of all that is deployed now.
func New(o Options) *Roster {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	r := &Roster{
		registry: o.Registry, runner: o.Runner, labels: o.Labels, log: o.Log, sessions: o.Routes,
		units: map[mayfly.Name]*mayfly.Unit{}, developed: map[mayfly.Name]bool{}, building: map[mayfly.Name]*build{},
	}
	for _, u := range o.Registry.List() {
		r.follow(u.Name)
	}
	return r
}

// How often unused bundles are looked for: stored ones, and those unpacked on this node,
// as each failed deploy leaves one.
const (
	collectEvery = time.Hour
	sweepEvery   = 3 * time.Minute
)

// Run follows the registry until ctx ends, and deletes unused bundles.
func (r *Roster) Run(ctx context.Context) error {
	hourly := time.NewTicker(collectEvery)
	defer hourly.Stop()
	often := time.NewTicker(sweepEvery)
	defer often.Stop()
	deployed := r.registry.Watch(ctx)
	for {
		select {
		case changed, ok := <-deployed:
			if !ok {
				return nil
			}
			for name := range changed {
				r.follow(name)
			}
		case <-hourly.C:
			r.collect(ctx)
		case <-often.C:
			r.sweep(ctx)
		}
	}
}

// Function returns the function that serves a name on this node, or nil; then building
// reports whether a session is building one, or has failed to. Do not change the function.
func (r *Roster) Function(name mayfly.Name) (f *mayfly.Unit, building bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if u := r.units[name]; u != nil && u.Kind == mayfly.KindFunction {
		return u, false
	}
	b := r.building[name]
	return nil, b != nil && b.unit.Kind == mayfly.KindFunction
}

// Functions returns all functions that this node serves, by name.
func (r *Roster) Functions() []*mayfly.Unit {
	return slices.DeleteFunc(r.Units(), func(u *mayfly.Unit) bool { return u.Kind != mayfly.KindFunction })
}

// Units returns all units that this node runs, by name.
func (r *Roster) Units() []*mayfly.Unit {
	r.mu.RLock()
	all := slices.Collect(maps.Values(r.units))
	r.mu.RUnlock()
	slices.SortFunc(all, func(a, b *mayfly.Unit) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Call has a function of this node answer a call. If the reply has a Stream, ctx governs
// that too.
func (r *Roster) Call(ctx context.Context, name mayfly.Name, c *mayfly.Call) (mayfly.Reply, error) {
	return r.runner.Call(ctx, name, c)
}

// Public returns the function of a name as visible on the bus, or nil: one developed here
// while another is deployed under its name is not.
func (r *Roster) Public(name mayfly.Name) *mayfly.Unit {
	r.mu.RLock()
	developed := r.developed[name]
	r.mu.RUnlock()
	if developed && r.Deployed(name) {
		return nil
	}
	f, _ := r.Function(name)
	return f
}

// Deployed reports whether a unit is deployed under a name, here or on another node.
func (r *Roster) Deployed(name mayfly.Name) bool { return r.registry.Current(name) != nil }

// Routes returns the routes of this node in order of precedence: those of sessions, then
// deployed ones, then those of its functions. It returns the same slice until one of them
// changes. Do not change it.
func (r *Roster) Routes() []mayfly.Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.routes == nil {
		r.routes = append([]mayfly.Route{}, slices.Concat(r.sessions, r.registry.Routes(), r.functionRoutes())...)
	}
	return r.routes
}

// functionRoutes returns the routes of functions, by name, also of those that are being
// built: their callers wait for that, or are told why it failed. The caller holds mu.
func (r *Roster) functionRoutes() []mayfly.Route {
	var routes []mayfly.Route
	add := func(f *mayfly.Unit) {
		for _, p := range f.HTTP {
			routes = append(routes, mayfly.Route{
				Name: string(f.Name), Pattern: p, Function: f.Name, Project: f.Project, Summary: f.Summary,
				Timeout: f.Timeout, CORS: f.CORS,
			})
		}
	}
	for _, f := range r.units {
		add(f)
	}
	for name, b := range r.building {
		if r.units[name] == nil {
			add(&b.unit)
		}
	}
	slices.SortStableFunc(routes, func(a, b mayfly.Route) int { return cmp.Compare(a.Name, b.Name) })
	return routes
}

// Watch returns a channel with the names of functions that changed; the empty name stands
// for routes. The first value comes at once and holds all names. The channel is closed
// when ctx ends.
func (r *Roster) Watch(ctx context.Context) <-chan map[mayfly.Name]struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.news.Watch(ctx, append(slices.Collect(maps.Keys(r.units)), "")...)
}

// show replaces a unit with u, or removes it if u is nil, and notifies watchers. The
// caller holds changing and mu.
func (r *Roster) show(name mayfly.Name, u *mayfly.Unit) {
	before := r.units[name]
	if u == nil {
		delete(r.units, name)
	} else {
		r.units[name] = u
	}
	r.news.Tell(name)
	if before != nil && len(before.HTTP) > 0 || u != nil && len(u.HTTP) > 0 {
		r.reroute()
	}
}

// reroute has the routes rebuilt. The caller holds mu.
func (r *Roster) reroute() {
	r.routes = nil
	r.news.Tell("")
}
