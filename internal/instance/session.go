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
	chunks chunks

	mu        sync.Mutex
	calls     map[uint32]*call
	queue     []*call // that no worker has taken; they begin at first
	first     int
	more      sync.Cond     // there are some
	idle      int           // workers that wait for more
	searching bool          // one was woken, or started, and has not looked yet
	over      bool          // workers end
	quiet     chan struct{} // if set, closed when no call is in flight
}

func newSession(conn net.Conn, h http.Handler, folder string) *session {
	s := &session{
		handle: h.ServeHTTP, folder: folder, conn: conn, writer: frame.NewWriter(conn),
		server: &http.Server{Handler: h}, calls: map[uint32]*call{},
	}
	s.more.L = &s.mu
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
	s.queue = append(s.queue, c)
	s.search()
	return nil
}

// search has one more worker look for calls, if there are any and none is about to. So a burst
// of short calls wakes few workers, and a call that takes long keeps none waiting. mu is held.
func (s *session) search() {
	switch {
	case s.searching || s.first == len(s.queue):
	case s.idle > 0:
		s.searching = true
		s.more.Signal()
	default:
		s.searching = true
		go new(worker).run(s)
	}
}

// next returns a call for a worker, or nil if that is to end.
func (s *session) next(woken bool) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	if woken {
		s.searching = false
	}
	for s.first == len(s.queue) {
		if s.over || s.idle == keepWorkers {
			return nil
		}
		s.idle++
		s.more.Wait()
		s.idle--
		s.searching = false
	}
	c := s.queue[s.first]
	s.queue[s.first] = nil
	if s.first++; s.first == len(s.queue) {
		s.queue, s.first = s.queue[:0], 0
	}
	s.search()
	return c
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
	s.more.Broadcast()
}

// A worker is a goroutine that serves one call after another: its stack has grown already, as
// have its buffers.
type worker struct {
	head  []byte // of a reply
	body  []byte // what is buffered of it
	piece []byte // for response.ReadFrom
}

func (w *worker) run(s *session) {
	for c := s.next(true); c != nil; c = s.next(false) {
		c.serve(w)
	}
}
