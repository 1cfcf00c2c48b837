package front

import (
	"net"
	"sync"
	"time"
)

// A handover is the listener of the net/http server behind this one: it accepts the
// connections handed over.
type handover struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHandover(addr net.Addr) *handover {
	return &handover{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// give hands c over with the bytes read so far, which it keeps, and the deadline of the
// head that they begin, if it has one. It returns false if the listener is closed.
func (h *handover) give(c net.Conn, read []byte, headBy time.Time) bool {
	select {
	case h.conns <- &replay{Conn: c, read: read, headBy: headBy}:
		return true
	case <-h.closed:
		return false
	}
}

// Accept implements net.Listener.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr implements net.Listener.
func (h *handover) Addr() net.Addr { return h.addr }

// A replay is a connection that first returns the bytes already read.
type replay struct {
	net.Conn
	read    []byte
	headBy  time.Time // the first read deadline is not later; no bound if zero
	framing framing
}

// Read implements net.Conn. As usual, only one goroutine at a time may call it.
func (r *replay) Read(p []byte) (n int, err error) {
	if len(r.read) == 0 {
		n, err = r.Conn.Read(p)
	} else {
		n = copy(p, r.read)
		if r.read = r.read[n:]; len(r.read) == 0 {
			r.read = nil // releases the buffer
		}
	}
	r.framing.see(p[:n])
	return n, err
}

// SetReadDeadline implements net.Conn. net/http first sets the deadline of a head, part of
// which may have taken its time already.
func (r *replay) SetReadDeadline(t time.Time) error {
	if by := r.headBy; !by.IsZero() {
		if r.headBy = (time.Time{}); by.Before(t) {
			t = by
		}
	}
	return r.Conn.SetReadDeadline(t)
}

// CloseWrite lets net/http close its side first, so that a client that is still sending
// reads the answer before the connection is reset.
func (r *replay) CloseWrite() error { return closeWrite(r.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
