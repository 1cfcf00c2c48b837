package link

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/frame"
	"github.com/mayfly-run/mayfly/internal/scope"
)

// A stream is a reply's body that comes in several frames. Close may be called during a Read,
// and ends it.
type stream struct {
	call  *call
	watch scope.Watch // of the call's context; started before the first Read
	wake  chan struct{}

	mu       sync.Mutex
	buf      []byte              // buf[at:] has come but was not read
	lent     *[frame.Window]byte // that buf is in; nil if it is its own
	at       int
	allowed  int   // bytes that the instance may still send
	owed     int   // bytes read that it was not granted anew
	left     int64 // bytes that must still come; -1 if unknown
	err      error // after buf
	finished bool  // nothing more comes
}

func newStream(x *call, first []byte, length int64) *stream {
	s := &stream{call: x, wake: make(chan struct{}, 1), buf: first, allowed: frame.Window - len(first), left: length}
	s.count(len(first))
	return s
}

// count notes that n bytes have come, and returns how many of them belong to the body.
func (s *stream) count(n int) int {
	if s.left >= 0 {
		n = int(min(int64(n), s.left))
		s.left -= int64(n)
	}
	return n
}

// take adds a frame. It fails if the frame is more than the instance was granted.
func (s *stream) take(f frame.Frame) error {
	if f.End {
		s.call.link.remove(s.call)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.allowed -= len(f.Body); s.allowed < 0 {
		return errTooMuch
	}
	if s.finished {
		return nil
	}
	s.hold(f.Body[:s.count(len(f.Body))])
	if f.End {
		s.finished, s.err = true, io.EOF
		if s.left > 0 {
			s.err = malformed("it ended %d bytes before its Content-Length", s.left)
		}
	}
	s.ring()
	return nil
}

// hold appends to what was not read. A window's worth of memory comes from the link, and is
// returned as soon as it is empty: a thousand streams of small events hold little.
func (s *stream) hold(data []byte) {
	if s.at == len(s.buf) {
		s.buf, s.at = s.buf[:0], 0
	}
	switch {
	case len(s.buf)+len(data) <= cap(s.buf):
	case s.lent != nil: // it holds whatever was granted
		s.buf, s.at = s.buf[:copy(s.buf, s.buf[s.at:])], 0
	case len(s.buf)-s.at+len(data) > few:
		s.lent = s.call.link.windows.Get().(*[frame.Window]byte)
		s.buf, s.at = append(s.lent[:0], s.buf[s.at:]...), 0
	}
	s.buf = append(s.buf, data...)
}

// release gives memory back that is empty or not needed anymore.
func (s *stream) release() {
	if s.lent != nil {
		s.call.link.windows.Put(s.lent)
		s.lent = nil
	}
	s.buf, s.at = nil, 0
}

const few = 8 << 10 // bytes that a stream holds in memory of its own

var errTooMuch = errors.New("more of a reply was sent than was granted")

// ring wakes a Read.
func (s *stream) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// end ends the stream after what has come.
func (s *stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.finished {
		s.finished, s.err = true, err
	}
	s.ring()
}

// fail ends the stream at once, and its call.
func (s *stream) fail(err error) {
	s.call.link.cancel(s.call)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil || s.at < len(s.buf) {
		s.err = err
	}
	s.finished = true
	s.release()
	s.ring()
}

// Read returns what has come without waiting for more.
func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var timer *time.Timer
	for {
		if n, err := s.read(p); n > 0 || err != nil {
			return n, err
		}
		var late <-chan time.Time
		if patience := s.call.link.options.IdleTimeout; patience > 0 {
			if timer == nil {
				timer = time.NewTimer(patience)
				defer timer.Stop()
			}
			late = timer.C
		}
		select {
		case <-s.wake:
		case <-late:
			s.fail(mayfly.Errorf(mayfly.Timeout, "the reply stalled for %s", s.call.link.options.IdleTimeout).
				WithHint("raise idle_timeout: of the function, or write more often"))
		}
	}
}

// read returns what is there: bytes, or an error after the last of them.
func (s *stream) read(p []byte) (n int, err error) {
	s.mu.Lock()
	if s.at == len(s.buf) {
		err = s.err
		s.mu.Unlock()
		if err != nil && err != io.EOF {
			s.watch.Stop()
			err = s.call.explain(err)
		}
		return 0, err
	}
	n = copy(p, s.buf[s.at:])
	s.at += n
	s.owed += n
	if s.at == len(s.buf) && s.lent != nil {
		s.release()
	}
	grant := 0
	if s.owed >= frame.Window/2 && !s.finished {
		grant, s.owed = s.owed, 0
		s.allowed += grant
	}
	last := s.at == len(s.buf) && s.err == io.EOF
	s.mu.Unlock()
	if grant > 0 {
		w := s.call.link.writer
		w.Flush(frame.AppendCredit(w.Begin(), s.call.number, uint32(grant)))
	}
	if last { // a caller that knows the length may not read again
		s.watch.Stop()
		return n, io.EOF
	}
	return n, nil
}

// Close ends the call.
func (s *stream) Close() error {
	s.watch.Stop()
	s.fail(os.ErrClosed)
	return nil
}
