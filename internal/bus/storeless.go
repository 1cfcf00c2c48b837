package bus

import (
	"context"
	"errors"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go/jetstream"
)

// Storeless returns an error if JetStream was not enabled when the bus was opened, so that
// nothing can be stored, and otherwise nil. It never changes; see Enabled.
func (b *Bus) Storeless() error { return b.off() }

// Enabled returns a channel that is closed when JetStream is enabled after all.
func (b *Bus) Enabled() <-chan struct{} { return b.health.enabled }

// disabled reports whether an error says that JetStream is not enabled.
func disabled(err error) bool {
	return errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
}

func (b *Bus) disabledError(err error) error {
	e := mayfly.Errorf(mayfly.Unavailable, "JetStream is not enabled for this account at %s: deploys, secrets and logs are off", b.ours).
		WithHint("enable it (nats-server -js, and for the account), or leave out --nats to use the server inside Mayfly")
	e.Err = err
	return e
}

// awaitJetStream returns the error of Storeless, or why it is unknown. A cluster that is
// just starting has no JetStream leader for some seconds, or no server with JetStream yet:
// that nobody answers is believed there when ctx ends.
func (b *Bus) awaitJetStream(ctx context.Context) (off, err error) {
	for {
		_, err := b.jetStream(ctx)
		switch {
		case err == nil:
			return nil, nil
		case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount),
			disabled(err) && b.links[0].conn.Load().ConnectedClusterName() == "":
			return b.disabledError(err), nil
		case disabled(err):
			off = b.disabledError(err)
		case ctx.Err() != nil && off != nil:
			return off, nil
		case ctx.Err() != nil:
			return nil, mayfly.Errorf(mayfly.Unavailable, "JetStream at %s did not answer in time: %w", b.remote, err).
				WithHint("check the server's log; a cluster needs a JetStream leader")
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnectWait):
		}
	}
}

// askStore is awaitJetStream for a command. If JetStream does not answer, what the command
// does next says so.
func (b *Bus) askStore() error {
	if _, err := b.jetStream(context.Background()); disabled(err) {
		return b.disabledError(err)
	}
	return nil
}

// awaitJetStream says so when JetStream is enabled after all.
func (h *health) awaitJetStream(ctx context.Context, b *Bus) {
	ctx, found := context.WithCancel(ctx)
	defer found()
	every(ctx, enabledEvery, func() {
		if _, err := b.jetStream(ctx); err == nil {
			close(h.enabled)
			found()
		}
	})
}

// enabledEvery is how often a node without JetStream looks for it.
const enabledEvery = 5 * time.Second
