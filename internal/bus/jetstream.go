package bus

import (
	"context"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go/jetstream"
)

// JetStream returns access to the streams, buckets and objects of Mayfly's state over
// the current connection. Call it for each piece of work: a connection that closed for
// good is replaced. The error of Storeless has code Unavailable.
func (b *Bus) JetStream() (jetstream.JetStream, error) {
	l, err := b.state()
	if err != nil {
		return nil, err
	}
	if err := b.off(); err != nil {
		return nil, err
	}
	js, err := jetstream.New(l.conn.Load().Conn)
	if err != nil {
		return nil, unavailable(err)
	}
	return js, nil
}

// RetryBucket is Retry for work on one bucket.
func (b *Bus) RetryBucket(ctx context.Context, what, bucket string, work func(ctx context.Context, kv jetstream.KeyValue) error) error {
	return b.Retry(ctx, what, func(ctx context.Context, js jetstream.JetStream) error {
		kv, err := js.KeyValue(ctx, bucket)
		if err != nil {
			return err
		}
		return work(ctx, kv)
	})
}

const (
	retryFor   = 15 * time.Second // twice as long as a cluster takes to elect a leader
	tryFor     = 5 * time.Second  // an answer that takes longer is lost
	retryPause = 250 * time.Millisecond
)

// Retry repeats work, which must be safe to repeat, until it succeeds, fails for good,
// ctx ends, or NATS has been away for 15 s. Each try gets a new js, because a js is bound
// to its connection. what completes "cannot ..." in the error, which Fault makes.
func (b *Bus) Retry(ctx context.Context, what string, work func(ctx context.Context, js jetstream.JetStream) error) error {
	limit, cancel := context.WithTimeout(ctx, retryFor)
	defer cancel()
	for {
		js, err := b.JetStream()
		if err == nil {
			try, done := context.WithTimeout(limit, tryFor)
			err = b.UntilRefused(try, func(ctx context.Context) error { return work(ctx, js) })
			done()
		}
		if err == nil || !Passing(err) {
			return Fault(what, err)
		}
		select {
		case <-ctx.Done():
			return Fault(what, ctx.Err())
		case <-limit.Done():
			return mayfly.Errorf(mayfly.Unavailable, "cannot %s: NATS does not answer: %w", what, err).
				WithHint("check the NATS server, then try again")
		case <-time.After(retryPause):
		}
	}
}
