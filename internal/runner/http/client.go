package httpengine

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly"
)

const (
	// grace is how long the reply of a process that has ended may still be under
	// way, and how late the line of a call may come.
	grace = 100 * time.Millisecond

	// postMortem is how long a connection's end waits to be explained by the end of
	// its process, which is known when the last line of output was read.
	postMortem = 400 * time.Millisecond
)

// A client makes calls to one function over connections that it keeps.
type client struct {
	network, address string
	timeout          time.Duration // until the reply's head, of a call without a deadline
	idleTimeout      time.Duration // between two reads of a streamed body

	// gone is closed when the process behind the address has ended; why tells how
	// afterwards, for a call that began at that time.
	gone <-chan struct{}
	why  func(call string, since time.Time) error

	uploads sync.WaitGroup // grows only while the client is not closed

	mu     sync.Mutex
	closed bool
	idle   []*conn // the last one was used last
	calls  []*conn // that carry a call now
	crowd  bool    // there were others since the first of calls began
	last   string  // call that ended last, if it was alone
	ended  time.Time
}

// call makes one call. It is made again, on a new connection, if the one that was
// kept turns out to have been closed meanwhile: then the function has not read it.
func (c *client) call(ctx context.Context, m *mayfly.Call) (mayfly.Reply, error) {
	began := time.Now()
	if err := ctx.Err(); err != nil { // a connection may be faster than the watch over it
		return mayfly.Reply{}, c.explain(ctx, m.ID, began, err)
	}
	deadline := callDeadline(ctx, m, began, c.timeout)
	cn, err := c.take(ctx, m.ID, deadline)
	if err != nil {
		return mayfly.Reply{}, c.explain(ctx, m.ID, began, err)
	}
	cn.began = began
	kept := cn.kept
	if cn.out, err = appendRequest(cn.out[:0], m, deadline); err != nil {
		cn.release(true)
		return mayfly.Reply{}, err
	}
	head := cn.out
	reply, err := cn.exchange(ctx, m, deadline)
	if _, again := errors.AsType[unread](err); again && kept && m.Stream == nil {
		if cn, err = c.dial(ctx, m.ID, deadline); err == nil {
			cn.out, cn.began = head, began
			reply, err = cn.exchange(ctx, m, deadline)
		}
	}
	if err != nil {
		return mayfly.Reply{}, c.explain(ctx, m.ID, began, err)
	}
	return reply, nil
}

// take returns a connection for a call: the one that was used last, or a new one.
func (c *client) take(ctx context.Context, id string, deadline time.Time) (*conn, error) {
	c.mu.Lock()
	var cn *conn
	if last := len(c.idle) - 1; last >= 0 && !c.closed {
		cn = c.idle[last]
		c.idle = c.idle[:last]
		c.begin(cn, id)
	}
	c.mu.Unlock()
	switch {
	case cn == nil:
		return c.dial(ctx, id, deadline)
	case cn.probe.stale():
		cn.release(false)
		return c.dial(ctx, id, deadline)
	}
	return cn, nil
}

// dial returns a new connection. A socket whose queue is full, which takes five
// with some servers, is tried until it has room.
func (c *client) dial(ctx context.Context, id string, deadline time.Time) (*conn, error) {
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, c.network, c.address)
	for wait := time.Millisecond; errors.Is(err, syscall.EAGAIN); wait = min(2*wait, 50*time.Millisecond) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.gone:
			return nil, err
		case <-time.After(wait):
			raw, err = d.DialContext(ctx, c.network, c.address)
		}
	}
	if err != nil {
		return nil, err
	}
	cn := newConn(c, raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = raw.Close()
		return nil, net.ErrClosed
	}
	c.begin(cn, id)
	return cn, nil
}

// begin enters a call that cn carries. mu is held.
func (c *client) begin(cn *conn, id string) {
	c.crowd = len(c.calls) > 0
	cn.id, cn.slot, cn.waiting = id, len(c.calls), true
	c.calls = append(c.calls, cn)
}

// answered says that the reply to cn's call has begun.
func (c *client) answered(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cn.waiting = false
}

// put ends the call that cn carries, and keeps cn for another if it can be reused.
func (c *client) put(cn *conn, reuse bool) {
	c.mu.Lock()
	last := len(c.calls) - 1
	c.calls[cn.slot] = c.calls[last]
	c.calls[cn.slot].slot = cn.slot
	c.calls[last] = nil
	c.calls = c.calls[:last]
	if last == 0 {
		c.last, c.ended = cn.id, time.Now()
		if c.crowd {
			c.last = ""
		}
	}
	cn.kept = true
	keep := reuse && !c.closed
	switch {
	case keep:
		c.idle = append(c.idle, cn)
	case reuse:
		_ = cn.Close()
	}
	c.mu.Unlock()
}

// speaker returns the id of the call that a line of output belongs to, where there
// is no doubt: the only one there is, or was a moment ago.
func (c *client) speaker() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.calls) == 1:
		return c.calls[0].id
	case len(c.calls) == 0 && time.Since(c.ended) < grace:
		return c.last
	}
	return ""
}

// goUpload runs an upload, unless the client is closed.
func (c *client) goUpload(run func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.uploads.Go(run)
	}
	return !c.closed
}

// close begins no call any more. Calls that are under way go on.
func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, cn := range c.idle {
		_ = cn.Close()
	}
	c.idle = nil
}

// awaits reports whether there are calls whose reply has not begun.
func (c *client) awaits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.calls, func(cn *conn) bool { return cn.waiting })
}

// abandon ends the calls whose reply has not begun. Bodies that were begun may
// still lie in their sockets; they end by themselves.
func (c *client) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cn := range c.calls {
		if cn.waiting {
			_ = cn.Close()
		}
	}
}

// explain makes of whatever left a call without a reply an error that says so.
func (c *client) explain(ctx context.Context, call string, began time.Time, err error) error {
	_, said := errors.AsType[*mayfly.Error](err)
	switch {
	case ctx.Err() != nil:
		return mayfly.Errorf(mayfly.Timeout, "the call ended before the reply: %w", context.Cause(ctx))
	case said:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return mayfly.Errorf(mayfly.Timeout, "the function did not reply in time").
			WithHint("raise its timeout: in mayfly.yaml, or see in its log what it waits for")
	}
	return c.broken(call, began, err)
}

// broken says why a connection came to its end in a call, or to no beginning.
func (c *client) broken(call string, began time.Time, err error) error {
	text := "the function closed the connection before it replied"
	switch {
	case c.hasGone():
		return c.why(call, began)
	case errors.Is(err, syscall.ECONNREFUSED):
		text = "the function takes no connections any more"
	case errors.Is(err, io.ErrUnexpectedEOF):
		text = "the function closed the connection in the middle of its reply"
	}
	return &mayfly.Error{Code: mayfly.Crashed, Message: text, Err: err}
}

// hasGone reports whether the process has ended. Its connections end a moment
// before that is known.
func (c *client) hasGone() bool {
	if c.gone == nil {
		return false
	}
	timer := time.NewTimer(postMortem)
	defer timer.Stop()
	select {
	case <-c.gone:
		return true
	case <-timer.C:
		return false
	}
}

// open makes the client one of an address, over the first connection to it.
func (c *client) open(a address, raw net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.network, c.address = a.network, a.address
	if c.closed {
		_ = raw.Close()
		return
	}
	cn := newConn(c, raw)
	cn.kept = true // it may lie until the program is tired of it
	c.idle = append(c.idle, cn)
}
