package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/mayfly-run/mayfly"
)

// prepare has each node start each function that is new to it, all at once.
func (d *deployment) prepare(ctx context.Context) error {
	var fresh []*unit
	for _, u := range d.units {
		if u.function == nil || len(u.nodes) == 0 {
			continue
		}
		isNew, err := d.number(ctx, u)
		if err != nil {
			return err
		}
		if isNew {
			d.Tell(Event{Name: u.source.Name, Step: "start"})
			fresh = append(fresh, u)
		}
	}
	return together(ctx, fresh, func(ctx context.Context, u *unit) error {
		return start(ctx, d.Nodes, u.nodes, *u.function)
	})
}

// number gives a function the number that it will be deployed under, because a node
// takes an instance that it has prepared only for the very same revision. It
// reports whether nodes have not started the like of it already.
func (d *deployment) number(ctx context.Context, u *unit) (isNew bool, err error) {
	name := u.function.Name
	current, err := d.Registry.Get(ctx, mayfly.Ref{Name: name})
	switch {
	case mayfly.CodeOf(err) == mayfly.NotFound:
	case err != nil:
		return false, err
	case alike(current, *u.function):
		return false, nil
	}
	u.function.Revision, err = d.nextNumber(ctx, string(name))
	return true, err
}

// nextNumber returns the one that a name's next revision gets.
func (o Options) nextNumber(ctx context.Context, name string) (uint64, error) {
	lines, err := o.Registry.History(ctx, name)
	if mayfly.CodeOf(err) == mayfly.NotFound {
		return 1, nil
	}
	if err != nil {
		return 0, err
	}
	return lines[0].Number + 1, nil
}

// alike reports whether two revisions differ in nothing that an instance could
// tell: how many of them there may be is none of its business.
func alike(a, b mayfly.Function) bool {
	a.Revision, b.Revision = 0, 0
	a.Instances, b.Instances = mayfly.Instances{}, mayfly.Instances{}
	first, err1 := json.Marshal(a)
	second, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(first, second)
}

// start has nodes start an instance of a function, all at once.
func start(ctx context.Context, nodes Nodes, on []Node, f mayfly.Function) error {
	return together(ctx, on, func(ctx context.Context, n Node) error {
		if err := nodes.Prepare(ctx, n.ID, f); err != nil {
			return fmt.Errorf("%s does not start on node %s: %w", f.Name, n.ID, err)
		}
		return nil
	})
}

// together does the same with each thing at once and returns the first error, which
// ends the others.
func together[T any](ctx context.Context, things []T, f func(ctx context.Context, thing T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	var once sync.Once
	var first error
	for _, thing := range things {
		all.Go(func() {
			if err := f(ctx, thing); err != nil {
				once.Do(func() {
					first = err
					cancel()
				})
			}
		})
	}
	all.Wait()
	return first
}
