package roster

import (
	"context"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// Expect says that a session builds a function. That ends with Set, or with Remove.
func (r *Roster) Expect(name mayfly.Name) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.building[name] = true
}

// Prepare starts an instance of f, to see whether it can, and keeps it for a Set.
func (r *Roster) Prepare(ctx context.Context, f mayfly.Function, folder runner.Folder) error {
	return r.runner.Prepare(ctx, f, folder)
}

// Set serves a function that is developed.
func (r *Roster) Set(f mayfly.Function, folder runner.Folder) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	if err := r.runner.Set(f, folder); err != nil {
		return err
	}
	r.mark(string(f.Name), true)
	r.show(f.Name, &f)
	return nil
}

// Host keeps a service alive that is developed.
func (r *Roster) Host(h mayfly.Hosted, folder runner.Folder) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	if err := r.runner.Host(h, folder); err != nil {
		return err
	}
	r.mark(h.Name, true)
	r.keep(h.Name, &h)
	return nil
}

// Remove ends what a session has set under a name, or announced; what is deployed
// under it takes over.
func (r *Roster) Remove(name mayfly.Name) { r.leave(string(name)) }

// Unhost is Remove for a service.
func (r *Roster) Unhost(name string) { r.leave(name) }

func (r *Roster) leave(name string) {
	r.changing.Lock()
	developed := r.developed[name]
	r.mark(name, false)
	if developed || r.functions[mayfly.Name(name)] == nil {
		r.runner.Remove(mayfly.Name(name)) // also what is only prepared
		r.show(mayfly.Name(name), nil)
	}
	if developed && r.services[name] != nil {
		r.runner.Unhost(name)
		r.keep(name, nil)
	}
	r.changing.Unlock()
	r.follow(name)
}

// SetRoutes replaces the routes of sessions.
func (r *Roster) SetRoutes(routes []mayfly.Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions = routes
	r.reroute()
}

// mark says whether a session has set what a name stands for. Either way it is not to
// be built any more. The caller holds changing.
func (r *Roster) mark(name string, developed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.building, mayfly.Name(name))
	if developed {
		r.developed[name] = true
	} else {
		delete(r.developed, name)
	}
}

// keep puts h in the place of a service, or nothing if it is nil. The caller holds
// changing.
func (r *Roster) keep(name string, h *mayfly.Hosted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h == nil {
		delete(r.services, name)
	} else {
		r.services[name] = h
	}
}
