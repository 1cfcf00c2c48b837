package cli

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/mayfly-run/mayfly/internal/registry"
)

// A store is what is deployed on a server, and the connection to it.
type store struct {
	*registry.Registry // nil if it only looks and the server has none

	bus   *bus.Bus
	local node.Running // the node on this machine that uses the same server, if any
}

// An intent is what a command will do with a store.
type intent bool

const (
	looks   intent = false // does not create a store
	changes intent = true  // the server is printed first
)

// store opens the registry of the server that the command means.
func (c *client) store(ctx context.Context, p *process, i intent) (_ *store, err error) {
	b, err := c.open(ctx, p)
	if err != nil {
		return nil, err
	}
	s := &store{bus: b, local: c.local(p, b)}
	if i == changes {
		p.note("%s", b.URL())
	}
	s.Registry, err = registry.Open(ctx, b, registry.Options{By: p.author(), Look: i == looks})
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return s, nil
}

// look opens the registry if there is one and it may be read. It never creates one: a
// server may have only micro services.
func (s *store) look(ctx context.Context) (err error) {
	if s.Registry != nil {
		return nil
	}
	if s.bus.Storeless() != nil {
		return nil
	}
	s.Registry, err = registry.Open(ctx, s.bus, registry.Options{Look: true})
	if code := mayfly.CodeOf(err); code == mayfly.NotFound || code == mayfly.Denied {
		return nil
	}
	return err
}

// Close closes the registry and the bus.
func (s *store) Close() error {
	var err error
	if s.Registry != nil {
		err = s.Registry.Close()
	}
	return errors.Join(err, s.bus.Close())
}

// gateway returns the URL of the gateway on this machine, or "" if none uses the same
// server.
func (s *store) gateway() string { return s.local.Gateway }

// has reports whether a server has a stream, without creating it. The error says that
// this login cannot see it.
func has(ctx context.Context, b *bus.Bus, stream string) (bool, error) {
	js, err := b.JetStream()
	if err != nil {
		return false, err
	}
	_, err = js.Stream(ctx, stream)
	return err == nil, nil
}

// local returns the node on this machine that uses the same server as b.
func (c *client) local(p *process, b *bus.Bus) node.Running {
	return c.localThat(p, b, func(node.Running) bool { return true })
}

// localThat is local for the first of these nodes that is something.
func (c *client) localThat(p *process, b *bus.Bus, is func(node.Running) bool) node.Running {
	loaded, err := p.load(config.Config{Data: c.Data}, "")
	if err != nil {
		return node.Running{} // open has reported it
	}
	for _, r := range p.running(loaded.Data) {
		if r.NATS == b.URL() && is(r) {
			return r
		}
	}
	return node.Running{}
}

// author returns the author of a change, for the history.
func (p *process) author() string {
	user, _ := p.lookup("USER")
	login, _ := p.lookup("LOGNAME")
	host, _ := os.Hostname() // without one, the user is enough
	return strings.Trim(cmp.Or(user, login)+"@"+host, "@")
}
