package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/peers"
	"golang.org/x/sync/errgroup"
)

// starters is how many functions start at once: with all at once a node would be too busy
// for any of them to be ready in time.
const starters = 32

// prepare has each node start each new function.
func (d *deployment) prepare(ctx context.Context) error {
	return each(ctx, d.units, starters, untilOneFails, func(ctx context.Context, u *unit) error {
		if u.built.Kind == mayfly.KindService || len(u.nodes) == 0 {
			return nil
		}
		isNew, err := d.number(ctx, u)
		if err != nil || !isNew {
			return err
		}
		d.Tell(Event{Name: u.source.Name, Step: "start"})
		return start(ctx, d.Nodes, u.nodes, u.built)
	})
}

// number sets the revision that a function will be deployed under, because a node uses a
// prepared instance only for exactly that revision. It reports whether the function
// differs from the current one.
func (d *deployment) number(ctx context.Context, u *unit) (isNew bool, err error) {
	name := u.built.Name
	current, err := d.Registry.Get(ctx, mayfly.Ref{Name: name})
	switch {
	case mayfly.CodeOf(err) == mayfly.NotFound:
	case err != nil:
		return false, err
	case alike(current, u.built):
		return false, nil
	}
	u.built.Revision, err = d.Registry.Next(ctx, u.built.Kind, name)
	return true, err
}

// alike reports whether an instance could not tell two revisions apart; how many
// instances there may be does not matter to one.
func alike(a, b mayfly.Unit) bool {
	a.Revision, b.Revision = 0, 0
	a.Instances, b.Instances = mayfly.Instances{}, mayfly.Instances{}
	first, err1 := json.Marshal(a)
	second, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(first, second)
}

// start has all nodes start an instance of a function at once.
func start(ctx context.Context, nodes Nodes, on []peers.Node, f mayfly.Unit) error {
	return together(ctx, on, func(ctx context.Context, n peers.Node) error {
		err := nodes.Prepare(ctx, n, f)
		if mayfly.CodeOf(err) == mayfly.Conflict { // it may well start: other deploys of it are ahead
			return fmt.Errorf("%s is being deployed by others: %w", f.Name, err)
		}
		if err != nil {
			return fmt.Errorf("%s does not start on node %s: %w", f.Name, n.ID, err)
		}
		return nil
	})
}

// together calls f for all nodes at once and returns the first error, which cancels the
// others.
func together(ctx context.Context, nodes []peers.Node, f func(ctx context.Context, n peers.Node) error) error {
	all, ctx := errgroup.WithContext(ctx)
	for _, n := range nodes {
		all.Go(func() error { return f(ctx, n) })
	}
	return all.Wait()
}
