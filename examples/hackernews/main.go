// Hackernews fetches the top stories of HackerNews, stores them in NATS and ranks
// those of the last 24 hours by points.
//
//	NATS_URL     address of NATS; by default nats://127.0.0.1:4222
//	HN_BASE_URL  address of HackerNews; by default https://hacker-news.firebaseio.com/v0
//
//	fetch ──ids──► work queue ──► process ──posts──► KV ──► sort ──report──► Object Store ──► top, page
//	                   ▲             │
//	                   └─retry───────┴─give up──► dead letters
//
// It is an ordinary NATS micro service that knows nothing of HTTP servers or Mayfly.
// Its endpoints' metadata says which HTTP requests they accept. Start it twice and
// the two share the work.
//
// All its state is in NATS. Kill it, or NATS, at any moment: what was queued is still
// queued, and unfinished work is done again.
//
// Invariants, and the tests that guard them:
//   - two fetches at once queue each item once: TestTwoFetchesAtOnceQueueEachItemOnce
//   - no story is lost to errors: TestErrorsOfHackerNewsLoseNoStory
//   - none to a crash of the service: TestKilledServiceLosesNoStory
//   - none to a restart of NATS: TestRestartOfNATSLosesNoStory
//   - one bad item blocks no other, and becomes a dead letter: TestAnItemThatNeverAnswersHoldsUpNobody
package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal drains, the second kills

	err := run(ctx, options{
		natsURL: cmp.Or(os.Getenv("NATS_URL"), nats.DefaultURL),
		baseURL: cmp.Or(os.Getenv("HN_BASE_URL"), "https://hacker-news.firebaseio.com/v0"),
		pace:    normalPace(),
		log:     log,
	})
	if err != nil {
		log.Error("hackernews failed", "err", err)
		os.Exit(1)
	}
}

// options come from the environment; tests change them.
type options struct {
	natsURL string
	baseURL string
	pace    pace
	log     *slog.Logger
}

// A pace is the timing. Tests use a faster one.
type pace struct {
	try   time.Duration // one request to HackerNews
	again time.Duration // before its second try; doubles with each
	retry time.Duration // before an item is redelivered; doubles with each
	ack   time.Duration // after which an unfinished item goes to another worker
	idle  time.Duration // without an item, before the posts are sorted
}

func normalPace() pace {
	return pace{
		try:   3 * time.Second,
		again: 250 * time.Millisecond,
		retry: time.Second,
		ack:   20 * time.Second,
		idle:  time.Second,
	}
}

// run serves until ctx is done, then finishes its work. Only an error ends it
// earlier; a NATS outage does not, however long.
func run(ctx context.Context, o options) error {
	hn, err := newClient(o.baseURL, o.pace)
	if err != nil {
		return err
	}
	defer hn.close()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nc, closed, err := connect(o, cancel)
	if err != nil {
		return err
	}
	defer func() { nc.Close(); <-closed }()

	// A listed service must be able to serve, so its state comes first.
	state, err := openState(ctx, nc, o.pace, o.log)
	if err != nil {
		return ended(ctx, nc, err)
	}
	p := &processor{hn: hn, state: state, pace: o.pace, log: o.log}
	s, err := serve(ctx, nc, p)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	p.run(ctx)
	if err := ended(ctx, nc, nil); err != nil {
		return err
	}
	return s.stop(closed)
}

// connect returns a connection that waits for a server and always reconnects, and a
// channel that is closed when the connection closes for good, after gone was called.
func connect(o options, gone func()) (*nats.Conn, <-chan struct{}, error) {
	log, closed := o.log, make(chan struct{})
	nc, err := nats.Connect(o.natsURL,
		nats.Name(serviceName),
		nats.RetryOnFailedConnect(true), // NATS may start after us
		nats.MaxReconnects(-1),          // and restart any number of times
		nats.ReconnectWait(500*time.Millisecond),
		nats.PingInterval(20*time.Second), // detects a stalled server
		nats.ConnectHandler(func(nc *nats.Conn) { log.Info("connected", "nats", nc.ConnectedUrlRedacted()) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("reconnected", "nats", nc.ConnectedUrlRedacted()) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // else we closed it
				log.Warn("disconnected", "err", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Error("nats error", "err", err) }),
		nats.ClosedHandler(func(*nats.Conn) { gone(); close(closed) }),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	if !nc.IsConnected() {
		log.Warn("waiting for nats")
	}
	return nc, closed, nil
}

// ended returns why the service cannot go on: nil if it was asked to stop.
func ended(ctx context.Context, nc *nats.Conn, err error) error {
	switch {
	case nc.IsClosed(): // NATS rejected the login twice
		return fmt.Errorf("connection closed: %w", cmp.Or(nc.LastError(), nats.ErrConnectionClosed))
	case ctx.Err() != nil:
		return nil
	}
	return err
}
