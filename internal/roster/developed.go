package roster

import (
	"context"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// A build is one that a session has announced.
type build struct {
	unit   mayfly.Unit // as the manifest has it
	began  time.Time
	wanted func()        // tells the session that a call waits
	ended  chan struct{} // closed when it has
	err    error         // why it failed, once it has
}

func (b *build) running() bool {
	select {
	case <-b.ended:
		return false
	default:
		return true
	}
}

// Expect announces that a session is building a unit. Set, Fail or Remove ends that. The
// first call that waits for it calls wanted; its routes lead to it already.
func (r *Roster) Expect(u mayfly.Unit, wanted func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.building[u.Name]
	if before != nil && before.running() {
		return
	}
	r.building[u.Name] = &build{unit: u, began: time.Now(), wanted: sync.OnceFunc(wanted), ended: make(chan struct{})}
	if r.units[u.Name] == nil && (len(u.HTTP) > 0 || before != nil && len(before.unit.HTTP) > 0) {
		r.reroute()
	}
}

// Fail ends the build of a unit that Expect has announced. Until the next one its callers
// are told why, unless an earlier one serves.
func (r *Roster) Fail(name mayfly.Name, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.building[name]; b != nil && b.running() {
		b.err = err
		close(b.ended)
		r.news.Tell(name)
	}
}

// Built waits until no build of a function is running. Errors: that of the build if it
// failed, Unavailable if ctx ends first.
func (r *Roster) Built(ctx context.Context, name mayfly.Name) error {
	r.mu.RLock()
	b := r.building[name]
	r.mu.RUnlock()
	if b == nil {
		return nil
	}
	b.wanted()
	select {
	case <-b.ended:
	case <-ctx.Done():
	}
	return b.condition(name).Problem()
}

// Prepare starts an instance of u, to see whether it can, and keeps it for a Set.
func (r *Roster) Prepare(ctx context.Context, u mayfly.Unit, folder runner.Folder) error {
	return r.runner.Prepare(ctx, u, folder)
}

// Check starts an instance of a function that nobody has called since its Set, to see
// whether it can, and does not keep it.
func (r *Roster) Check(ctx context.Context, name mayfly.Name) error { return r.runner.Check(ctx, name) }

// Set serves a unit in development.
func (r *Roster) Set(u mayfly.Unit, folder runner.Folder) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	if err := r.runner.Set(u, folder); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mark(u.Name, true)
	r.show(u.Name, &u)
	return nil
}

// Remove ends what a session has set or announced under a name; what is deployed under it
// takes over.
func (r *Roster) Remove(name mayfly.Name) {
	r.changing.Lock()
	ends := r.developed[name] || r.units[name] == nil
	if ends {
		r.runner.Remove(name) // also if it is only prepared
	}
	r.mu.Lock()
	r.mark(name, false)
	if ends {
		r.show(name, nil)
	}
	r.mu.Unlock()
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
// The caller holds changing and mu.
func (r *Roster) mark(name mayfly.Name, developed bool) {
	b := r.building[name]
	delete(r.building, name)
	if b != nil && b.running() {
		close(b.ended)
	}
	if b != nil && len(b.unit.HTTP) > 0 {
		r.reroute()
	}
	if developed {
		r.developed[name] = true
	} else {
		delete(r.developed, name)
	}
}
