package cli

import (
	"cmp"
	"context"
	"errors"
	"os"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/mayfly-run/mayfly/internal/registry"
)

// A store is what is deployed on a server, and the way to that server.
type store struct {
	*registry.Registry
	bus   *bus.Bus
	local node.Running // the node on this machine that is at the same server, if there is one
}

// An intent is what a command is about to do with a store.
type intent bool

const (
	looks   intent = false // where there is no store it makes none
	changes intent = true  // the server is printed first
)

// store opens the registry of the server that the command means.
func (c *client) store(ctx context.Context, p *process, i intent) (*store, error) {
	b, err := c.open(ctx, p)
	if err != nil {
		return nil, err
	}
	if i == changes {
		p.note("%s", b.URL())
	}
	s, err := c.storeOf(ctx, p, b, i)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return s, nil
}

// storeOf opens the registry behind a bus, which the store owns then.
func (c *client) storeOf(ctx context.Context, p *process, b *bus.Bus, i intent) (*store, error) {
	if i == looks && !has(ctx, b, "KV_"+mayfly.BucketRegistry) {
		return nil, mayfly.Errorf(mayfly.NotFound, "nothing was ever deployed at %s", b.URL()).WithHint("mayfly deploy PATH")
	}
	r, err := registry.Open(ctx, b, registry.Options{By: p.author()})
	if err != nil {
		return nil, err
	}
	return &store{Registry: r, bus: b, local: c.local(p, b)}, nil
}

// Close closes the registry and the bus.
func (s *store) Close() error { return errors.Join(s.Registry.Close(), s.bus.Close()) }

// gateway returns the URL of the gateway on this machine, or "" where there is none
// at the same server.
func (s *store) gateway() string { return s.local.Gateway }

// has reports whether a server has a stream. Looking must not make one.
func has(ctx context.Context, b *bus.Bus, stream string) bool {
	js, err := b.JetStream()
	if err != nil {
		return false
	}
	_, err = js.Stream(ctx, stream)
	return err == nil
}

// local returns the node on this machine that is at the same server as b.
func (c *client) local(p *process, b *bus.Bus) node.Running {
	if c.Data != "" {
		if r, ok := node.RunningAt(c.Data); ok && r.NATS == b.URL() {
			return r
		}
	}
	home, err := config.DataHome(p.lookup)
	if err != nil {
		return node.Running{}
	}
	for _, r := range node.FindRunning(home) {
		if r.NATS == b.URL() {
			return r
		}
	}
	return node.Running{}
}

// author returns who changes something, for the history.
func (p *process) author() string {
	user, _ := p.lookup("USER")
	login, _ := p.lookup("LOGNAME")
	host, err := os.Hostname()
	who := cmp.Or(user, login)
	switch {
	case err != nil:
		return who
	case who == "":
		return host
	default:
		return who + "@" + host
	}
}
