package node

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/logs"
	"github.com/mayfly-run/mayfly/internal/registry"
	"github.com/mayfly-run/mayfly/internal/secrets"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// A store is what a node keeps in JetStream: the registry, secrets and logs. An existing
// server may not have it or allow that. Then nothing is deployed, functions under
// development have neither secrets nor stored logs, and the node still works as a gateway.
type store struct {
	registry *registry.Registry // registry.None if we keep nothing

	barred  error // why we keep nothing; nil if we do, and then these are there
	secrets *secrets.Secrets
	logs    *logs.Logs
}

type storeOptions struct {
	registry registry.Options
	secrets  secrets.Options
	logs     logs.Options
}

// openStore opens all of it or, if the server does not allow that, nothing.
func openStore(ctx context.Context, b *bus.Bus, o storeOptions, log *slog.Logger) (*store, error) {
	barred := b.Storeless()
	if barred == nil {
		s := &store{}
		err := s.open(ctx, b, o)
		if err == nil {
			return s, nil
		}
		s.close()
		if full := mayfly.CodeOf(err) == mayfly.Exhausted; !bus.Refused(err) && (!full || b.Embedded()) {
			return nil, err
		}
		barred = fmt.Errorf("deploys, secrets and logs are off: %w", err)
	}
	log.Warn("functions cannot be deployed here", telemetry.KeyErr, barred)
	return &store{registry: registry.None(barred), barred: barred}, nil
}

func (s *store) open(ctx context.Context, b *bus.Bus, o storeOptions) (err error) {
	if s.registry, err = registry.Open(ctx, b, o.registry); err != nil {
		return err
	}
	if s.secrets, err = secrets.Open(ctx, b, o.secrets); err != nil {
		return err
	}
	s.logs, err = logs.Open(ctx, b, o.logs)
	return err
}

// close closes what is open.
func (s *store) close() error {
	var err error
	if s.logs != nil {
		err = s.logs.Close()
	}
	if s.registry != nil {
		s.registry.Close()
	}
	return err
}

// secret returns a secret's value.
func (s *store) secret(ctx context.Context, name mayfly.Name) ([]byte, error) {
	if s.barred != nil {
		return nil, s.barred
	}
	return s.secrets.Get(ctx, name)
}

// append stores a line.
func (s *store) append(l mayfly.Line) {
	if s.barred == nil {
		s.logs.Append(l)
	}
}

// logStats counts the lines.
func (s *store) logStats() logs.Stats {
	if s.barred != nil {
		return logs.Stats{}
	}
	return s.logs.Stats()
}
