package front

import (
	"net"
	"sync"
)

// A handover is the listener of the net/http server behind this one: it accepts
// what was handed over.
type handover struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHandover(addr net.Addr) *handover {
	return &handover{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// give hands c over with the bytes that were read of it, which it keeps. It
// reports false if nobody takes it any more.
func (h *handover) give(c net.Conn, read []byte) bool {
	select {
	case h.conns <- &replay{Conn: c, read: read}:
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

// A replay is a connection of which some bytes were read already: they come
// first.
type replay struct {
	net.Conn
	read []byte
}

// Read implements net.Conn. Like that of any connection it is called by one
// goroutine at a time.
func (r *replay) Read(p []byte) (int, error) {
	if len(r.read) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.read)
	if r.read = r.read[n:]; len(r.read) == 0 {
		r.read = nil // the buffer it was a part of is free
	}
	return n, nil
}

// CloseWrite lets net/http end its side first, so that a client which is still
// sending reads the answer before the connection is reset.
func (r *replay) CloseWrite() error { return closeWrite(r.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
