package bus

import (
	"context"
	"errors"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// An Extent says what a stream holds. A stream that was replaced has another one.
type Extent struct {
	Created     time.Time
	First, Last uint64 // sequence numbers
	Messages    uint64
}

// Extent returns that of a stream of Mayfly's state. Errors are NATS's own.
func (b *Bus) Extent(ctx context.Context, stream string) (Extent, error) {
	all, err := b.Extents(ctx, stream)
	extent, ok := all[stream]
	if err == nil && !ok {
		err = jetstream.ErrStreamNotFound
	}
	return extent, err
}

// Extents returns those of several streams; one that does not exist is not in the map. Our
// own server is asked directly and once, so that the trace shows the user's traffic and not
// ours.
func (b *Bus) Extents(ctx context.Context, streams ...string) (map[string]Extent, error) {
	all := map[string]Extent{}
	if b.server != nil {
		account, err := b.server.JszAccount(&server.JSzOptions{Account: mayfly.AccountCore, Streams: true})
		if err != nil {
			return nil, err
		}
		for _, s := range account.Streams {
			all[s.Name] = Extent{s.Created, s.State.FirstSeq, s.State.LastSeq, s.State.Msgs}
		}
		return all, nil
	}
	js, err := b.JetStream()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	for _, name := range streams {
		there, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		info := there.CachedInfo()
		all[name] = Extent{info.Created, info.State.FirstSeq, info.State.LastSeq, info.State.Msgs}
	}
	return all, nil
}

const (
	lastTries = 3
	lastWait  = 2 * time.Second // for one try
)

// LastOf returns the newest message of a subject, or nil if there is none. damaged means
// that the server repeatedly lists the message and does not find it. Only that answer says
// anything about the store: an error, as of a slow disk or a lost connection, does not.
func LastOf(ctx context.Context, stream jetstream.Stream, subject string) (m *jetstream.RawStreamMsg, damaged bool, err error) {
	for range lastTries {
		one, done := context.WithTimeout(ctx, lastWait)
		m, err = stream.GetLastMsgForSubject(one, subject)
		done()
		if err == nil || ctx.Err() != nil {
			return m, false, err
		}
		if !errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		info, failed := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
		if failed != nil {
			return nil, false, failed
		}
		if info.State.Subjects[subject] == 0 {
			return nil, false, nil
		}
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, true, nil
	}
	return nil, false, err
}

// LastOfEach calls f with the newest message of each subject that a filter matches, or
// with nil for one that is damaged, as LastOf has it. It finds what a consumer does not
// bring: a damaged message stops one for good, without a word. skip says what it brought.
func LastOfEach(ctx context.Context, stream jetstream.Stream, filter string, skip func(subject string) bool, f func(subject string, m *jetstream.RawStreamMsg) error) error {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		if skip(subject) {
			continue
		}
		m, damaged, err := LastOf(ctx, stream, subject)
		if err == nil && (m != nil || damaged) { // else it was purged meanwhile
			err = f(subject, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
