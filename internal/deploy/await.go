package deploy

import (
	"context"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/peers"
)

const (
	// patience limits how long a deploy waits until what it wrote serves. Nodes have tried
	// each function by then, so they only need to hear of it.
	patience = 10 * time.Second

	askAgain = 50 * time.Millisecond
)

// await returns when all nodes serve a revision.
func (o Options) await(ctx context.Context, name string, revision uint64, on []peers.Node) error {
	o.Tell(Event{Name: name, Step: "wait"})
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return together(ctx, on, func(ctx context.Context, n peers.Node) error { return o.awaitOne(ctx, name, revision, n) })
}

// awaitOne returns when a node serves a revision or a newer one.
func (o Options) awaitOne(ctx context.Context, name string, revision uint64, n peers.Node) error {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for last := (peers.State{}); ; {
		// A node that has not heard of it yet reports an unknown name.
		if s, err := o.Nodes.State(ctx, n.ID, name); err == nil {
			last = s
		}
		if last.Developed() || last.Serving >= revision && last.Failing == "" {
			return nil
		}
		select {
		case <-again.C:
			continue
		case <-ctx.Done():
		}
		if last.Failing != "" {
			return mayfly.Errorf(mayfly.Crashed, "%s@%d is deployed, but fails on node %s: %s", name, revision, n.ID, last.Failing).
				WithHint("see mayfly logs %s, or go back with mayfly rollback %[1]s", name)
		}
		return mayfly.Errorf(mayfly.Timeout, "%s@%d is deployed, but node %s does not serve it yet", name, revision, n.ID).
			WithHint("see mayfly info %s", name)
	}
}

// Remove removes a unit and returns once no node serves it. Errors are those of
// Registry.Remove, and Timeout if a node still serves it.
func Remove(ctx context.Context, name string, o Options) error {
	if err := o.Registry.Remove(ctx, name); err != nil || o.NoWait {
		return err
	}
	nodes, err := o.Nodes.List(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return together(ctx, nodes, func(ctx context.Context, n peers.Node) error { return o.awaitEnd(ctx, name, n) })
}

// awaitEnd returns when a node no longer serves what was deployed under a name.
func (o Options) awaitEnd(ctx context.Context, name string, n peers.Node) error {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		s, err := o.Nodes.State(ctx, n.ID, name)
		if mayfly.CodeOf(err) == mayfly.NotFound || err == nil && s.Serving == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return mayfly.Errorf(mayfly.Timeout, "%s is removed, but node %s may still serve it", name, n.ID).
				WithHint("see mayfly info %s, and mayfly nodes", name)
		}
	}
}
