package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
)

// A body is that of a request. It knows whether it was read to its end. As long as
// it was not, the next byte of an HTTP/1 connection is no request's first, and
// whoever took it for one would let a client smuggle requests in bodies.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	length  int64       // -1 if unknown
	alone   bool        // has a stream of its own (HTTP/2): no other request is behind it
	refused bool        // it is too large, so even a short one is not read
	ended   atomic.Bool // it was read to its end
}

// newBody returns the body of r, or nil if it has none.
func newBody(w http.ResponseWriter, r *http.Request) *body {
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	return &body{ReadCloser: r.Body, control: http.NewResponseController(w), length: r.ContentLength, alone: r.ProtoMajor > 1}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
		b.bound(time.Time{}) // the server reads on to see the client leave; that has no end
	}
	return n, err
}

// bound sets the end of the time in which the client has to send. Not every
// connection has deadlines.
func (b *body) bound(end time.Time) { _ = b.control.SetReadDeadline(end) }

// left reports whether more of the body may be under way, where requests would
// follow.
func (b *body) left() bool { return b != nil && !b.alone && !b.ended.Load() }

// short reports whether the body is read whole before its call is made, so that no
// instance waits for a slow client.
func (b *body) short() bool { return b == nil || b.length >= 0 && b.length <= wholeBody }

const wholeBody = 64 << 10

// answer prepares for an answer that begins before the body was read to its end.
// It reports whether the connection must end with it. What is short the server
// reads in passing, within a while; a client with more is not waited for.
func (b *body) answer(while time.Duration) (last bool) {
	switch {
	case !b.left():
		return false
	case b.short() && !b.refused:
		b.bound(time.Now().Add(while))
		return false
	}
	_ = b.control.EnableFullDuplex() // else the server reads before it answers
	return true
}

// quiet is for how long a client that has its answer sends nothing before nobody
// expects any more of it.
const quiet = time.Second

// linger reads on in what is left of a body after its answer was sent: a client that
// sends all of it before it reads would lose the answer to the reset of its
// connection. It does so for up to most bytes and a while.
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

// readBody reads the whole body, up to limit bytes (which key sets) and what one
// message of the bus may hold. It grows with what comes, not with what was
// promised, so that a slow client holds little memory.
func (g *Gateway) readBody(x *exchange, limit int64, key string) ([]byte, error) {
	b := x.body
	if b == nil {
		return nil, nil
	}
	if most := g.caller.MaxPayload(); most < limit {
		limit, key = most, "the NATS server's max_payload"
	}
	if b.length > limit {
		b.refused = true
		return nil, tooLarge(limit, key)
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
		case int64(len(data)) > limit:
			b.refused = true
			return nil, tooLarge(limit, key)
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return nil, g.bodyError(err)
		}
	}
}

// startSize is how much of a body is made room for before any of it came.
func startSize(length int64) int64 {
	const most = 8 << 10
	if length < 0 || length > most {
		return most
	}
	return length + 1 // so that the end is seen without growing
}

// tooLarge returns the error of a body with more bytes than limit, which key sets.
func tooLarge(limit int64, key string) error {
	return mayfly.Errorf(mayfly.Invalid, "the body is larger than %d bytes (%s): %w", limit, key, mayfly.ErrTooLarge)
}

func (g *Gateway) bodyError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return withStatus(http.StatusRequestTimeout, mayfly.Errorf(mayfly.Timeout, "the body did not arrive in %s (gateway.bodytimeout)", g.options.BodyTimeout))
	}
	return mayfly.Errorf(mayfly.Invalid, "the body is cut short or malformed")
}
