package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// restart is the verb restart.
type restart struct {
	client `embed:""`
	Name   string `arg:"" help:"Function or service."`
}

// Help is shown by mayfly restart --help.
func (*restart) Help() string {
	return `Each running instance is replaced, one at a time and node by node: a new one is
ready before the old one takes no more calls, and calls in flight finish. The
revision stays the same. If a new instance does not start, the old ones stay.`
}

// Run is called by kong.
func (r *restart) Run(ctx context.Context, p *process) error {
	if err := checkName(r.Name); err != nil {
		return err
	}
	b, err := r.open(ctx, p)
	if err != nil {
		return err
	}
	defer b.Close()
	p.note("%s", b.URL())
	switch n, err := p.restart(ctx, b, peers.Restart{Name: r.Name}); {
	case err != nil:
		return err
	case n == 0:
		return notRun(ctx, b, r.Name)
	}
	return nil
}

// notRun returns the error for a name that no node runs.
func notRun(ctx context.Context, b *bus.Bus, name string) error {
	if err := notAnswering(ctx, b, name); err != nil {
		return err
	}
	names, err := answering(ctx, b)
	if err != nil {
		return err
	}
	if slices.Contains(names, name) {
		return mayfly.Errorf(mayfly.Invalid, "no node runs %s: Mayfly can restart only what it started", name).
			WithHint("restart it where it was started")
	}
	return noSuchName(name, names)
}

// restart asks the nodes, one after the other, to replace instances, and prints what each
// has done. It returns how many answers named a unit. What fails stops no other; the error
// names all that failed.
func (p *process) restart(ctx context.Context, b *bus.Bus, r peers.Restart) (units int, err error) {
	all := peers.New(b)
	nodes, err := all.List(ctx)
	if err != nil {
		return 0, err
	}
	var failed error
	for _, n := range nodes {
		name := cmp.Or(n.Name, n.ID)
		restarted, err := all.Restart(ctx, n.ID, r)
		if mayfly.CodeOf(err) == mayfly.Unavailable {
			err = mayfly.Errorf(mayfly.Unavailable, "node %s cannot restart instances: %w", name, err).
				WithHint("if it runs an earlier Mayfly, update it; see mayfly nodes")
		}
		if err != nil && ctx.Err() != nil {
			return units, also(failed, err)
		}
		failed = also(failed, err)
		for _, u := range restarted {
			units++
			if u.Error != "" {
				failed = also(failed, mayfly.Errorf(mayfly.Crashed, "%s did not restart on node %s: %s", u.Name, name, u.Error).
					WithHint("its old instances stay; see mayfly info %s and mayfly logs %[1]s", u.Name))
				continue
			}
			if u.Instances == 0 {
				p.note("%s has no running instances on node %s", u.Name, name)
				continue
			}
			if _, err := fmt.Fprintf(p.stdout, "%s restarted on node %s (%s)\n", plain(u.Name), plain(name), plural(u.Instances, "instance")); err != nil {
				return units, err
			}
		}
	}
	return units, failed
}

// also joins two errors in one line; either may be nil.
func also(first, second error) error {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return fmt.Errorf("%w; %w", first, second)
}
