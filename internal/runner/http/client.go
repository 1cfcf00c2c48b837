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
	"github.com/mayfly-run/mayfly/internal/head"
)

const (
	// grace is how long a reply or a line of a call may arrive after the process
	// has ended.
	grace = 100 * time.Millisecond

	// postMortem is how long a closed connection waits for its process's exit to
	// explain it; the exit is known once the last line of output is read.
	postMortem = 400 * time.Millisecond
)

// A client makes calls to one function over connections it keeps.
type client struct {
	network, address string
	timeout          time.Duration // until the reply's head, of a call without a deadline
	idleTimeout      time.Duration // between two reads of a streamed body

	// gone is closed when the process behind the address has ended; then why
	// explains it to a call that began at the given time.
	gone <-chan struct{}
	why  func(call string, since time.Time) error

	uploads sync.WaitGroup // only grows while the client is open

	mu     sync.Mutex
	closed bool
	idle   []*conn // the most recently used last
	calls  []*conn // carrying a call now
	crowd  bool    // calls have overlapped since the first of them began
	last   string  // the call that ended last, if it was alone
	ended  time.Time
}

// call makes one call. It retries on a new connection if the kept one turns out to
// have been closed in the meantime: then the function has not read the call.
func (c *client) call(ctx context.Context, m *mayfly.Call) (mayfly.Reply, error) {
	began := time.Now()
	if err := ctx.Err(); err != nil { // a connection may beat context.AfterFunc
		return mayfly.Reply{}, c.explain(ctx, m.ID, began, err)
	}
	deadline := head.Deadline(ctx, m, began, c.timeout)
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
	reply, err := cn.call(ctx, m, deadline)
	if _, again := errors.AsType[unread](err); again && kept && (m.Stream == nil || err == errStale) {
		if cn, err = c.dial(ctx, m.ID, deadline); err == nil {
			cn.out, cn.began = head, began
			reply, err = cn.call(ctx, m, deadline)
		}
	}
	if err != nil {
		return mayfly.Reply{}, c.explain(ctx, m.ID, began, err)
	}
	return reply, nil
}

// take returns a connection for a call: the most recently used one, or a new one.
func (c *client) take(ctx context.Context, id string, deadline time.Time) (*conn, error) {
	c.mu.Lock()
	var cn *conn
	if last := len(c.idle) - 1; last >= 0 && !c.closed {
		cn = c.idle[last]
		c.idle = c.idle[:last]
		c.begin(cn, id)
	}
	c.mu.Unlock()
	if cn == nil {
		return c.dial(ctx, id, deadline)
	}
	return cn, nil
}

// dial returns a new connection. It retries a socket whose queue is full, which
// takes five callers with some servers, until it has room.
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

// begin registers a call on cn. mu is held.
func (c *client) begin(cn *conn, id string) {
	c.crowd = len(c.calls) > 0
	cn.id, cn.slot, cn.waiting = id, len(c.calls), true
	c.calls = append(c.calls, cn)
}

// answered records that the reply to cn's call has begun.
func (c *client) answered(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cn.waiting = false
}

// put ends the call on cn and keeps cn if it can be reused.
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

// speaker returns the id of the call that a line of output belongs to if that is
// unambiguous: the only call now, or the last one a moment ago.
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

// close rejects new calls. Calls in flight continue.
func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, cn := range c.idle {
		_ = cn.Close()
	}
	c.idle = nil
}

// awaits reports whether any call still waits for its reply to begin.
func (c *client) awaits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.calls, func(cn *conn) bool { return cn.waiting })
}

// abandon ends the calls whose reply has not begun. Bodies that have begun may
// still be in their sockets; they end by themselves.
func (c *client) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cn := range c.calls {
		if cn.waiting {
			_ = cn.Close()
		}
	}
}

// explain turns whatever left a call without a reply into an error that says so.
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

// broken explains why a connection broke during a call, or could not be made.
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

// hasGone reports whether the process has ended. Its connections close a moment
// before its exit is known.
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

// open gives the client its address and the first connection to it.
func (c *client) open(a address, raw net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.network, c.address = a.network, a.address
	if c.closed {
		_ = raw.Close()
		return
	}
	cn := newConn(c, raw)
	cn.kept = true // it may sit idle until the program closes it
	c.idle = append(c.idle, cn)
}
