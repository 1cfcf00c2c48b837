package bus

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
)

const (
	syncWait  = 30 * time.Second       // for the process that runs the server: a slow disk takes seconds
	syncTry   = 5 * time.Second        // then ask again: it may have restarted
	syncPause = 250 * time.Millisecond // before the next try if it is unreachable

	commitDelay = time.Second // of a commit without waiters
)

// Sync returns when everything that JetStream acknowledged before the call would
// survive a power loss. JetStream itself syncs its files later than it acknowledges.
//
// The store of our own server is synced here, with one system call for all waiters.
// If another Mayfly runs the server, that one is asked. Any other server is its
// operator's responsibility, and Sync returns nil at once.
//
// If ctx ends, Sync returns an error with code Timeout, and the commit goes on.
//
// A disk error is permanent: the system may have dropped what it could not write,
// and a second try would succeed without it. See Broken.
func (b *Bus) Sync(ctx context.Context) error {
	if b.committer != nil {
		return b.committer.sync(ctx)
	}
	ctx, stop := b.untilRefused(ctx)
	defer stop()
	for end := time.Now().Add(syncWait); ; {
		m, err := b.core.request(ctx, &nats.Msg{Subject: mayfly.SubjectSync}, time.Now().Add(syncTry), meaningless)
		switch {
		case err == nil:
			b.synced.Store(true)
			_, err = decode(m)
			return err
		case refusal(ctx) != nil, errors.Is(err, mayfly.ErrNobody) && !b.synced.Load():
			return nil // not a Mayfly server; one that has answered before is restarting
		case ctx.Err() != nil:
			return Fault("sync the store", ctx.Err())
		case time.Now().After(end):
			return &mayfly.Error{
				Code: mayfly.CodeOf(err), Err: err,
				Message: "the change was stored, but may not survive a power loss: the node that runs the NATS server does not answer",
				Hint:    "check that node, then try again",
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(syncPause):
		}
	}
}

// Broken is closed when the store can no longer be trusted; Ready says why. It is nil
// if the server is not ours.
func (b *Bus) Broken() <-chan struct{} {
	if b.committer == nil {
		return nil
	}
	return b.committer.broken
}

// A committer syncs one store, one commit at a time. A caller that arrives during a
// commit waits for the next: this one may have missed its write. All waiters of the
// next share it.
type committer struct {
	log    *slog.Logger
	folder *os.File // of the store
	cancel context.CancelFunc
	done   sync.WaitGroup
	wake   chan struct{} // holds one
	broken chan struct{} // closed after the first failed commit

	mu      sync.Mutex
	commit  func() error // makes earlier writes durable
	next    *commit      // not started yet; nil without waiters
	failure error        // the first; there is no commit after it
}

// A commit is shared by all its waiters. err is set before done is closed.
type commit struct {
	done  chan struct{}
	err   error
	asked []*nats.Msg // requests of other processes, answered at the end
}

// openCommitter opens the store's folder before the first write and keeps it open: the
// system does not report errors from before the open.
func openCommitter(store string, log *slog.Logger) (*committer, error) {
	folder, err := os.Open(store)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Unavailable, "cannot read the store %s: %w", store, cause(err)).
			WithHint("give the folder to this user, or choose another with --data")
	}
	c := newCommitter(func() error { return syncFolder(folder) }, log)
	c.folder = folder
	return c, nil
}

func newCommitter(f func() error, log *slog.Logger) *committer {
	ctx, cancel := context.WithCancel(context.Background())
	c := &committer{commit: f, log: log, cancel: cancel, wake: make(chan struct{}, 1), broken: make(chan struct{})}
	c.done.Go(func() { c.work(ctx) })
	return c
}

// sync waits for a commit that begins after the call.
func (c *committer) sync(ctx context.Context) error {
	next := c.join(nil)
	select {
	case <-next.done:
		return next.err
	case <-ctx.Done():
		return Fault("sync the store", ctx.Err())
	}
}

// soon commits after a second, without a waiter: a starting node creates several states
// at once, and a busy disk would slow that down.
func (c *committer) soon() { time.AfterFunc(commitDelay, func() { c.join(nil) }) }

// ask takes the request of another process. It does not wait, because it runs on the
// connection's goroutine.
func (c *committer) ask(m *nats.Msg) {
	if m.Reply != "" {
		c.join(m)
	}
}

// join returns the next commit, which answers question unless that is nil.
func (c *committer) join(question *nats.Msg) *commit {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = &commit{done: make(chan struct{})}
	}
	next := c.next
	if question != nil {
		next.asked = append(next.asked, question)
	}
	if c.failure != nil { // perhaps the worker has ended
		c.next = nil
		c.finish(next, c.failure)
		return next
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return next
}

// work commits until ctx ends, then once more for the remaining waiters.
func (c *committer) work(ctx context.Context) {
	for {
		select {
		case <-c.wake:
			c.run()
		case <-ctx.Done():
			c.run()
			c.fail(mayfly.Errorf(mayfly.Unavailable, "the store is closed"))
			c.run()
			return
		}
	}
}

// run commits for the current waiters.
func (c *committer) run() {
	c.mu.Lock()
	now, commit, err := c.next, c.commit, c.failure
	c.next = nil // later callers are too late for this one
	c.mu.Unlock()
	if now == nil {
		return
	}
	if err == nil {
		if err = commit(); err != nil {
			err = mayfly.Errorf(mayfly.Internal, "writing to disk failed: %w", err).
				WithHint("check the disk and the system log; the latest changes may be lost; then restart Mayfly")
			c.fail(err)
			close(c.broken)
		}
	}
	c.finish(now, err)
}

// finish gives all waiters of a commit its result.
func (c *committer) finish(done *commit, err error) {
	done.err = err
	close(done.done)
	for _, m := range done.asked {
		answer := &nats.Msg{Subject: m.Reply}
		if err != nil {
			answer.Header = faultHeader(err)
		}
		if err := m.RespondMsg(answer); err != nil {
			c.log.Debug("answer not sent", "subject", m.Subject, "err", err)
		}
	}
}

// fail keeps the first failure.
func (c *committer) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		c.failure = err
	}
}

// err returns why the store is broken, or nil.
func (c *committer) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// close stops the worker after a last commit for the remaining waiters.
func (c *committer) close() {
	c.cancel()
	c.done.Wait()
	c.folder.Close()
}
