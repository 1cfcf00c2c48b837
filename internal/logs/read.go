package logs

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go/jetstream"
)

// MaxLast is the greatest Query.Last.
const MaxLast = 100_000

// A Query selects lines. The zero Query selects all.
type Query struct {
	Function string    // or service; all if empty
	Call     string    // only lines known to belong to this call
	Since    time.Time // only lines since then
	Last     int       // only the last ones; all if zero
	Follow   bool      // keep reading new ones until ctx ends
}

func (q Query) subject() string {
	if q.Function == "" {
		return mayfly.SubjectLogs + ".>"
	}
	return mayfly.SubjectLogs + "." + token(q.Function) + ".>"
}

func (q Query) matches(line mayfly.Line) bool {
	return (q.Function == "" || line.Function == q.Function) &&
		(q.Call == "" || line.Call == q.Call) && !line.Time.Before(q.Since)
}

// skew is how far a node's clock may be behind the server's, which dates messages.
const skew = time.Minute

// silence is how long a reader waits for a message that the server has.
const silence = 10 * time.Second

// Read calls each for every line that matches, oldest first, until there are no more or,
// with Follow, until ctx ends, which then is not an error. It stops at the first error
// of each and returns it. Other errors: Invalid, Timeout, Unavailable.
func (l *Logs) Read(ctx context.Context, q Query, each func(mayfly.Line) error) error {
	if q.Last < 0 || q.Last > MaxLast {
		return mayfly.Errorf(mayfly.Invalid, "cannot read the last %d lines at once", q.Last).
			WithHint("ask for 1 to %d lines, or use a time", MaxLast)
	}
	c := &cursor{query: q, since: q.Since}
	if q.Last > 0 {
		lines, err := l.last(ctx, c)
		if err != nil {
			return err
		}
		for _, line := range lines {
			if err := each(line); err != nil {
				return err
			}
		}
		if !q.Follow {
			return nil
		}
	}
	for {
		err := l.scan(ctx, c, q.Follow, each)
		switch {
		case q.Follow && ctx.Err() != nil:
			return nil
		case !q.Follow || c.stopped || err == nil:
			return err
		}
		l.log.Debug("reading of logs interrupted", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
	}
}

// A cursor is a reader's position.
type cursor struct {
	query   Query
	since   time.Time // where to start while seq is 0
	seq     uint64    // of the last message read
	stopped bool      // by an error of the reader's function
}

// last returns the last lines that match and moves the cursor past them. The stream
// indexes times, not lines, so the search starts a few minutes back and then further.
func (l *Logs) last(ctx context.Context, c *cursor) ([]mayfly.Line, error) {
	js, err := l.bus.JetStream()
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, mayfly.StreamLogs)
	if err != nil {
		return nil, bus.Fault("read the logs", err)
	}
	end := stream.CachedInfo().State.LastSeq
	q := c.query
	for _, ago := range []time.Duration{5 * time.Minute, time.Hour, 12 * time.Hour, 0} {
		from := time.Now().Add(-ago)
		whole := ago == 0 || from.Before(q.Since)
		if whole {
			from = q.Since
		}
		var lines []mayfly.Line
		try := &cursor{query: q, since: from}
		err := l.scan(ctx, try, false, func(line mayfly.Line) error {
			if lines = append(lines, line); len(lines) >= 2*q.Last {
				lines = append(lines[:0], lines[len(lines)-q.Last:]...)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if whole || len(lines) >= q.Last {
			c.seq = max(end, try.seq)
			return lines[max(0, len(lines)-q.Last):], nil
		}
	}
	return nil, nil // unreachable: the last window is the whole stream
}

// scan reads from the cursor on and moves it, until the end of the stream or, with
// follow, until something fails.
func (l *Logs) scan(ctx context.Context, c *cursor, follow bool, each func(mayfly.Line) error) error {
	js, err := l.bus.JetStream()
	if err != nil {
		return err
	}
	config := jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{c.query.subject()}, InactiveThreshold: 30 * time.Second, MaxResetAttempts: 3,
	}
	switch {
	case c.seq > 0:
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, c.seq+1
	case !c.since.IsZero():
		from := c.since.Add(-skew)
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	}
	consumer, err := js.OrderedConsumer(ctx, mayfly.StreamLogs, config)
	if err != nil {
		return bus.Fault("read the logs", err)
	}
	defer forget(js, consumer)
	if consumer.CachedInfo().NumPending == 0 && !follow {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxBytes(4 << 20))
	if err != nil {
		return bus.Fault("read the logs", err)
	}
	defer messages.Stop()
	for {
		m, err := next(ctx, messages, follow)
		if err != nil {
			return bus.Fault("read the logs", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return bus.Fault("read the logs", err)
		}
		if meta.Sequence.Stream > c.seq {
			if err := c.give(m.Data(), each); err != nil {
				c.stopped = true
				return err
			}
			c.seq = meta.Sequence.Stream
		}
		if meta.NumPending == 0 && !follow {
			return nil
		}
	}
}

// give passes the matching lines of a message to the reader.
func (c *cursor) give(data []byte, each func(mayfly.Line) error) error {
	if c.query.Call != "" && !bytes.Contains(data, []byte(c.query.Call)) {
		return nil // JSON escapes nothing in an id, so it is found without parsing
	}
	for _, line := range decode(data) {
		if !c.query.matches(line) {
			continue
		}
		if err := each(line); err != nil {
			return err
		}
	}
	return nil
}

// next waits for a message: forever with follow, else as long as a stored one may take.
func next(ctx context.Context, messages jetstream.MessagesContext, follow bool) (jetstream.Msg, error) {
	if follow {
		return messages.Next(jetstream.NextContext(ctx))
	}
	limited, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	m, err := messages.Next(jetstream.NextContext(limited))
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = mayfly.Errorf(mayfly.Timeout, "the NATS server stopped sending logs before their end").
			WithHint("check the NATS server, then try again")
	}
	return m, err
}

// forget deletes the consumer. If that fails the server does it after the threshold.
func forget(js jetstream.JetStream, consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = js.DeleteConsumer(ctx, mayfly.StreamLogs, consumer.CachedInfo().Name)
}
