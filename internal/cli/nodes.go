package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// nodesVerb is the verb nodes.
type nodesVerb struct {
	client `embed:""`
	JSON   bool `name:"json" help:"Print JSON."`
}

// Help is shown by mayfly nodes --help.
func (*nodesVerb) Help() string {
	return `MEMORY LIMITS is how a node enforces them: cgroup (by the kernel), rss (by
polling 10 times a second) or none. STATE is the NATS account that holds what is
deployed, secrets and logs: Mayfly's own, or one shared with users' programs.
--json also prints each node's full id, and fields of newer nodes that this
version does not know.`
}

// Run is called by kong.
func (n *nodesVerb) Run(ctx context.Context, p *process) error {
	b, err := n.open(ctx, p)
	if err != nil {
		return err
	}
	defer b.Close()
	all, err := peers.New(b).List(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return noNodes(b.URL())
	}
	if n.JSON {
		raw := make([]json.RawMessage, len(all))
		for i, one := range all {
			raw[i] = one.Raw
		}
		return writeJSON(p.stdout, raw)
	}
	t := table{{"NODE", "VERSION", "PLATFORM", "MEMORY LIMITS", "STATE", "UP", "LABELS"}}
	for _, one := range all {
		up := "-"
		if !one.Started.IsZero() {
			up = time.Since(one.Started).Round(time.Second).String()
		}
		t.add(cmp.Or(one.Name, one.ID), dash(one.Version), dash(one.Platform), dash(one.Limiter), stateOf(one), up, dash(labels(one.Labels)))
	}
	return t.print(p.stdout, "")
}

// noNodes reports that no node answers on a bus.
func noNodes(url string) error {
	return mayfly.Errorf(mayfly.Unavailable, "no node answers at %s", url).WithHint("start one with mayfly up --nats %s", url)
}

// stateOf says where a node keeps its state.
func stateOf(n peers.Node) string {
	switch n.Account {
	case peers.AccountOwn:
		return "own account"
	case peers.AccountShared, "": // earlier builds know no other
		return "shared with users"
	default:
		return n.Account
	}
}

// labels formats labels the way users set them.
func labels(all map[string]string) string {
	var each []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		each = append(each, key+"="+all[key])
	}
	return strings.Join(each, ",")
}
