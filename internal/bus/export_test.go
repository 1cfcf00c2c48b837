package bus

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
)

// Decode is decode.
func Decode(m *nats.Msg) (mayfly.Reply, error) { return decode(m) }

// NoRoom is noRoom.
func NoRoom(err error) bool { return noRoom(err) }

// Cut closes the connection for good, as a protocol error does.
func (l *Listener) Cut() { l.link.conn.Load().Close() }

// Raw is a call without encoding, decoding and the second try.
func (b *Bus) Raw(ctx context.Context, m *nats.Msg, deadline time.Time) (*nats.Msg, error) {
	return b.link().request(ctx, m, deadline, meaningless)
}

// A Committer is a committer.
type Committer = committer

// NewCommitter is newCommitter.
func NewCommitter(f func() error) *Committer {
	return newCommitter(f, slog.New(slog.DiscardHandler))
}

// Sync is sync.
func (c *committer) Sync(ctx context.Context) error { return c.sync(ctx) }

// Close is close.
func (c *committer) Close() { c.close() }

// CommitWith has f make the store of b durable.
func (b *Bus) CommitWith(f func() error) {
	b.committer.mu.Lock()
	b.committer.commit = f
	b.committer.mu.Unlock()
}

// QuickRest is quickRest.
func QuickRest(widest, passed time.Duration) time.Duration { return quickRest(widest, passed) }

// SeparateUntil is SeparateState that fails at one of its steps, counted from 0.
func SeparateUntil(store string, last int) error {
	steps := 0
	step := func() error {
		if steps++; steps > last {
			return errors.New("the power went")
		}
		return nil
	}
	m := mover{
		rename: func(from, to string) error {
			if err := step(); err != nil {
				return err
			}
			return os.Rename(from, to)
		},
		sync: func(string) error { return step() },
	}
	_, err := m.move(store)
	return err
}

// SilenceLimit is silenceLimit.
const SilenceLimit = silenceLimit

// Deafen has the connections of b miss echoes, as of a server that hangs.
func (b *Bus) Deafen() {
	for _, l := range b.links {
		l.silent.Store(1)
	}
}
