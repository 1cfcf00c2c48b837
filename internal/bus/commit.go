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

// syncWait is how long the process with the server may take for a commit: a slow
// disk with much to write takes seconds.
const syncWait = 30 * time.Second

// Another process is asked again after syncTry, because it may have been killed and
// started anew meanwhile, and after syncPause where it cannot be reached.
const (
	syncTry   = 5 * time.Second
	syncPause = 250 * time.Millisecond
)

// lull is how long a commit that nobody waits for is put off.
const lull = time.Second

// Sync returns when all that JetStream has acknowledged before would survive a
// power loss. JetStream itself syncs its files later than it acknowledges.
//
// A server of our own is synced here, with one call of the system for all who wait.
// Where it is another Mayfly's that one is asked; any other server is its
// operator's to look after, and Sync returns nil at once.
//
// The error of a disk is for ever: the system may have dropped what it could not
// write, and a second try would succeed without it. See Broken.
func (b *Bus) Sync() error {
	if b.steward != nil {
		return b.steward.commits.sync()
	}
	ctx, stop := b.untilRefused(context.Background())
	defer stop()
	for end := time.Now().Add(syncWait); ; time.Sleep(syncPause) {
		m, err := b.links[0].request(ctx, &nats.Msg{Subject: mayfly.SubjectSync}, time.Now().Add(syncTry))
		switch {
		case err == nil:
			b.synced.Store(true)
			_, err = decode(m)
			return err
		case refusal(ctx) != nil, errors.Is(err, mayfly.ErrNobody) && !b.synced.Load():
			return nil // no server of ours; one that has answered once only starts anew
		case time.Now().After(end):
			return &mayfly.Error{
				Code: mayfly.CodeOf(err), Err: err,
				Message: "what was stored is not known to survive a power loss: the node that runs the NATS server does not answer",
				Hint:    "look at that node, then do it again",
			}
		}
	}
}

// Broken is closed when the store cannot be trusted any more; Ready says why. On
// somebody else's server it never is.
func (b *Bus) Broken() <-chan struct{} {
	if b.steward == nil {
		return nil
	}
	return b.steward.commits.broken
}

// commits are the syncs of one store. Who comes while one runs waits for the next:
// what he has written may have come too late for it. All who wait for the next
// share it.
type commits struct {
	commit func() error  // makes durable what was written before it began
	turn   chan struct{} // held by the one that runs
	broken chan struct{} // closed after the first error

	mu      sync.Mutex
	next    *commit // has not begun; nil if nobody waits
	failure error   // the first
}

// A commit is one of them. err is set before done is closed.
type commit struct {
	done chan struct{}
	err  error
}

func newCommits(f func() error) *commits {
	return &commits{commit: f, turn: make(chan struct{}, 1), broken: make(chan struct{})}
}

func (c *commits) sync() error {
	c.mu.Lock()
	mine := c.next
	if mine != nil {
		c.mu.Unlock()
		<-mine.done
		return mine.err
	}
	mine = &commit{done: make(chan struct{})}
	c.next = mine
	c.mu.Unlock()

	c.turn <- struct{}{}
	c.mu.Lock()
	c.next = nil // whoever comes from here on is too late for this one
	mine.err = c.failure
	c.mu.Unlock()
	if mine.err == nil {
		mine.err = c.run()
	}
	<-c.turn
	close(mine.done)
	return mine.err
}

// run commits once. The caller has the turn.
func (c *commits) run() error {
	err := c.commit()
	if err == nil {
		return nil
	}
	err = mayfly.Errorf(mayfly.Internal, "the disk does not keep what is written to it: %w", err).
		WithHint("look at the disk and the system's log; what was stored last may be lost; then start Mayfly again")
	c.mu.Lock()
	c.failure = err
	c.mu.Unlock()
	close(c.broken)
	return err
}

// err returns why the store is broken, or nil.
func (c *commits) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// A steward commits for other processes, and what nobody waits for.
type steward struct {
	commits *commits
	log     *slog.Logger
	folder  *os.File // of the store
	cancel  context.CancelFunc
	done    sync.WaitGroup
	wake    chan struct{} // holds one

	mu    sync.Mutex
	asked []*nats.Msg // questions that wait for the next commit
}

// openSteward keeps the folder of the store open from before the first write: of
// what happened earlier the system would not tell.
func openSteward(store string, log *slog.Logger) (*steward, error) {
	folder, err := os.Open(store)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Unavailable, "the store %s cannot be read: %w", store, cause(err)).
			WithHint("give the folder to this user, or choose another with --data")
	}
	s := &steward{
		commits: newCommits(func() error { return syncFolder(folder) }),
		folder:  folder, log: log, wake: make(chan struct{}, 1),
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.done.Go(func() { s.work(ctx) })
	return s, nil
}

// soon commits when a second has passed, without anybody waiting for it: at a start
// more is made at once, and a disk that is busy would make it slow.
func (s *steward) soon() { time.AfterFunc(lull, s.nudge) }

func (s *steward) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// ask takes the question of another process. It does not wait: it runs in the
// connection's goroutine.
func (s *steward) ask(m *nats.Msg) {
	if m.Reply == "" {
		return // nobody wants to know
	}
	s.mu.Lock()
	s.asked = append(s.asked, m)
	s.mu.Unlock()
	s.nudge()
}

// work answers all that asked with one commit, until ctx ends.
func (s *steward) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		s.mu.Lock()
		asked := s.asked
		s.asked = nil
		s.mu.Unlock()
		err := s.commits.sync()
		for _, m := range asked {
			answer := &nats.Msg{Subject: m.Reply}
			if err != nil {
				answer.Header = faultHeader(err)
			}
			if err := m.RespondMsg(answer); err != nil {
				s.log.Debug("answer not sent", "subject", m.Subject, "err", err)
			}
		}
	}
}

// close ends the work. A commit that runs is waited for; there is none afterwards.
func (s *steward) close() {
	s.cancel()
	s.done.Wait()
	s.commits.turn <- struct{}{}
	s.commits.mu.Lock()
	if s.commits.failure == nil {
		s.commits.failure = mayfly.Errorf(mayfly.Unavailable, "the store is closed")
	}
	s.commits.mu.Unlock()
	<-s.commits.turn
	s.folder.Close()
}
