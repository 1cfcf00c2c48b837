package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// routes is the verb routes.
type routes struct {
	client `embed:""`
	JSON   bool `name:"json" help:"Print JSON."`
}

// Help is shown by mayfly routes --help.
func (*routes) Help() string {
	return `A route comes from a project's mayfly.yaml or from the metadata of a service's
endpoint. If two match the same requests, a project's route wins over metadata,
and an older service over a newer one. The other is listed as shadowed.`
}

// Run is called by kong.
func (r *routes) Run(ctx context.Context, p *process) error {
	b, err := r.open(ctx, p)
	if err != nil {
		return err
	}
	defer b.Close()
	all, nodes, err := peers.New(b).Routes(ctx)
	if err != nil {
		return err
	}
	if nodes == 0 {
		return noNodes(b.URL())
	}
	if r.JSON {
		raw := []json.RawMessage{} // not nil: in JSON an empty list is []
		for _, one := range all {
			raw = append(raw, one.Raw)
		}
		return writeJSON(p.stdout, raw)
	}
	active, shadowed := table{{"ROUTE", "TARGET", "FROM"}}, table{{"ROUTE", "TARGET", "FROM", "WHY"}}
	seen := map[[4]string]bool{}
	for _, l := range all {
		row := [4]string{l.Pattern, l.Target, l.Origin, l.Shadowed}
		if seen[row] {
			continue // another node serves the same
		}
		seen[row] = true
		if l.Shadowed == "" {
			active.add(l.Pattern, l.Target, l.Origin)
		} else {
			shadowed.add(l.Pattern, l.Target, l.Origin, l.Shadowed)
		}
	}
	if len(active) > 1 {
		if err := active.print(p.stdout, ""); err != nil {
			return err
		}
	} else {
		p.note("no routes; add one to mayfly.yaml or to an endpoint's metadata (%s)", mayfly.MetaHTTP)
	}
	if len(shadowed) > 1 {
		fmt.Fprintln(p.stdout, "\nshadowed:")
		return shadowed.print(p.stdout, "  ")
	}
	return nil
}
