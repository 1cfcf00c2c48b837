package roster

import (
	"context"
	"reflect"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// follow brings the runner in step with what is deployed under a name. The empty name
// stands for routes.
func (r *Roster) follow(name string) {
	r.changing.Lock()
	defer r.changing.Unlock()
	switch {
	case name == "":
		r.mu.Lock()
		defer r.mu.Unlock()
		r.reroute()
	case r.developed[name]:
		r.news.Tell(mayfly.Name(name)) // it may be public from now on, or not any more
	default:
		f, h := r.registry.Current(name)
		r.followFunction(mayfly.Name(name), f)
		r.followService(name, h)
	}
}

// followFunction makes f current, or changes no more than its instances where the
// revision is the same: a number is given once, so nothing else has changed. The caller
// holds changing.
func (r *Roster) followFunction(name mayfly.Name, f *mayfly.Function) {
	if f != nil && !r.fits(f.Program) {
		f = nil // other nodes answer for it
	}
	old := r.functions[name]
	var err error
	switch {
	case f == nil && old == nil:
		return
	case f == nil:
		r.runner.Remove(name)
	case old == nil || old.Revision != f.Revision:
		err = r.runner.Set(*f, r.Bundle(f.Program))
	case old.Instances != f.Instances:
		err = r.runner.Scale(name, f.Instances)
	default:
		return
	}
	if err != nil {
		r.log.Error("function rejected", telemetry.KeyFunction, name, telemetry.KeyRevision, f.Revision, telemetry.KeyErr, err)
		return
	}
	r.show(name, f)
}

// followService keeps h alive. The caller holds changing.
func (r *Roster) followService(name string, h *mayfly.Hosted) {
	old := r.services[name]
	switch {
	case h == nil || !r.fits(h.Program):
		if old != nil {
			r.runner.Unhost(name)
			r.keep(name, nil)
		}
		return
	case old != nil && reflect.DeepEqual(old, h):
		return
	}
	if err := r.runner.Host(*h, r.Bundle(h.Program)); err != nil {
		r.log.Error("service rejected", telemetry.KeyService, name, telemetry.KeyRevision, h.Revision, telemetry.KeyErr, err)
		return
	}
	r.keep(name, h)
}

// fits reports whether this node can run a program and should.
func (r *Roster) fits(p mayfly.Program) bool {
	for key, value := range p.Labels {
		if r.labels[key] != value {
			return false
		}
	}
	return p.Bundle(mayfly.Platform()) != ""
}

// Bundle returns how the runner gets at the code of a deployed program.
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

// collect deletes bundles that no entry names and nothing here runs.
func (r *Roster) collect(ctx context.Context) {
	var used []string
	r.mu.RLock()
	for _, f := range r.functions {
		used = append(used, f.Bundle(mayfly.Platform()))
	}
	for _, h := range r.services {
		used = append(used, h.Bundle(mayfly.Platform()))
	}
	r.mu.RUnlock()
	n, err := r.registry.Collect(ctx, used...)
	if err != nil && ctx.Err() == nil {
		r.log.Warn("unused bundles not deleted", telemetry.KeyErr, err)
	}
	if n > 0 {
		r.log.Info("unused bundles deleted", "count", n)
	}
}
