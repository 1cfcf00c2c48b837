package front

import (
	"context"
	"sync"
	"time"
)

// watchAfter is how long a handler runs before its client is watched: nearly all
// are done before, and then a watch costs no more than setting a timer.
const watchAfter = 20 * time.Millisecond

// A watch sees a client leave while its request is worked on, and ends the
// request's context then. It does so by reading on: what comes is the next
// request, and is kept. While it reads nobody else may, so it begins when the
// request's body is read to its end, and ends with the request.
//
//	off ──arm──► armed ──timer──► reading ──read──► off
//	 ▲             │                 │
//	 └───disarm────┴─────disarm──────┘
type watch struct {
	timer *time.Timer // runs conn.watch

	mu      sync.Mutex
	state   watchState
	stopped *sync.Cond         // when state is no longer reading
	aborted bool               // disarm ends the read
	cancel  context.CancelFunc // of the request's context; nil between requests
}

type watchState int

const (
	watchOff watchState = iota
	watchArmed
	watchReading
)

// arm lets the watch begin soon.
func (c *conn) arm() {
	w := &c.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == watchOff && w.cancel != nil {
		w.state = watchArmed
		if w.timer == nil {
			w.timer = time.AfterFunc(watchAfter, c.watch)
			return
		}
		w.timer.Reset(watchAfter)
	}
}

// watch is run by the timer, in a goroutine of its own; disarm waits for it. A
// timer that was stopped too late starts it for the next request, which is early
// but no harm.
func (c *conn) watch() {
	w := &c.watcher
	w.mu.Lock()
	if w.state != watchArmed || !c.makeRoom() {
		w.mu.Unlock()
		return
	}
	w.state = watchReading
	c.reads.impose(time.Time{}) // leaving takes its time
	w.mu.Unlock()

	n, err := c.net.Read(c.buf[c.end:])

	w.mu.Lock()
	defer w.mu.Unlock()
	c.end += n
	if err != nil && !(w.aborted && isTimeout(err)) {
		c.readErr = err
		if w.cancel != nil {
			w.cancel()
		}
	}
	w.state = watchOff
	w.stopped.Broadcast()
}

// disarm ends the watch. When it returns the buffer is the caller's again.
func (c *conn) disarm() {
	w := &c.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.state {
	case watchArmed:
		w.timer.Stop()
		w.state = watchOff
	case watchReading:
		w.aborted = true
		c.reads.impose(longAgo)
		for w.state == watchReading {
			w.stopped.Wait()
		}
		w.aborted = false
	}
}

// longAgo as a deadline ends a read that waits.
var longAgo = time.Unix(1, 0)

// begin makes cancel what ends the present request's context.
func (w *watch) begin(cancel context.CancelFunc) {
	w.mu.Lock()
	w.cancel = cancel
	w.mu.Unlock()
}

// leave ends the present request's context: its client is gone.
func (w *watch) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel()
	}
}
