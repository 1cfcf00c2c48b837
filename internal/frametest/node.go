package frametest

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/mayfly-run/mayfly/internal/frame"
)

// A Node calls one instance. It implements http.RoundTripper.
type Node struct {
	t        testing.TB
	listener net.Listener
	linked   chan struct{} // closed when the instance has connected
	gone     chan struct{} // closed when it has left
	conn     net.Conn      // after linked
	writer   *frame.Writer // after linked

	uploads sync.WaitGroup

	mu    sync.Mutex
	last  uint32
	calls map[uint32]*call
	ended bool
}

// Listen returns a Node that one instance can connect to on a unix socket, until the end of
// the test.
func Listen(t testing.TB, path string) *Node {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{t: t, listener: l, linked: make(chan struct{}), gone: make(chan struct{}), calls: map[uint32]*call{}}
	go func() {
		defer close(n.gone)
		n.serve()
	}()
	t.Cleanup(n.Close)
	return n
}

// Linked is closed when the instance has connected: it is ready.
func (n *Node) Linked() <-chan struct{} { return n.linked }

// Gone is closed when the instance has left.
func (n *Node) Gone() <-chan struct{} { return n.gone }

// Close breaks the connection.
func (n *Node) Close() {
	n.listener.Close()
	select {
	case <-n.linked:
		n.conn.Close()
	case <-n.gone:
	}
	<-n.gone
}

// Send sends bytes as they are, to an instance that has connected.
func (n *Node) Send(b []byte) { n.writer.Flush(append(n.writer.Begin(), b...)) }

// Raw begins a call with a whole HEAD frame, and returns its number. Its reply goes nowhere.
func (n *Node) Raw(head, body string, end bool) uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	n.Send(frame.Append(nil, frame.Frame{Call: n.last, Kind: frame.Head, End: end, Head: []byte(head), Body: []byte(body)}))
	return n.last
}

// serve reads what the instance sends.
func (n *Node) serve() {
	conn, err := n.listener.Accept()
	n.listener.Close() // it connects once
	if err != nil {
		return
	}
	defer conn.Close()
	reader, err := frame.NewReader(conn)
	if err != nil {
		n.t.Errorf("the instance: %v", err)
		return
	}
	n.conn, n.writer = conn, frame.NewWriter(conn)
	n.Send(nil) // the preface
	close(n.linked)
	for err == nil {
		var f frame.Frame
		if f, err = reader.Next(); err == nil {
			err = n.take(f)
		}
		if _, wrong := errors.AsType[violation](err); wrong {
			n.t.Errorf("the instance broke the rules: %v", err)
		}
	}
	n.mu.Lock()
	n.ended = true
	left := slices.Collect(maps.Values(n.calls))
	n.mu.Unlock()
	for _, c := range left {
		c.fail(fmt.Errorf("the instance left: %w", err))
	}
	conn.Close()
	n.writer.Close()
	n.uploads.Wait()
}

// A violation is something that an instance must not send.
type violation string

func (v violation) Error() string { return string(v) }

// take passes on a frame to its call.
func (n *Node) take(f frame.Frame) error {
	n.mu.Lock()
	c := n.calls[f.Call]
	known := f.Call <= n.last
	n.mu.Unlock()
	switch {
	case !known:
		return violation(fmt.Sprintf("there was no call %d", f.Call))
	case f.Kind == frame.Cancel:
		return violation("an instance cannot cancel")
	case c == nil:
		return nil // it is over
	}
	return c.take(f)
}

// begin gives a call its number.
func (n *Node) begin(c *call) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended {
		return fmt.Errorf("the instance has left: %w", net.ErrClosed)
	}
	n.last++
	c.id = n.last
	n.calls[c.id] = c
	return nil
}

// forget ends a call.
func (n *Node) forget(c *call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.calls, c.id)
}

// RoundTrip implements http.RoundTripper. An instance that fails before its reply answers
// as a node lets it: 502 with the line in Mayfly-Crash and the trace as the body.
func (n *Node) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-n.linked:
	case <-n.gone:
		return nil, net.ErrClosed
	}
	c := newCall(n, r)
	if err := n.begin(c); err != nil {
		return nil, err
	}
	return c.run()
}
