package roster

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// A Condition is how a unit of this node is doing.
type Condition struct {
	Kind      mayfly.Kind
	Name      mayfly.Name
	Revision  uint64
	State     string    // one of peers.Building and those beside it
	Since     time.Time // of what is under way
	Instances int       // that are ready
	Err       error     // why it failed, or fails
}

// connecting is how long a service may take from its start until it listens: its process
// is known to be alive, no more.
const connecting = 5 * time.Second

// Problem returns why the unit does not answer, or nil.
func (c Condition) Problem() error {
	kind := c.Kind.String()
	switch took := time.Since(c.Since).Round(time.Second); c.State {
	case peers.Building:
		return mayfly.Errorf(mayfly.Unavailable, "%s %q has been building for %s", kind, c.Name, took).
			WithHint("see the terminal of mayfly up")
	case peers.Starting:
		return mayfly.Errorf(mayfly.Unavailable, "%s %q has been starting for %s", kind, c.Name, took).
			WithHint("see mayfly logs %s", c.Name)
	case peers.Failed:
		failed := "failed to build"
		if mayfly.CodeOf(c.Err) == mayfly.Crashed {
			failed = "does not start"
		}
		return mayfly.Errorf(mayfly.Crashed, "%s %q %s: %w", kind, c.Name, failed, c.Err).
			WithHint("%s", cmp.Or(mayfly.HintOf(c.Err), "fix the code and save it"))
	case peers.Failing:
		return mayfly.Errorf(mayfly.Crashed, "%s %q does not run: %w", kind, c.Name, c.Err).
			WithHint("%s", cmp.Or(mayfly.HintOf(c.Err), "see mayfly logs "+string(c.Name)))
	default:
		return nil
	}
}

// condition returns that of a unit whose build has not ended well.
func (b *build) condition(name mayfly.Name) Condition {
	c := Condition{Kind: b.unit.Kind, Name: name, State: peers.Building, Since: b.began}
	if !b.running() {
		c.State, c.Err = peers.Failed, b.err
	}
	if !b.running() && b.err == nil {
		c.State = peers.Running
	}
	return c
}

// Conditions returns, by name, all services of this node, and the functions that do not
// answer.
func (r *Roster) Conditions() []Condition { return r.conditions(true) }

func (r *Roster) conditions(functions bool) (all []Condition) {
	r.mu.RLock()
	for name, b := range r.building {
		if r.units[name] == nil && (functions || b.unit.Kind == mayfly.KindService) {
			all = append(all, b.condition(name))
		}
	}
	var units []*mayfly.Unit
	for _, u := range r.units {
		if functions || u.Kind == mayfly.KindService {
			units = append(units, u)
		}
	}
	r.mu.RUnlock()
	for _, u := range units {
		if c := r.condition(u); u.Kind == mayfly.KindService || c.State == peers.Failing {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b Condition) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all
}

// condition returns that of a unit that the runner has.
func (r *Roster) condition(u *mayfly.Unit) Condition {
	h := r.runner.Health(u.Name)
	c := Condition{Kind: u.Kind, Name: u.Name, Revision: u.Revision, State: peers.Running, Since: h.Began, Instances: h.Ready, Err: h.Failure}
	switch {
	case h.Ready == 0 && h.Failure != nil:
		c.State = peers.Failing
	case u.Kind == mayfly.KindService && h.Starting+h.Ready > 0 && (h.Ready == 0 || time.Since(h.Began) < connecting):
		c.State = peers.Starting
	}
	return c
}

// connectingTick is the pause between two looks at a service that is connecting: nothing
// tells when it has subscribed.
const connectingTick = 100 * time.Millisecond

// Coming waits, after a call that nothing took, until another may be taken: while a service
// of this node is being built or is starting. If one has the name only that one counts,
// otherwise any may be meant. If there is nothing to wait for, or ctx ends, it returns
// false and what is wrong with these services, if anything.
func (r *Roster) Coming(ctx context.Context, name string) (again bool, problem error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := r.news.Watch(ctx)
	<-changed // the first comes at once
	all := r.conditions(false)
	if i := slices.IndexFunc(all, func(c Condition) bool { return string(c.Name) == name }); i >= 0 {
		all = all[i : i+1]
	}
	tick := time.NewTimer(time.Hour)
	defer tick.Stop()
	coming := false
	for _, c := range all {
		switch c.State {
		case peers.Building:
			coming = true
			r.want(c.Name)
		case peers.Starting:
			coming = true
			tick.Reset(connectingTick)
		}
	}
	if coming && ctx.Err() == nil {
		select {
		case <-changed:
			return true, nil
		case <-tick.C:
			return true, nil
		case <-ctx.Done():
		}
	}
	return false, problems(all)
}

// want has a unit built before all that no call waits for.
func (r *Roster) want(name mayfly.Name) {
	r.mu.RLock()
	b := r.building[name]
	r.mu.RUnlock()
	if b != nil {
		b.wanted()
	}
}

// problems joins those of several services: whatever answers a call may be any of them.
func problems(all []Condition) error {
	var joined error
	for _, c := range all {
		switch p := c.Problem(); {
		case p == nil:
		case joined == nil:
			joined = p
		default:
			joined = mayfly.Errorf(mayfly.CodeOf(joined), "%w; %w", joined, p).WithHint("%s", mayfly.HintOf(joined))
		}
	}
	return joined
}
