package bus

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
)

// replies routes the messages of one wildcard inbox to their waiting calls. It replaces
// nats.go's multiplexer, which leaks its slot when a publish fails, loses its waiters
// when a connection is replaced, and has no inbox for many answers. It is as fast, not
// faster: BenchmarkCall. The waiting calls are spread over shards.
//
//	publish, reply = <prefix><token>        <prefix>* ──► deliver ──► waiter
//
// A token is used once, so a late or duplicate answer has no waiter. It is random: a
// service sees the inbox of the call it serves and must not be able to derive the inbox
// of another call.
type replies struct {
	prefix string        // "_INBOX.<unique>."
	late   atomic.Uint64 // messages without a waiter
	deaf   func() bool   // reports whether messages may have been lost
	shards [32]shard

	mu        sync.RWMutex
	listeners map[string]func(*nats.Msg) // by token; those that want more than one message
}

type shard struct {
	mu      sync.Mutex
	waiting map[uint64]*waiter
	_       [40]byte // a cache line each, against false sharing
}

// A waiter is where one call waits. It is reused: its channel and timer are empty
// while it is in the pool.
type waiter struct {
	token uint64
	reply chan *nats.Msg // holds one
	timer *time.Timer

	silence meaning   // set before the call is sent
	heard   time.Time // when the last sign of life came; guarded by the shard
	node    string    // that sent it; "" before the first
}

var waiters = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &waiter{reply: make(chan *nats.Msg, 1), timer: t}
}}

// newReplies returns the multiplexer for all subjects below inbox.
func newReplies(inbox string) *replies {
	r := &replies{prefix: inbox + ".", listeners: map[string]func(*nats.Msg){}}
	for i := range r.shards {
		r.shards[i].waiting = map[uint64]*waiter{}
	}
	return r
}

func (r *replies) shard(token uint64) *shard { return &r.shards[token%uint64(len(r.shards))] }

// register takes a waiter and returns it with the inbox to answer to.
func (r *replies) register(silence meaning) (*waiter, string) {
	w := waiters.Get().(*waiter)
	w.token, w.silence, w.heard, w.node = rand.Uint64(), silence, time.Time{}, ""
	s := r.shard(w.token)
	s.mu.Lock()
	s.waiting[w.token] = w
	s.mu.Unlock()
	inbox := make([]byte, 0, 64)
	inbox = append(inbox, r.prefix...)
	return w, string(strconv.AppendUint(inbox, w.token, 36))
}

// await returns the reply to w's inbox, or the error of whichever comes first:
// the context's end, context.DeadlineExceeded at the deadline, if there is one, or
// silence, if it means something. The waiter returns to the pool.
func (r *replies) await(ctx context.Context, w *waiter, deadline time.Time) (*nats.Msg, error) {
	now, wake := time.Now(), deadline
	if w.silence != meaningless {
		wake = earlier(deadline, now.Add(silenceLimit))
	}
	for {
		if !wake.IsZero() {
			w.timer.Reset(wake.Sub(now))
		}
		select {
		case m := <-w.reply:
			w.timer.Stop()
			waiters.Put(w)
			return m, nil
		case <-ctx.Done():
			return r.giveUp(w, ctx.Err())
		case <-w.timer.C:
			now = time.Now() // the timer tells when it was due
			if !deadline.IsZero() && !now.Before(deadline) {
				return r.giveUp(w, context.DeadlineExceeded)
			}
			next, node := r.listenFor(w, wake, now)
			if next.IsZero() {
				return r.giveUp(w, silence{node})
			}
			wake = earlier(deadline, next)
		}
	}
}

// giveUp ends a wait. If deliver was faster, its message is a reply all the same.
func (r *replies) giveUp(w *waiter, why error) (*nats.Msg, error) {
	w.timer.Stop()
	s := r.shard(w.token)
	s.mu.Lock()
	_, ours := s.waiting[w.token]
	delete(s.waiting, w.token)
	s.mu.Unlock()
	var m *nats.Msg
	if !ours {
		m, why = <-w.reply, nil // deliver has taken it and is about to send
	}
	waiters.Put(w)
	return m, why
}

// deliver is the subscription's callback; it never blocks.
func (r *replies) deliver(m *nats.Msg) {
	text := strings.TrimPrefix(m.Subject, r.prefix)
	token, err := strconv.ParseUint(text, 36, 64)
	if err != nil { // a listener's token starts with a dash
		r.mu.RLock()
		listen := r.listeners[text]
		r.mu.RUnlock()
		if listen == nil {
			r.late.Add(1)
			return
		}
		listen(m)
		return
	}
	s := r.shard(token)
	s.mu.Lock()
	w := s.waiting[token]
	if w != nil && w.silence != meaningless && sign(m) {
		w.heard, w.node = time.Now(), m.Header.Get(mayfly.HeaderWorking)
		s.mu.Unlock()
		return
	}
	delete(s.waiting, token)
	s.mu.Unlock()
	if w == nil {
		r.late.Add(1)
		return
	}
	w.reply <- m
}

// listen passes every message to a fresh inbox to f, one at a time, until stop is
// called. f must not block: it holds up all replies.
func (r *replies) listen(f func(*nats.Msg)) (inbox string, stop func()) {
	token := "-" + strconv.FormatUint(rand.Uint64(), 36)
	r.mu.Lock()
	r.listeners[token] = f
	r.mu.Unlock()
	return r.prefix + token, func() {
		r.mu.Lock()
		delete(r.listeners, token)
		r.mu.Unlock()
	}
}

// listening returns how many inboxes take more than one message.
func (r *replies) listening() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.listeners)
}

// waitingNow returns how many calls wait.
func (r *replies) waitingNow() int {
	n := 0
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		n += len(s.waiting)
		s.mu.Unlock()
	}
	return n
}
