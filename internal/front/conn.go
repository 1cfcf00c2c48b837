package front

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly/internal/scope"
)

const (
	// roomToRead is the size of a connection's buffer, and so the largest plain head.
	roomToRead = 4 << 10

	// mostPieces is the most reads that a plain head may take.
	mostPieces = 8

	// lingering is how long a client that may still be sending can read the last
	// answer before the connection is reset.
	lingering = 500 * time.Millisecond
)

// A conn is one connection. It belongs to the goroutine of serve, except fields marked
// as guarded, and buf while a watch reads.
type conn struct {
	server *Server
	net    net.Conn
	remote string
	state  atomic.Int32 // one of the states below; settles races between Shutdown and a request

	buf        []byte // buf[start:end] has been read but not used
	start, end int
	readErr    error // from a watch; the next fill returns it
	head       head
	header     http.Header // of the last answer, to be used again

	reads, writes deadline
	watcher       watch

	room    *buffer     // backs out; nil between requests
	out     []byte      // written by the handler, not yet sent
	parts   [3][]byte   // backs vector
	vector  net.Buffers // for send
	sendErr error       // the first error; nothing is sent after it
}

// States of a conn.
const (
	stateIdle   int32 = iota // waits for a request; Shutdown closes it
	stateBusy                // has a request
	stateClosed              // closed by Shutdown
)

func newConn(s *Server, n net.Conn) *conn {
	c := &conn{server: s, net: n, remote: n.RemoteAddr().String(), buf: make([]byte, roomToRead), header: http.Header{}}
	c.reads.apply, c.writes.apply = n.SetReadDeadline, n.SetWriteDeadline
	c.watcher.stopped = sync.NewCond(&c.watcher.mu)
	return c
}

// serve answers requests until the connection ends or is handed over.
func (c *conn) serve(ctx context.Context) {
	defer c.server.forget(c)
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, c.net.LocalAddr())
	c.reads.want(after(c.server.ReadHeaderTimeout))
	for before := ""; ; before = c.head.method {
		text, ok := c.next(before)
		if !ok {
			return
		}
		t, err := c.begin(ctx, text)
		if err != nil {
			c.handOver(time.Time{})
			return
		}
		if !c.state.CompareAndSwap(stateIdle, stateBusy) {
			return // Shutdown came first
		}
		c.start += c.head.size
		if !c.answer(t) {
			return
		}
		c.state.Store(stateIdle)
		if c.server.closing.Load() {
			_ = c.net.Close()
			return
		}
	}
}

// next waits for a head and returns its text. It returns false if there is none, and
// the connection is closed or handed over. before is the method of the previous
// request, or "".
func (c *conn) next(before string) (text string, ok bool) {
	lineFeeds, dropped := 0, 0
	if before == http.MethodPost {
		lineFeeds = 4 // old clients sent them after a body, and net/http accepts them
	}
	for pieces := 0; ; pieces++ {
		for ; lineFeeds > 0 && c.start < c.end && (c.buf[c.start] == '\r' || c.buf[c.start] == '\n'); lineFeeds-- {
			c.start++
			dropped++
		}
		v := short
		if hardlyAny := before != "" && dropped+c.end-c.start < 4; c.start < c.end && !hardlyAny {
			v = c.head.scan(c.buf[c.start:c.end])
			lineFeeds = 0
		}
		switch {
		case v == plain:
			return string(c.buf[c.start : c.start+c.head.size]), true
		case v == odd, pieces == mostPieces, !c.makeRoom():
			var headBy time.Time
			if before == "" || pieces > 1 { // else the deadline may be that of an idle connection
				headBy = c.reads.wanted
			}
			c.handOver(headBy)
			return "", false
		case pieces == 0 && before != "" && c.start == c.end:
			c.reads.about(time.Now(), c.server.IdleTimeout)
		case pieces <= 1 && before != "":
			c.reads.want(after(c.server.ReadHeaderTimeout))
		}
		if err := c.fill(); err != nil {
			// net/http answers half a head, but not one that has hardly begun or is too
			// late.
			if isTimeout(err) || c.start == c.end || before != "" && dropped+c.end-c.start < 4 {
				_ = c.net.Close()
			} else {
				c.readErr = nil
				c.handOver(time.Time{})
			}
			return "", false
		}
	}
}

// handOver hands the connection to net/http, with all bytes read, and waits until it is
// taken. headBy is the deadline of a head that is not complete.
func (c *conn) handOver(headBy time.Time) {
	if !c.state.CompareAndSwap(stateIdle, stateBusy) {
		return // Shutdown has closed it
	}
	_ = c.net.SetDeadline(time.Time{})
	if !c.server.handover.give(c.net, c.buf[c.start:c.end], headBy) {
		_ = c.net.Close()
	}
}

// A turn is one request and its answer: what both need, in one piece of memory, which a
// handler may keep. It is the request's context.
type turn struct {
	scope.Context
	request  http.Request
	url      url.URL
	values   [8]string // of the request's headers
	response response
}

