package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/inventory"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// doctor is the verb doctor.
type doctor struct {
	client `embed:""`
	Accept bool `name:"accept" help:"Accept the store's current contents: what is missing now is no longer reported."`
}

// Help is shown by mayfly doctor --help.
func (*doctor) Help() string {
	return `Checks that the store of the node on this machine holds what it should, that
registry entries can be read and their code is there, and that all nodes are
ready. The exit code is 6 if something is wrong. What is missing comes back with
a backup, or by deploying it again and setting secrets again.`
}

// Run is called by kong.
func (d *doctor) Run(ctx context.Context, p *process) error {
	b, err := d.open(ctx, p)
	if err != nil {
		return err
	}
	s := &store{bus: b, local: d.localThat(p, b, func(r node.Running) bool { return r.Embedded })}
	defer s.Close()
	if d.Accept {
		if s.local.Folder == "" {
			return mayfly.Errorf(mayfly.Unavailable, "no node on this machine runs the NATS server at %s", b.URL()).WithHint("run this where the node runs, or pass --data")
		}
		if err := inventory.Accept(node.RecordOf(s.local.Folder)); err != nil {
			return err
		}
		_, err := fmt.Fprintln(p.stdout, "accepted the store's current contents")
		return err
	}
	wrong := 0
	for _, check := range []struct {
		name string
		find func(ctx context.Context, s *store) ([]string, error)
	}{{"store", lostInStore}, {"registry", lostInRegistry}, {"nodes", unreadyNodes}} {
		found, err := check.find(ctx, s)
		if err != nil {
			found = append(found, err.Error())
		}
		wrong += len(found)
		if len(found) == 0 {
			found = []string{"ok"}
		}
		for _, line := range found {
			if _, err := fmt.Fprintf(p.stdout, "%-9s %s\n", check.name, plain(line)); err != nil {
				return err
			}
		}
	}
	if wrong > 0 {
		return mayfly.Errorf(mayfly.Unavailable, "problems found: %d", wrong).
			WithHint("restore a backup, or deploy what is missing again; --accept accepts the store's current contents")
	}
	return nil
}

// lostInStore returns what the store of the node on this machine that runs the server
// lacks. A record in the folder of any other node is left from an earlier store.
func lostInStore(ctx context.Context, s *store) (found []string, err error) {
	if s.local.Folder == "" {
		return nil, nil
	}
	losses, err := inventory.Check(ctx, s.bus, node.RecordOf(s.local.Folder))
	for _, l := range losses {
		found = append(found, l.Why)
	}
	return found, err
}

// lostInRegistry returns the entries that cannot be read, and those whose code is missing.
func lostInRegistry(ctx context.Context, s *store) (found []string, err error) {
	if err := cmp.Or(s.bus.Storeless(), s.look(ctx)); err != nil || s.Registry == nil {
		return nil, err
	}
	for _, u := range s.Unreadable() {
		found = append(found, u.Err.Error())
	}
	for _, u := range s.List() {
		if err := s.CheckBundles(ctx, u.Bundles); err != nil {
			found = append(found, fmt.Sprintf("%s: %s", u, err))
		}
	}
	return found, nil
}

// unreadyNodes returns the nodes that cannot store anything, and why.
func unreadyNodes(ctx context.Context, s *store) (found []string, err error) {
	nodes, err := peers.New(s.bus).List(ctx)
	for _, n := range nodes {
		if n.Unready != "" {
			found = append(found, fmt.Sprintf("%s is not ready: %s", n.ID, n.Unready))
		}
	}
	return found, err
}
