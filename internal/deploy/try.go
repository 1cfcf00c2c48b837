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

// starters is how many functions are started at once: a node that starts them all
// would be too busy for any of them to be ready in time.
const starters = 32

// prepare has each node start each function that is new to it.
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

// number gives a function the number that it will be deployed under, because a node
// takes an instance that it has prepared only for the very same revision. It
// reports whether nodes have not started the like of it already.
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

// alike reports whether two revisions differ in nothing that an instance could
// tell; how many of them there may be does not matter to one.
func alike(a, b mayfly.Unit) bool {
	a.Revision, b.Revision = 0, 0
	a.Instances, b.Instances = mayfly.Instances{}, mayfly.Instances{}
	first, err1 := json.Marshal(a)
	second, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(first, second)
}

// start has nodes start an instance of a function, all at once.
func start(ctx context.Context, nodes Nodes, on []peers.Node, f mayfly.Unit) error {
	return together(ctx, on, func(ctx context.Context, n peers.Node) error {
		if err := nodes.Prepare(ctx, n, f); err != nil {
			return fmt.Errorf("%s does not start on node %s: %w", f.Name, n.ID, err)
		}
		return nil
	})
}

// together calls f for each node at once and returns the first error, which ends
// the others.
func together(ctx context.Context, nodes []peers.Node, f func(ctx context.Context, n peers.Node) error) error {
	all, ctx := errgroup.WithContext(ctx)
	for _, n := range nodes {
		all.Go(func() error { return f(ctx, n) })
	}
	return all.Wait()
}