// begin makes the turn of the head in text. An error means that the head is odd after all.
func (c *conn) begin(ctx context.Context, text string) (*turn, error) {
	t := &turn{}
	if err := c.head.url(text, &t.url); err != nil {
		return nil, err
	}
	t.Begin(ctx)
	w := &t.response
	w.conn, w.header, w.head, w.closing, w.length = c, c.header, c.head.method == http.MethodHead, c.head.closing, -1
	w.body.conn, w.body.left = c, max(c.head.length, 0)
	t.request = *(&http.Request{
		Method: c.head.method, URL: &t.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.head.header(text, t.values[:]), Body: http.NoBody, ContentLength: w.body.left,
		Host: c.head.host.of(text), RemoteAddr: c.remote, RequestURI: c.head.target.of(text), Close: c.head.closing,
	}).WithContext(t)
	return t, nil
}

// answer lets the handler answer a request. It reports whether the connection
// continues with the next one; if not, it is closed.
func (c *conn) answer(t *turn) (again bool) {
	defer t.End(nil)
	c.watcher.begin(t)
	w, r := &t.response, &t.request
	c.reads.want(time.Time{}) // the handler decides how long a body may take
	c.writes.about(time.Now(), c.server.WriteTimeout)
	if c.readErr != nil {
		t.End(nil) // it left during the previous request
	}
	switch {
	case r.ContentLength > 0:
		w.hasBody, r.Body = true, &w.body // also of a client that left: it is not the next request
	case c.readErr == nil:
		c.arm()
	}
	again = c.handle(w, r)
	w.over.Store(true)
	sent := again && w.finish()
	again = sent && !w.closing
	switch { // this also stops any reader of the body
	case !sent:
		_ = c.net.Close()
	case !again:
		c.reads.impose(time.Now().Add(lingering))
	}
	c.release()
	c.keep(w.header)
	left := int64(0)
	if w.hasBody {
		left = w.body.end(again)
		again = again && left == 0
	}
	c.disarm()
	c.watcher.begin(nil)
	if again {
		return true
	}
	if sent && left > 0 {
		c.linger()
	}
	_ = c.net.Close()
	return false
}

// handle calls the handler. It returns false after a panic: then nothing more is sent,
// so that half an answer does not look complete.
func (c *conn) handle(w *response, r *http.Request) (ok bool) {
	defer func() {
		if ok {
			return
		}
		if v := recover(); v != http.ErrAbortHandler {
			c.server.logf("front: panic serving %s: %v\n%s", c.remote, v, debug.Stack())
		}
	}()
	c.server.Handler.ServeHTTP(w, r)
	return true
}

// linger closes our side and reads on for a moment: closing at once would reset the
// connection of a client that still sends, and lose the answer.
func (c *conn) linger() {
	_ = closeWrite(c.net)
	c.reads.impose(time.Now().Add(lingering))
	_, _ = io.Copy(io.Discard, c.net)
}

// makeRoom makes room in the buffer if it can, and reports whether there is some.
func (c *conn) makeRoom() bool {
	switch {
	case c.start == c.end:
		c.start, c.end = 0, 0
	case c.end == len(c.buf):
		c.end = copy(c.buf, c.buf[c.start:c.end])
		c.start = 0
	}
	return c.end < len(c.buf)
}

// fill reads into the buffer, which must have room.
func (c *conn) fill() error {
	if c.readErr != nil {
		return c.readErr
	}
	c.reads.begin()
	n, err := c.net.Read(c.buf[c.end:])
	c.reads.end()
	c.end += n
	if n > 0 {
		return nil // the next read returns the error again
	}
	return err
}

// read reads for a body, from the buffer first.
func (c *conn) read(p []byte) (int, error) {
	if c.start == c.end {
		if c.readErr != nil {
			return 0, c.readErr
		}
		if len(p) >= len(c.buf) {
			c.reads.begin()
			defer c.reads.end()
			return c.net.Read(p)
		}
		c.makeRoom()
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.start:c.end])
	c.start += n
	return n, nil
}

// send sends out and then parts, in one system call.
func (c *conn) send(parts ...[]byte) error {
	if c.sendErr != nil {
		return c.sendErr
	}
	c.writes.begin()
	defer c.writes.end()
	var err error
	if len(parts) == 0 {
		if len(c.out) == 0 {
			return nil
		}
		_, err = c.net.Write(c.out)
	} else {
		c.vector = append(append(c.parts[:0], c.out), parts...)
		_, err = c.vector.WriteTo(c.net)
	}
	c.out = c.out[:0]
	if err != nil {
		c.sendErr = err
		c.watcher.leave()
	}
	return err
}

// A buffer backs an answer about to be sent.
type buffer [4 << 10]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// mostKept is how many headers an answer may have for the next one to use their map again.
const mostKept = 16

// keep keeps the map of an answer's headers. The handler has returned, so it is ours.
func (c *conn) keep(h http.Header) {
	if len(h) > mostKept {
		h = http.Header{}
	}
	clear(h)
	c.header = h
}

// release returns the answer's buffer.
func (c *conn) release() {
	if c.room != nil {
		buffers.Put(c.room)
		c.out, c.room = nil, nil
	}
}

// after returns the time that far from now, or never if while is not positive.
func after(while time.Duration) time.Time {
	if while <= 0 {
		return time.Time{}
	}
	return time.Now().Add(while)
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// open gets a buffer for an answer.
func (c *conn) open() {
	if c.room == nil {
		c.room = buffers.Get().(*buffer)
		c.out = c.room[:0]
	}
}
