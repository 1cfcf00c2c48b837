package instance

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/mayfly-run/mayfly/internal/frame"
)

// A body is a request's. It holds what has come and is not read, which is bounded by what was
// granted.
type body struct {
	call *call

	mu       sync.Mutex
	changed  sync.Cond
	now      chunk   // is read
	then     []chunk // comes after it
	missing  int64   // of its length; negative if that is not known
	granted  int     // bytes that may still come
	owed     int     // bytes that were read but not granted again
	ended    bool    // nothing more comes
	err      error   // after all that has come
	closed   bool    // by the handler, or at its end
	deadline deadline
}

// begin takes what comes with the head, and gives the request its body.
func (b *body) begin(r *http.Request, f frame.Frame) {
	b.granted = frame.Window - len(f.Body)
	b.missing = r.ContentLength
	switch {
	case f.End && len(f.Body) == 0 && b.missing <= 0:
		r.ContentLength, r.Body = 0, http.NoBody
		b.ended, b.err = true, io.EOF
		return
	case f.End && b.missing < 0:
		r.ContentLength = int64(len(f.Body))
	case b.missing < 0:
		r.TransferEncoding = []string{"chunked"}
	}
	r.Body = b
	b.add(f)
}

// take takes more of it. An error means that no node sends this.
func (b *body) take(f frame.Frame) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.granted -= len(f.Body); b.granted < 0 {
		return fmt.Errorf("call %d gets more body than was granted", f.Call)
	}
	if !b.ended {
		b.add(f)
		b.changed.Broadcast()
	}
	return nil
}

// add appends what a frame brings. mu is held, or nobody else knows b.
func (b *body) add(f frame.Frame) {
	if data := f.Body; len(data) > 0 && !b.closed {
		if b.missing >= 0 {
			data = data[:min(int64(len(data)), b.missing)]
			b.missing -= int64(len(data))
		}
		if c := b.call.session.chunks.hold(data); len(b.now.rest) == 0 {
			b.now = c
		} else {
			b.then = append(b.then, c)
		}
	}
	if f.End {
		b.ended, b.err = true, io.EOF
		if b.missing > 0 {
			b.err = io.ErrUnexpectedEOF
		}
	}
}

// cut ends it before its end: the client has left.
func (b *body) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.ended, b.err = true, io.ErrUnexpectedEOF
		b.changed.Broadcast()
	}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.closed:
			return 0, http.ErrBodyReadAfterClose
		case b.deadline.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(b.now.rest) > 0:
			n := copy(p, b.now.rest)
			b.advance(n)
			return n, b.end()
		case b.ended:
			return 0, b.err
		}
		b.changed.Wait()
	}
}

// end returns io.EOF together with the last bytes: who knows the length does not read again.
func (b *body) end() error {
	if b.ended && len(b.now.rest) == 0 && b.err == io.EOF {
		return io.EOF
	}
	return nil
}

// advance forgets n bytes that were read, and grants as many again, in larger pieces. mu is
// held.
func (b *body) advance(n int) {
	if b.now.rest = b.now.rest[n:]; len(b.now.rest) == 0 {
		b.call.session.chunks.free(b.now)
		b.now = chunk{}
		if len(b.then) > 0 {
			b.now, b.then = b.then[0], b.then[1:]
		}
	}
	if b.owed += n; b.owed >= frame.Window/2 && !b.ended {
		w := b.call.session.writer
		w.Flush(frame.AppendCredit(w.Begin(), b.call.id, uint32(b.owed)))
		b.granted, b.owed = b.granted+b.owed, 0
	}
}

// Close implements io.Closer. What comes later is dropped, and nothing is granted.
func (b *body) Close() error {
	b.close()
	return nil
}

func (b *body) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.call.session.chunks.free(b.now)
	for _, c := range b.then {
		b.call.session.chunks.free(c)
	}
	b.closed, b.now, b.then = true, chunk{}, nil
	b.deadline.stop()
	b.changed.Broadcast()
}

// A chunk is a copy of a frame's body.
type chunk struct {
	rest []byte               // that is not read
	from *[frame.MaxBody]byte // its memory, if that is used again
}

// Chunks are buffers of a session for bodies that come in large pieces.
type chunks struct{ unused sync.Pool }

// hold copies data.
func (p *chunks) hold(data []byte) chunk {
	const large = 8 << 10
	if len(data) < large {
		return chunk{rest: append([]byte(nil), data...)}
	}
	from, ok := p.unused.Get().(*[frame.MaxBody]byte)
	if !ok {
		from = new([frame.MaxBody]byte)
	}
	return chunk{rest: from[:copy(from[:], data)], from: from}
}

func (p *chunks) free(c chunk) {
	if c.from != nil {
		p.unused.Put(c.from)
	}
}
