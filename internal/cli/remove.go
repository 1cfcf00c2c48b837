package cli

import (
	"context"
	"fmt"
)

// remove is the verb remove.
type remove struct {
	client `embed:""`
	Names  []string `arg:"" name:"name" help:"Functions and services."`
}

// Help is shown by mayfly remove --help.
func (*remove) Help() string {
	return `Calls in hand are finished. The history stays for a while: mayfly rollback NAME brings the last
revision back. A deploy of the project that lists NAME does so, too.`
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
		if err := s.Remove(ctx, name); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(p.stdout, "%s removed\n", name); err != nil {
			return err
		}
	}
	return nil
}
