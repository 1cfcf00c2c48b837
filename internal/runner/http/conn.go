package httpengine

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/link"
	"github.com/mayfly-run/mayfly/internal/scope"
)

// bufferSize is the size of a read: it holds most replies whole.
const bufferSize = 4 << 10

// oneRead is the least that servers take in their first read of a request.
const oneRead = 4 << 10

// A conn is a connection to the function. It carries one call at a time.
type conn struct {
	net.Conn
	owner *client
	probe *probe
	in    []byte // in[r:w] has been read but not used
	r, w  int
	out   []byte // reused for the request's head

	// State of the current call.
	id       string
	began    time.Time
	slot     int         // in owner.calls
	watch    scope.Watch // of the call's context
	watching bool
	upload   *upload // nil if the request was written whole
	method   string
	waiting  bool          // for the reply's head; guarded by owner.mu
	kept     bool          // it has carried a call before this one
	patience time.Duration // between two reads of the body; 0 before the body

	cut   func() // kill as a value, made once
	ended atomic.Bool
}

// newConn wraps a connection to the function.
func newConn(owner *client, raw net.Conn) *conn {
	c := &conn{Conn: raw, owner: owner, probe: newProbe(raw)}
	c.cut = c.kill
	return c
}

// kill ends c's call when its context ends: the function sees its client
// disconnect.
func (c *conn) kill() {
	c.ended.Store(true)
	_ = c.Close()
}

// errStale says that a kept connection cannot carry another call: the peer closed it,
// or sent bytes that belong to no call.
var errStale error = unread{errors.New("the kept connection was closed, or sent bytes between two calls")}

// unread marks a failure before the function can have read the call.
type unread struct{ error }

func (u unread) Unwrap() error { return u.error }

// call sends a call and returns its reply. Afterwards c is free or closed,
// unless the reply has a stream. After an error c is closed.
func (c *conn) call(ctx context.Context, call *mayfly.Call, deadline time.Time) (mayfly.Reply, error) {
	c.watch.Start(ctx, c.cut)
	c.watching = true
	reply, err := c.send(call, deadline)
	if err != nil {
		if c.upload != nil && c.upload.fault() != nil {
			err = c.upload.fault()
		}
		c.release(false)
		return mayfly.Reply{}, err
	}
	return reply, nil
}

// send writes the request and reads the reply.
func (c *conn) send(call *mayfly.Call, deadline time.Time) (mayfly.Reply, error) {
	_ = c.SetDeadline(deadline) // fails only if closed, and then so does the rest
	c.method, c.patience = call.Method, 0
	written, err := c.reuse(call)
	if err == errStale {
		return mayfly.Reply{}, err
	}
	var sent error
	if written < len(c.out) {
		var n int
		n, sent = c.Write(c.out[written:])
		written += n
	}
	if sent == nil && uploads(call) {
		c.startUpload(call, deadline)
	}
	// A server that rejects a request early says why and closes. So read the
	// reply even if the request could not be written.
	var h replyHead
	if err == nil {
		h, err = c.readHead()
	}
	if c.upload != nil {
		c.upload.answer()
	}
	if err != nil {
		// After a reset the function has not read everything. If the request fits
		// into one read, the function has then read none of it.
		whole := c.upload == nil && len(c.out) <= oneRead
		if c.r == c.w && (refused(sent) && written == 0 || refused(err) && whole) {
			return mayfly.Reply{}, unread{err}
		}
		if c.r < c.w {
			err = cutShort(err)
		}
		return mayfly.Reply{}, err
	}
	return c.readReply(h)
}

// reuse checks a kept connection and, if the request is small, makes use of it at
// once: it returns how much of the request it has written.
func (c *conn) reuse(call *mayfly.Call) (written int, err error) {
	switch {
	case !c.kept:
		return 0, nil
	case uploads(call) || len(c.out) > oneRead:
		if c.probe.stale() {
			err = errStale
		}
		return 0, err
	}
	if c.in == nil {
		c.in = make([]byte, bufferSize)
	}
	c.r = 0
	written, c.w, err = c.probe.ask(c.out, c.in)
	return written, err
}

