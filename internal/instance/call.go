package instance

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/frame"
	"github.com/mayfly-run/mayfly/internal/scope"
)

// A call is one request and its reply. It is the request's context. Handlers may keep parts of
// it, so it is not used again.
type call struct {
	scope.Context
	session  *session
	id       uint32
	request  *http.Request
	url      url.URL // the request's
	body     body
	response response

	mu      sync.Mutex
	changed sync.Cond
	room    int      // bytes of the reply that the node takes
	left    bool     // the node does not wait for the reply
	writing deadline // for the reply
}

// newCall returns the call that a frame begins. An error means that no node sends this.
func newCall(s *session, f frame.Frame) (*call, error) {
	c := &call{session: s, id: f.Call, room: frame.Window}
	c.Begin(context.Background())
	c.changed.L, c.body.changed.L = &c.mu, &c.body.mu
	c.body.call, c.response.call = c, c
	r, err := newRequest(c, string(f.Head))
	if err != nil {
		return nil, err
	}
	c.request = r
	c.body.begin(r, f)
	return c, nil
}

// Value implements context.Context, with what net/http gives its handlers.
func (c *call) Value(key any) any {
	switch key {
	case http.ServerContextKey:
		return c.session.server
	case http.LocalAddrContextKey:
		return c.session.conn.LocalAddr()
	}
	return c.Context.Value(key)
}

// serve has the handler answer, whatever it does.
func (c *call) serve(w *worker) {
	c.response.begin(w)
	returned := false
	defer func() {
		if !returned {
			c.broke(recover())
		}
		c.close()
		c.session.end(c)
	}()
	c.session.handle(&c.response, c.request)
	returned = true
	c.response.finish()
}

// close takes from the handler what it had.
func (c *call) close() {
	c.response.over = true
	c.body.close()
	c.mu.Lock()
	c.writing.stop()
	c.mu.Unlock()
	c.End(nil)
}

// broke ends the call of a handler that did not return: it panicked with p, or called
// runtime.Goexit if p is nil.
func (c *call) broke(p any) {
	switch p {
	case nil:
		c.abort("the handler called runtime.Goexit", "")
	case http.ErrAbortHandler:
		c.abort("the handler aborted its reply", "")
	default:
		line, text := trace(p, c.session.folder)
		_, _ = os.Stderr.WriteString(text)
		c.fail(line, text)
	}
}

// fail ends the reply with an error, after what the handler wrote.
func (c *call) fail(line, trace string) {
	if c.response.status != 0 && c.response.send(false, nil) != nil {
		return // nobody waits for it
	}
	c.abort(line, trace)
}

// abort ends the reply with an error now.
func (c *call) abort(line, trace string) {
	c.mu.Lock()
	left := c.left
	c.left = true
	c.mu.Unlock()
	if !left {
		w := c.session.writer
		w.Flush(frame.Append(w.Begin(), frame.Frame{
			Call: c.id, Kind: frame.Error, Head: []byte(line), Body: []byte(trace[:min(len(trace), frame.MaxBody)]),
		}))
	}
}

// cancel stops the work on the call, as far as the handler listens.
func (c *call) cancel() {
	c.mu.Lock()
	c.left = true
	c.changed.Broadcast()
	c.mu.Unlock()
	c.body.cut()
	c.End(nil)
}

// grant lets the reply go on.
func (c *call) grant(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room += n
	c.changed.Broadcast()
}

// take waits until the node takes some of n bytes, and returns how many.
func (c *call) take(n int) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.left:
			return 0, context.Canceled
		case c.writing.passed():
			return 0, os.ErrDeadlineExceeded
		case n == 0 || c.room > 0:
			n = min(n, c.room)
			c.room -= n
			return n, nil
		}
		c.changed.Wait()
	}
}

// A deadline ends waiting on a condition. Its lock is the condition's.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// set wakes whoever waits when t has come; never if t is zero.
func (d *deadline) set(t time.Time, changed *sync.Cond) {
	changed.L.Lock()
	defer changed.L.Unlock()
	d.stop()
	if d.at = t; !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), changed.Broadcast)
	}
	changed.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}
