package cli

import (
	"context"
	"fmt"

	"github.com/mayfly-run/mayfly/internal/deploy"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// remove is the verb remove.
type remove struct {
	client `embed:""`
	Names  []string `arg:"" name:"name" help:"Functions and services to remove."`
}

// Help is shown by mayfly remove --help.
func (*remove) Help() string {
	return `Calls in flight finish. The history is kept for a while: restore the last
revision with mayfly rollback NAME, or deploy the project again.`
}

// Run is called by kong.
func (r *remove) Run(ctx context.Context, p *process) error {
	for _, name := range r.Names {
		if err := checkName(name); err != nil {
			return err
		}
	}
	s, err := r.store(ctx, p, changes)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, name := range r.Names {
		if err := deploy.Remove(ctx, name, deploy.Options{Registry: s.Registry, Nodes: peers.New(s.bus)}); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(p.stdout, "%s removed\n", name); err != nil {
			return err
		}
	}
	return nil
}
