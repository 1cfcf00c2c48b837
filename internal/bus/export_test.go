package bus

import (
	"context"
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
	return b.link().request(ctx, m, deadline)
}

// Commits are commits.
type Commits = commits

// NewCommits is newCommits.
func NewCommits(f func() error) *Commits { return newCommits(f) }

// Sync is sync.
func (c *commits) Sync() error { return c.sync() }

// CommitWith has f make the store of b durable.
func (b *Bus) CommitWith(f func() error) {
	b.steward.commits.turn <- struct{}{}
	b.steward.commits.commit = f
	<-b.steward.commits.turn
}

// RestOfGlance is restOfGlance.
func RestOfGlance(widest, passed time.Duration) time.Duration { return restOfGlance(widest, passed) }
