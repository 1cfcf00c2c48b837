package roster

import (
	"context"
	"reflect"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// follow updates the runner to what is deployed under a name. The empty name stands for
// routes.
func (r *Roster) follow(name mayfly.Name) {
	r.changing.Lock()
	defer r.changing.Unlock()
	switch {
	case name == "":
		r.mu.Lock()
		defer r.mu.Unlock()
		r.reroute()
	case r.developed[name]:
		r.news.Tell(name) // it may have become public, or stopped being so
	default:
		r.take(name, r.registry.Current(name))
	}
}

// take makes u current. If only the number of instances differs, nothing restarts. A
// restored registry may hold something else under the same number. The caller holds
// changing.
func (r *Roster) take(name mayfly.Name, u *mayfly.Unit) {
	if u != nil && !r.fits(u.Program) {
		u = nil // other nodes answer for it
	}
	old := r.units[name]
	var err error
	switch {
	case u == nil && old == nil:
		return
	case u == nil:
		r.runner.Remove(name)
	case old == nil || !alike(*old, *u):
		err = r.runner.Set(*u, r.Bundle(u.Program))
	case old.Instances != u.Instances:
		err = r.runner.Scale(name, u.Instances)
	default:
		return
	}
	if err != nil {
		r.log.Error(u.Kind.String()+" rejected", telemetry.KeyFunction, name, telemetry.KeyRevision, u.Revision, telemetry.KeyErr, err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.show(name, u)
}

// alike reports whether two units differ in their number of instances at most.
func alike(a, b mayfly.Unit) bool {
	a.Instances, b.Instances = mayfly.Instances{}, mayfly.Instances{}
	return reflect.DeepEqual(a, b)
}

// fits reports whether this node can and should run a program.
func (r *Roster) fits(p mayfly.Program) bool {
	for key, value := range p.Labels {
		if r.labels[key] != value {
			return false
		}
	}
	return p.Bundle(mayfly.Platform()) != ""
}

// Bundle returns how the runner gets the code of a deployed program.
func (r *Roster) Bundle(p mayfly.Program) runner.Folder {
	return func(ctx context.Context) (string, error) {
		digest := p.Bundle(mayfly.Platform())
		if digest == "" {
			return "", mayfly.Errorf(mayfly.Unavailable, "no bundle for %s", mayfly.Platform()).
				WithHint("deploy it again while this node runs")
		}
		return r.registry.Fetch(ctx, digest)
	}
}

// used returns the bundles that anything here runs.
func (r *Roster) used() (digests []string) {
	r.mu.RLock()
	for _, u := range r.units {
		digests = append(digests, u.Bundle(mayfly.Platform()))
	}
	r.mu.RUnlock()
	for _, p := range r.runner.Programs() {
		digests = append(digests, p.Bundle(mayfly.Platform()))
	}
	return digests
}

// collect deletes bundles that no entry names and nothing here runs.
func (r *Roster) collect(ctx context.Context) {
	n, err := r.registry.Collect(ctx, r.used()...)
	if err != nil && ctx.Err() == nil {
		r.log.Warn("unused bundles not deleted", telemetry.KeyErr, err)
	}
	if n > 0 {
		r.log.Info("unused bundles deleted", "count", n)
	}
}

// sweep deletes this node's copies of such bundles.
func (r *Roster) sweep(ctx context.Context) {
	if err := r.registry.Sweep(ctx, r.used()...); err != nil && ctx.Err() == nil {
		r.log.Warn("unpacked bundles not deleted", telemetry.KeyErr, err)
	}
}
