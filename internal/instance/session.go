package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/mayfly-run/mayfly/internal/frame"
)

// keepWorkers is how many goroutines wait for calls; a burst may need more.
const keepWorkers = 64

// A session is the connection to the node.
type session struct {
	handle http.HandlerFunc
	folder string
	conn   net.Conn
	writer *frame.Writer
	server *http.Server // what handlers find in their context

	mu    sync.Mutex
	calls map[uint32]*call
	idle  []*worker
	over  bool          // no worker waits for calls any more
	quiet chan struct{} // if set, closed when no call is in flight
}

func newSession(conn net.Conn, h http.Handler, folder string) *session {
	s := &session{
		handle: h.ServeHTTP, folder: folder, conn: conn, writer: frame.NewWriter(conn),
		server: &http.Server{Handler: h}, calls: map[uint32]*call{},
	}
	if f, ok := h.(http.HandlerFunc); ok {
		s.handle = f // one frame less in traces
	}
	return s
}

// serve takes calls until ctx ends and they are finished, or the connection ends.
func (s *session) serve(ctx context.Context) error {
	s.writer.Flush(s.writer.Begin()) // the preface says that we are ready
	read := make(chan error, 1)
	go func() { read <- s.read() }()
	var err error
	select {
	case err = <-read:
		s.abandon(err)
	case <-ctx.Done():
		select {
		case <-s.drain():
			s.writer.Drain()
		case err := <-read:
			s.abandon(err) // nobody waits for the calls
			read <- err
		}
		s.conn.Close()
		<-read
	}
	s.conn.Close()
	s.writer.Close()
	s.release()
	return err
}

// read takes frames until the connection ends, which is always an error.
func (s *session) read() error {
	reader, err := frame.NewReader(s.conn)
	for err == nil {
		var f frame.Frame
		if f, err = reader.Next(); err == nil {
			err = s.take(f)
		}
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the node closed the connection")
	}
	return fmt.Errorf("the connection to the node broke: %w", err)
}

// take passes on a frame. Frames of calls that are over may have crossed their end.
func (s *session) take(f frame.Frame) error {
	if f.Kind == frame.Head {
		return s.begin(f)
	}
	s.mu.Lock()
	c := s.calls[f.Call]
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	switch f.Kind {
	case frame.Data:
		return c.body.take(f)
	case frame.Credit:
		c.grant(f.Granted())
	case frame.Error, frame.Cancel:
		c.cancel()
	}
	return nil
}

// begin has a worker serve a call.
func (s *session) begin(f frame.Frame) error {
	c, err := newCall(s, f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.id] != nil {
		return fmt.Errorf("call %d begins twice", c.id)
	}
	s.calls[c.id] = c
	if last := len(s.idle) - 1; last >= 0 {
		w := s.idle[last]
		s.idle = s.idle[:last]
		w.next <- c
		return nil
	}
	w := &worker{next: make(chan *call, 1)}
	go w.run(c)
	return nil
}

// end forgets a call.
func (s *session) end(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, c.id)
	if s.quiet != nil && len(s.calls) == 0 {
		close(s.quiet)
		s.quiet = nil
	}
}

// drain returns a channel that is closed when no call is in flight.
func (s *session) drain() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	quiet := make(chan struct{})
	if len(s.calls) == 0 {
		close(quiet)
	} else {
		s.quiet = quiet
	}
	return quiet
}

// abandon cancels all calls: their replies can go nowhere.
func (s *session) abandon(error) {
	s.mu.Lock()
	var left []*call
	for _, c := range s.calls {
		left = append(left, c)
	}
	s.mu.Unlock()
	for _, c := range left {
		c.cancel()
	}
}

// release ends the workers that wait, and later those that do not.
func (s *session) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, w := range s.idle {
		close(w.next)
	}
	s.idle = nil
}

// park has a worker wait for its next call, if it should.
func (s *session) park(w *worker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || len(s.idle) == keepWorkers {
		return false
	}
	s.idle = append(s.idle, w)
	return true
}

// A worker is a goroutine that serves one call after another: its stack has grown already, as
// have its buffers.
type worker struct {
	next  chan *call
	head  []byte // of a reply
	body  []byte // what is buffered of it
	piece []byte // for response.ReadFrom
}

func (w *worker) run(c *call) {
	for c != nil {
		s := c.session
		c.serve(w)
		if !s.park(w) {
			return
		}
		c = <-w.next
	}
}
