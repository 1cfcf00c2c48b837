package roster

import (
	"context"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// Expect announces that a session is building a function. Set or Remove ends that.
func (r *Roster) Expect(name mayfly.Name) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.building[name] = true
}

// Prepare starts an instance of u, to see whether it can, and keeps it for a Set.
func (r *Roster) Prepare(ctx context.Context, u mayfly.Unit, folder runner.Folder) error {
	return r.runner.Prepare(ctx, u, folder)
}

// Set serves a unit in development.
func (r *Roster) Set(u mayfly.Unit, folder runner.Folder) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	if err := r.runner.Set(u, folder); err != nil {
		return err
	}
	r.mark(u.Name, true)
	r.show(u.Name, &u)
	return nil
}

// Remove ends what a session has set or announced under a name; what is deployed under it
// takes over.
func (r *Roster) Remove(name mayfly.Name) {
	r.changing.Lock()
	developed := r.developed[name]
	r.mark(name, false)
	if developed || r.units[name] == nil {
		r.runner.Remove(name) // also if it is only prepared
		r.show(name, nil)
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

// mark records whether a session has set a name. Either way it is no longer being built.
// The caller holds changing.
func (r *Roster) mark(name mayfly.Name, developed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.building, name)
	if developed {
		r.developed[name] = true
	} else {
		delete(r.developed, name)
	}
}
