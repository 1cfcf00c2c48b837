package node

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// answers returns what this node tells its peers.
func (n *Node) answers(log *slog.Logger) peers.Options {
	return peers.Options{
		Self: peers.Node{
			ID: n.id(), Name: n.folder.identity.Server, Platform: mayfly.Platform(), Version: n.options.Version,
			Limiter: n.keeper.Limiter(), Started: n.started, Labels: n.labels, Store: n.bus.Embedded(),
		},
		Ready:  n.bus.Ready, // a registry that lacks something can be mended by a deploy
		Units:  n.conditions,
		Routes: n.routes,
		Prepare: func(ctx context.Context, u mayfly.Unit) error {
			return n.runner.Prepare(ctx, u, n.roster.Bundle(u.Program))
		},
		State: func(name string) (peers.State, bool) {
			s, ok := n.runner.State(name)
			return stateOf(s), ok
		},
		Restart: n.restart,
		Log:     log,
	}
}

// restart replaces the instances that r means, and tells watchers of secrets. As many units
// as there are CPUs start at once: with all at once none might be ready in time.
func (n *Node) restart(ctx context.Context, r peers.Restart) []peers.Restarted {
	if r.Secret != "" {
		n.secretsSet.Tell(r.Secret)
	}
	units := slices.DeleteFunc(n.runner.Units(), func(u mayfly.Unit) bool {
		return string(u.Name) != r.Name && !u.Uses(r.Secret)
	})
	all := make([]peers.Restarted, len(units))
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	var restarts sync.WaitGroup
	for i, u := range units {
		places <- struct{}{}
		restarts.Go(func() {
			defer func() { <-places }()
			all[i] = peers.Restarted{Name: string(u.Name), Kind: u.Kind.String()}
			var err error
			if all[i].Instances, err = n.runner.Restart(ctx, u.Name); err != nil {
				all[i].Error = err.Error()
			}
		})
	}
	restarts.Wait()
	return all
}

// conditions translates those of the roster.
func (n *Node) conditions() []peers.Condition {
	var all []peers.Condition
	for _, c := range n.roster.Conditions() {
		one := peers.Condition{
			Name: string(c.Name), Kind: c.Kind.String(), Revision: c.Revision,
			State: c.State, Since: c.Since, Instances: c.Instances,
		}
		if c.Err != nil {
			text, _, _ := strings.Cut(c.Err.Error(), "\n")
			one.Error = mayfly.Clip(text)
		}
		all = append(all, one)
	}
	return all
}

// stateOf translates the runner's state.
func stateOf(s runner.UnitState) peers.State {
	out := peers.State{Serving: s.Serving, Failing: s.Failing, Rests: s.Rests, Waiting: s.Waiting, Instances: make([]peers.Instance, 0, len(s.Instances))}
	if s.Unit.Name != "" {
		out.Unit = &s.Unit
	}
	for _, in := range s.Instances {
		out.Instances = append(out.Instances, peers.Instance{
			ID: in.ID, Revision: in.Revision, Phase: in.Phase, Started: in.Started, Calls: in.Calls, Usage: peers.Usage(in.Usage),
		})
	}
	return out
}

// routes returns all routes: those in force first, in order of precedence.
func (n *Node) routes() []peers.Route {
	active, shadowed := n.gateway.Routes()
	all := make([]peers.Route, 0, len(active)+len(shadowed))
	for _, r := range active {
		all = append(all, n.route(gateway.Shadowed{Route: r}))
	}
	for _, s := range shadowed {
		all = append(all, n.route(s))
	}
	return all
}

func (n *Node) route(s gateway.Shadowed) peers.Route {
	r := peers.Route{
		Node: n.folder.identity.Server, Pattern: s.Pattern.String(), Target: s.Target(), Name: s.Name,
		Origin: "metadata", Shadowed: s.Reason,
	}
	if s.Project != "" {
		r.Origin = "project " + string(s.Project)
	}
	return r
}
