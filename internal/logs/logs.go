package logs

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	interval = 100 * time.Millisecond // how long lines wait for others
	again    = 250 * time.Millisecond // until a failed batch is retried
	goodbye  = 2 * time.Second        // how long Close tries
)

// Options are those of Open.
type Options struct {
	Log *slog.Logger // discards if nil
}

// Logs are the lines of all instances on a bus.
type Logs struct {
	bus *bus.Bus
	log *slog.Logger

	mu      sync.Mutex
	waiting *waiting
	closed  bool
	stats   Stats

	wake    chan struct{} // signals that there are lines; holds one signal
	closing chan struct{} // closed by Close
	giveUp  context.CancelFunc
	writer  sync.WaitGroup
}

// Stats count what was appended since Open.
type Stats struct {
	Lines   uint64
	Dropped uint64 // of them, those not stored: written too fast, or NATS was unreachable or too slow
}

// Open creates the stream if it is missing. It keeps lines for a week, within 5 % of
// the store. Close the logs before the bus, and
// after whatever writes lines. Errors: Unavailable, Exhausted.
func Open(ctx context.Context, b *bus.Bus, o Options) (*Logs, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if err := b.Keep(ctx, state); err != nil {
		return nil, err
	}
	writing, giveUp := context.WithCancel(context.Background())
	l := &Logs{
		bus: b, log: o.Log, waiting: newWaiting(b.MaxPayload()),
		wake: make(chan struct{}, 1), closing: make(chan struct{}), giveUp: giveUp,
	}
	l.writer.Go(func() { l.write(writing) })
	return l, nil
}

// Append queues a line for storage. It never blocks: if there are too many it drops the
// line and counts it, and the log says so once it can. It is safe for concurrent use.
func (l *Logs) Append(line mayfly.Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Lines++
	if l.closed || !l.waiting.add(line, time.Now()) {
		l.stats.Dropped++
		return
	}
	l.signal()
}

// signal wakes the writer.
func (l *Logs) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Stats returns the counts.
func (l *Logs) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Close stores what was appended, or gives up after 2 seconds without NATS.
func (l *Logs) Close() error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	if first {
		close(l.closing)
	}
	late := time.AfterFunc(goodbye, l.giveUp)
	defer late.Stop()
	l.writer.Wait()
	return nil
}

// write stores lines until Close. It sleeps while there are none and the window is over.
func (l *Logs) write(ctx context.Context) {
	defer l.giveUp()
	for {
		select {
		case <-l.wake:
		case <-l.closing:
			l.flush(ctx, true)
			return
		}
		select {
		case <-time.After(interval):
		case <-l.closing:
		}
		l.flush(ctx, false)
	}
}

// flush stores the queued lines, or loses them when ctx ends. Lines appended meanwhile
// wait for the next flush.
func (l *Logs) flush(ctx context.Context, last bool) {
	maxPayload := l.bus.MaxPayload() // not under the lock: it may take as long as a dial
	l.mu.Lock()
	l.waiting.fit(maxPayload)
	messages, lines := l.waiting.take(time.Now(), last)
	if len(l.waiting.order) > 0 {
		l.signal() // the window goes on
	}
	l.mu.Unlock()
	if len(messages) == 0 {
		return
	}
	for ctx.Err() == nil {
		err := l.bus.Retry(ctx, "store lines", func(ctx context.Context, js jetstream.JetStream) error {
			return l.publish(ctx, js, messages)
		})
		if err == nil {
			return
		}
		l.log.Debug("lines not stored yet", "err", err)
		select {
		case <-time.After(again):
		case <-ctx.Done():
		}
	}
	l.mu.Lock()
	l.stats.Dropped += uint64(lines)
	l.mu.Unlock()
	l.log.Warn("lines lost at shutdown", "err", "NATS did not accept them")
}

// publish sends all messages and waits for the reply to the last one: a connection
// keeps their order, so the server has the others by then. Each has an id, so a retry
// stores none of them twice.
func (l *Logs) publish(ctx context.Context, js jetstream.JetStream, messages []*nats.Msg) error {
	n := len(messages) - 1
	for _, m := range messages[:n] {
		if err := js.Conn().PublishMsg(m); err != nil {
			return err
		}
	}
	_, err := js.PublishMsg(ctx, messages[n], jetstream.WithRetryAttempts(0))
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		// The server came back without its store.
		if e := l.bus.Keep(ctx, state); e != nil {
			return e
		}
	}
	return err
}
