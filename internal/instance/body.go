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
	now      []byte   // is read
	then     [][]byte // comes after it
	missing  int64    // of its length; negative if that is not known
	granted  int      // bytes that may still come
	owed     int      // bytes that were read but not granted again
	ended    bool     // nothing more comes
	err      error    // after all that has come
	closed   bool     // by the handler, or at its end
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
		data = append([]byte(nil), data...)
		if b.now == nil {
			b.now = data
		} else {
			b.then = append(b.then, data)
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
		case len(b.now) > 0:
			n := copy(p, b.now)
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
	if b.ended && len(b.now) == 0 && b.err == io.EOF {
		return io.EOF
	}
	return nil
}

// advance forgets n bytes that were read, and grants as many again, in larger pieces. mu is
// held.
func (b *body) advance(n int) {
	if b.now = b.now[n:]; len(b.now) == 0 {
		b.now = nil
		if len(b.then) > 0 {
			b.now, b.then = b.then[0], b.then[1:]
		}
	}
	if b.owed += n; b.owed >= frame.Window/4 && !b.ended {
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
	b.closed, b.now, b.then = true, nil, nil
	b.deadline.stop()
	b.changed.Broadcast()
}
