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

// connecting is how long a developed service may take from its start until it listens: its
// process is known to be alive, no more.
const connecting = 5 * time.Second

// Problem returns why the unit does not answer, or nil.
func (c Condition) Problem() error {
	switch took := time.Since(c.Since).Round(time.Second); c.State {
	case peers.Building:
		return mayfly.Errorf(mayfly.Unavailable, "%s %q has been building for %s", c.Kind, c.Name, took).
			WithHint("see the terminal of mayfly up")
	case peers.Starting:
		return mayfly.Errorf(mayfly.Unavailable, "%s %q has been starting for %s", c.Kind, c.Name, took).
			WithHint("see mayfly logs %s", c.Name)
	case peers.Failed:
		if mayfly.CodeOf(c.Err) == mayfly.Invalid {
			return c.fault("failed to build", "fix the code and save it")
		}
		return c.fault("does not start", "fix the code and save it")
	case peers.Failing:
		return c.fault("does not run", "see mayfly logs "+string(c.Name))
	default:
		return nil
	}
}

// fault returns what is wrong with the unit, with the hint of the cause or another. What is
// wrong with the node is not the unit's fault, and a stranger's business even less.
func (c Condition) fault(what, hint string) error {
	code := mayfly.CodeOf(c.Err)
	switch code {
	case mayfly.Internal:
		return mayfly.Errorf(code, "%s %q %s", c.Kind, c.Name, what).WithHint("see the node's log")
	case mayfly.Unavailable, mayfly.Timeout:
		hint = mayfly.HintOf(c.Err)
	default:
		code, hint = mayfly.Crashed, cmp.Or(mayfly.HintOf(c.Err), hint)
	}
	return mayfly.Errorf(code, "%s %q %s: %w", c.Kind, c.Name, what, c.Err).WithHint("%s", hint)
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
func (r *Roster) Conditions() []Condition {
	return r.conditions(func(u *mayfly.Unit, _ bool) bool { return true })
}

// conditions returns those of the units that wanted picks, which is told whether a session
// has them.
func (r *Roster) conditions(wanted func(u *mayfly.Unit, developed bool) bool) (all []Condition) {
	r.mu.RLock()
	for name, b := range r.building {
		if r.units[name] == nil && wanted(&b.unit, true) {
			all = append(all, b.condition(name))
		}
	}
	units := map[*mayfly.Unit]bool{} // whether it is developed
	for name, u := range r.units {
		if developed := r.developed[name]; wanted(u, developed) {
			units[u] = developed
		}
	}
	r.mu.RUnlock()
	for u, developed := range units {
		if c := r.condition(u, developed); u.Kind == mayfly.KindService || c.State == peers.Failing {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b Condition) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all
}

// condition returns that of a unit that the runner has.
func (r *Roster) condition(u *mayfly.Unit, developed bool) Condition {
	h := r.runner.Health(u.Name)
	c := Condition{Kind: u.Kind, Name: u.Name, Revision: u.Revision, State: peers.Running, Since: h.Began, Instances: h.Ready, Err: h.Failure}
	switch {
	case h.Ready == 0 && h.Failure != nil:
		c.State = peers.Failing
	case u.Kind == mayfly.KindService && h.Starting > 0 && h.Ready == 0,
		u.Kind == mayfly.KindService && h.Ready > 0 && developed && time.Since(h.Began) < connecting:
		c.State = peers.Starting
	}
	return c
}

// connectingTick is the pause between two looks at a service that is connecting: nothing
// tells when it has subscribed.
const connectingTick = 100 * time.Millisecond

// Coming waits, after a call that nothing took, until another may be taken: while a service
// of this node is being built or is starting. If one has the name only that one counts,
// otherwise any that is developed here may be meant: what is deployed keeps nobody waiting
// that does not ask for it. If there is nothing to wait for, or ctx ends, it returns false
// and what is wrong with the service of that name, or, without a name, with any.
func (r *Roster) Coming(ctx context.Context, name string) (again bool, problem error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := r.news.Watch(ctx)
	<-changed // the first comes at once
	named := func(u *mayfly.Unit) bool { return string(u.Name) == name }
	all := r.conditions(func(u *mayfly.Unit, developed bool) bool {
		return u.Kind == mayfly.KindService && (developed || named(u))
	})
	i := slices.IndexFunc(all, func(c Condition) bool { return string(c.Name) == name })
	if i >= 0 {
		all = all[i : i+1]
	}
	if r.await(ctx, all, changed) {
		return true, nil
	}
	if i < 0 && name != "" {
		return false, nil
	}
	return false, problems(all)
}

// await waits until one of these units may serve that is on its way.
func (r *Roster) await(ctx context.Context, all []Condition, changed <-chan map[mayfly.Name]struct{}) bool {
	tick := time.NewTimer(time.Hour)
	defer tick.Stop()
	coming := map[mayfly.Name]bool{}
	for _, c := range all {
		switch c.State {
		case peers.Building:
			coming[c.Name] = true
			r.want(c.Name)
		case peers.Starting:
			coming[c.Name] = true
			tick.Reset(connectingTick)
		}
	}
	for len(coming) > 0 && ctx.Err() == nil {
		select {
		case names := <-changed:
			for name := range names {
				if coming[name] {
					return true
				}
			}
		case <-tick.C:
			return true
		case <-ctx.Done():
		}
	}
	return false
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