// refused reports whether the peer was gone before it read everything.
func refused(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// readHead reads up to the reply's body, skipping interim (1xx) replies.
func (c *conn) readHead() (replyHead, error) {
	for range maxInterim {
		n := headEnd(c.in[c.r:c.w])
		for n == 0 {
			if c.w-c.r >= maxHead {
				return replyHead{}, mayfly.Errorf(mayfly.Crashed, "the function's reply has headers longer than %d bytes", maxHead).
					WithHint("send large values in the body")
			}
			if err := c.fill(); err != nil {
				return replyHead{}, err
			}
			n = headEnd(c.in[c.r:c.w])
		}
		h, err := parseHead(c.in[c.r:c.r+n], c.method)
		c.r += n
		switch {
		case err != nil || h.status >= 200:
			return h, err
		case h.status == 101:
			return h, malformed("upgrades are not supported")
		}
	}
	return replyHead{}, malformed("it has more than %d interim (1xx) responses", maxInterim)
}

// readReply reads the body if it is small or already here; otherwise it returns
// a stream.
func (c *conn) readReply(h replyHead) (mayfly.Reply, error) {
	reply := mayfly.Reply{Status: h.status, Header: h.header}
	c.patience = c.owner.idleTimeout
	if h.length >= 0 && (h.length <= wholeBody || h.length <= int64(c.w-c.r)) {
		if h.length > 0 {
			reply.Body = make([]byte, h.length)
			if _, err := io.ReadFull(c.body(), reply.Body); err != nil {
				return reply, cutShort(err)
			}
		}
	} else if body, n, err := wholeChunks(c.in[c.r:c.w], h.chunked); err != nil {
		return reply, err
	} else if n > 0 {
		reply.Body = body
		c.r += n
	} else {
		return c.readStream(h, reply)
	}
	if h.status == 502 && h.crash != "" {
		return mayfly.Reply{}, link.Crash(h.crash, reply.Body)
	}
	c.release(!h.last)
	return reply, nil
}

// fill reads once into the buffer, which grows up to maxHead.
func (c *conn) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	switch {
	case c.in == nil:
		c.in = make([]byte, bufferSize)
	case c.w == len(c.in) && c.r > 0:
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
	case c.w == len(c.in):
		c.in = append(c.in, make([]byte, len(c.in))...)
	}
	n, err := c.readOnce(c.in[c.w:])
	c.w += n
	return err
}

// readOnce reads once, within the body's patience.
func (c *conn) readOnce(p []byte) (int, error) {
	if c.patience > 0 {
		_ = c.SetReadDeadline(time.Now().Add(c.patience))
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		err = nil // the next read returns it again
	}
	return n, err
}

// body returns a reader of what follows the head, buffered bytes first.
func (c *conn) body() io.Reader { return (*connBody)(c) }

type connBody conn

func (b *connBody) Read(p []byte) (int, error) {
	c := (*conn)(b)
	if c.r == c.w && len(p) >= bufferSize {
		return c.readOnce(p)
	}
	if c.r == c.w { // one read for this chunk and the next chunk's size
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.in[c.r:c.w])
	c.r += n
	return n, nil
}

// release ends the call. It keeps the conn for the next one if reuse is set (the
// reply was read to its end) and the conn is still clean.
func (c *conn) release(reuse bool) {
	if c.watching && !c.watch.Stop() {
		reuse = false // kill is running or has run
	}
	c.watching = false
	if c.upload != nil && !c.upload.done() || c.r != c.w {
		reuse = false // the function replied before it read everything, or sent more than its reply
	}
	c.upload = nil
	if cap(c.in) > 4*bufferSize {
		c.in, c.r, c.w = nil, 0, 0
	}
	if cap(c.out) > 4*bufferSize {
		c.out = nil
	}
	if !reuse {
		_ = c.Close()
	}
	c.owner.put(c, reuse)
}

// cutShort explains a connection that ended within a body.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || refused(err) {
		return io.ErrUnexpectedEOF
	}
	return err
}
