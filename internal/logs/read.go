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

// A Query says which lines to read. The zero Query reads all.
type Query struct {
	Function string    // or hosted service; all if empty
	Call     string    // only lines that are known to belong to it
	Since    time.Time // only lines from then on
	Last     int       // only so many of the last ones; all if zero
	Follow   bool      // go on with those that are still to come, until ctx ends
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

// Read gives each line that matches to the function, oldest first, until there are
// no more, or with Follow until ctx ends, which is no error then. It stops with the
// function's error. Other errors: Invalid, Timeout, Unavailable.
func (l *Logs) Read(ctx context.Context, q Query, each func(mayfly.Line) error) error {
	if q.Last < 0 || q.Last > MaxLast {
		return mayfly.Errorf(mayfly.Invalid, "the last %d lines cannot be read at once", q.Last).
			WithHint("ask for 1 to %d, or for the lines since some time", MaxLast)
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

// A cursor is how far a reader is.
type cursor struct {
	query   Query
	since   time.Time // where to begin, while seq is 0
	seq     uint64    // the message that was read last
	stopped bool      // the reader's function wants no more
}

// last returns the last lines that match, and leaves the cursor behind them. The
// stream knows no lines, only times: it is read from a while ago, and from longer
// ago if that was not enough.
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
	return nil, nil // not reached: the last window is the whole
}

// scan reads from the cursor on, and moves it, until the end of the stream or, to
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

// give gives what matches in a message to a reader.
func (c *cursor) give(data []byte, each func(mayfly.Line) error) error {
	if c.query.Call != "" && !bytes.Contains(data, []byte(c.query.Call)) {
		return nil // what JSON does not escape in an id is seen without parsing
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

// next waits for a message: for ever to follow, else for as long as one that is
// there may take.
func next(ctx context.Context, messages jetstream.MessagesContext, follow bool) (jetstream.Msg, error) {
	if follow {
		return messages.Next(jetstream.NextContext(ctx))
	}
	limited, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	m, err := messages.Next(jetstream.NextContext(limited))
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = mayfly.Errorf(mayfly.Timeout, "the logs stopped coming before their end").
			WithHint("look at the NATS server, then try again")
	}
	return m, err
}

// forget takes the consumer away; without an answer the server does so after its
// threshold.
func forget(js jetstream.JetStream, consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = js.DeleteConsumer(ctx, mayfly.StreamLogs, consumer.CachedInfo().Name)
}
