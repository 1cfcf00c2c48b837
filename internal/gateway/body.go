package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/dispatch"
)

// A body is that of a request. It knows whether it was read to its end. Until then
// the next byte of an HTTP/1 connection does not start a request, and taking it for
// one would let a client smuggle requests in bodies.
type body struct {
	io.ReadCloser
	writer  http.ResponseWriter // of the answer; its controller sets deadlines
	length  int64               // -1 if unknown
	alone   bool                // has a stream of its own (HTTP/2): no other request follows it
	refused bool                // too large, so even a short one is not read
	ended   atomic.Bool         // it was read to its end
}

func hasBody(r *http.Request) bool {
	return r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody
}

// begin makes b the body of r.
func (b *body) begin(w http.ResponseWriter, r *http.Request) {
	b.ReadCloser, b.writer, b.length, b.alone = r.Body, w, r.ContentLength, r.ProtoMajor > 1
}

func (b *body) control() *http.ResponseController { return http.NewResponseController(b.writer) }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
		b.bound(time.Time{}) // the server reads on to see the client leave, without a deadline
	}
	return n, err
}

// bound sets the deadline for the client to send. Not every connection has
// deadlines.
func (b *body) bound(end time.Time) { _ = b.control().SetReadDeadline(end) }

// left reports whether more of the body may arrive where the next request would.
func (b *body) left() bool { return b != nil && !b.alone && !b.ended.Load() }

// short reports whether the body is read before its call is made, so that no
// instance waits for a slow client.
func (b *body) short() bool { return b == nil || b.length >= 0 && b.length <= wholeBody }

const wholeBody = 64 << 10

// answer prepares for an answer that begins before the end of the body was read. It
// reports whether the connection must end with the answer. The server reads a short
// rest itself, within a while; it does not wait for more.
func (b *body) answer(while time.Duration) (last bool) {
	switch {
	case !b.left():
		return false
	case b.short() && !b.refused:
		b.bound(time.Now().Add(while))
		return false
	}
	_ = b.control().EnableFullDuplex() // else the server reads before it answers
	return true
}

// quiet is how long a client that has its answer may pause before the rest of its
// body is given up.
const quiet = time.Second

// linger reads what is left of a body after its answer was sent, up to most bytes
// and for a while: a client that sends everything before it reads would lose the
// answer when its connection is reset.
func (b *body) linger(most int64, while time.Duration) {
	buffer := buffers.Get().(*[streamBuffer]byte)
	defer buffers.Put(buffer)
	for end := time.Now().Add(while); most > 0 && time.Now().Before(end); {
		b.bound(time.Now().Add(quiet))
		n, err := b.Read(buffer[:])
		if err != nil {
			return
		}
		most -= int64(n)
	}
}

// readBody reads the whole body of a request for x.target, within its limit. Memory
// grows with what arrives, not with what was announced, so that a slow client holds
// little of it.
func (g *Gateway) readBody(x *exchange) ([]byte, error) {
	b := x.body
	if b == nil {
		return nil, nil
	}
	if b.length > x.target.MaxBody {
		return nil, b.refuse(&x.target)
	}
	b.bound(time.Now().Add(g.options.BodyTimeout))
	data := make([]byte, 0, startSize(b.length))
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := b.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case int64(len(data)) > x.target.MaxBody:
			return nil, b.refuse(&x.target)
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return nil, g.bodyError(err)
		}
	}
}

// refuse returns the error for a body that is too large for its target.
func (b *body) refuse(t *dispatch.Target) error {
	b.refused = true
	return t.TooLarge()
}

// startSize is how much memory a body gets before any of it arrives.
func startSize(length int64) int64 {
	const most = 8 << 10
	if length < 0 || length > most {
		return most
	}
	return length + 1 // so that the end is seen without growing
}

func (g *Gateway) bodyError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return withStatus(http.StatusRequestTimeout, mayfly.Errorf(mayfly.Timeout, "the body did not arrive within %s (gateway.bodytimeout)", g.options.BodyTimeout))
	}
	return mayfly.Errorf(mayfly.Invalid, "the body is truncated or malformed")
}

// An upload is a request's body that a function or mount reads as it arrives. It is
// bounded in size and in time: each uploadStep bytes must arrive within the body
// timeout, so that a client that sends a byte a second does not hold an instance.
type upload struct {
	g    *Gateway
	x    *exchange
	left int64 // bytes that may still arrive
	step int64 // bytes that may arrive before the deadline is moved

	mu      sync.Mutex // the body is read while the answer is written
	idle    sync.Cond  // signalled when a Read ends; of mu
	err     error
	reading bool
	over    bool // the call is, so nothing reads any more
}

const uploadStep = 64 << 10

// newUpload makes the body of a request for x.target readable as it arrives, unless
// it is known to be too large.
func (g *Gateway) newUpload(x *exchange) (*upload, error) {
	if x.body.length > x.target.MaxBody {
		return nil, x.target.TooLarge()
	}
	u := &upload{g: g, x: x, left: x.target.MaxBody}
	u.idle.L = &u.mu
	x.upload = u
	return u, nil
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	if u.over {
		u.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	if u.step <= 0 {
		u.step = uploadStep
		u.x.body.bound(time.Now().Add(u.g.options.BodyTimeout))
	}
	u.reading = true
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		u.reading = false
		u.idle.Broadcast()
		u.mu.Unlock()
	}()
	n, err := u.x.body.Read(p)
	u.left -= int64(n)
	u.step -= int64(n)
	switch {
	case u.left < 0:
		return 0, u.fail(u.x.target.TooLarge())
	case errors.Is(err, io.EOF):
		return n, io.EOF
	case err != nil:
		return n, u.fail(u.g.bodyError(err))
	}
	return n, nil
}

// end stops all reading: the request's body belongs to the server again when its
// handler returns. A Read that waits for the client is woken at the given time,
// which costs the connection.
func (u *upload) end(wake time.Time) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	for u.reading {
		u.x.body.bound(wake)
		u.idle.Wait()
	}
}

func (u *upload) fail(err error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.err = err
	return err
}

// failure returns why the body could not be read to its end, or nil.
func (u *upload) failure() error {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}
