package front

import (
	"sync"
	"time"
)

// watchAfter is how long a handler runs before its client is watched: nearly all finish
// sooner, and then a watch only costs setting a timer.
const watchAfter = 20 * time.Millisecond

// A watch notices when a client disconnects during its request, and cancels the
// request's context. It does so by reading ahead: what arrives is the next request,
// and is kept. Nothing else may read at the same time, so it starts when the request's
// body has been read, and ends with the request.
//
//	off ──arm──► armed ──timer──► reading ──read──► off
//	 ▲             │                 │
//	 └───disarm────┴─────disarm──────┘
type watch struct {
	timer *time.Timer // runs conn.watch

	mu      sync.Mutex
	state   watchState
	stopped *sync.Cond // state is no longer reading
	aborted bool       // disarm ends the read
	turn    *turn      // the request's; nil between requests
}

type watchState int

const (
	watchOff watchState = iota
	watchArmed
	watchReading
)

// arm schedules the watch.
func (c *conn) arm() {
	w := &c.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == watchOff && w.turn != nil {
		w.state = watchArmed
		if w.timer == nil {
			w.timer = time.AfterFunc(watchAfter, c.watch)
			return
		}
		w.timer.Reset(watchAfter)
	}
}

// watch runs in the timer's goroutine; disarm waits for it. A timer stopped too late
// starts it early for the next request, which is harmless.
func (c *conn) watch() {
	w := &c.watcher
	w.mu.Lock()
	if w.state != watchArmed || !c.makeRoom() {
		w.mu.Unlock()
		return
	}
	w.state = watchReading
	c.reads.impose(time.Time{}) // disconnecting takes its time
	w.mu.Unlock()

	n, err := c.net.Read(c.buf[c.end:])

	w.mu.Lock()
	defer w.mu.Unlock()
	c.end += n
	if err != nil && !(w.aborted && isTimeout(err)) {
		c.readErr = err
		if w.turn != nil {
			w.turn.End(nil)
		}
	}
	w.state = watchOff
	w.stopped.Broadcast()
}

// disarm ends the watch. Afterwards the buffer belongs to the caller again.
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

// longAgo as a deadline interrupts a waiting read.
var longAgo = time.Unix(1, 0)

// begin sets the current request, or nil.
func (w *watch) begin(t *turn) {
	w.mu.Lock()
	w.turn = t
	w.mu.Unlock()
}

// leave cancels the current request's context: its client is gone.
func (w *watch) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.turn != nil {
		w.turn.End(nil)
	}
}
