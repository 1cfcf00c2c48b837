//go:build unix

package httpengine

import (
	"io"
	"net"
	"syscall"
)

// A probe looks at a kept connection before it is used again. Its functions are
// made once, so that calls do not pay for them.
type probe struct {
	raw  syscall.RawConn // nil if the connection cannot be checked
	peek func(fd uintptr) bool
	turn func(fd uintptr) bool

	// What one use of the connection asks and finds.
	request, reply []byte
	asked          bool // the request was written, as far as written says
	written, read  int
	err            error
}

func newProbe(c net.Conn) *probe {
	p := &probe{}
	if s, ok := c.(syscall.Conn); ok {
		p.raw, _ = s.SyscallConn()
	}
	p.peek = func(fd uintptr) bool {
		var one [1]byte
		_, p.err = syscall.Read(int(fd), one[:])
		return true
	}
	p.turn = p.takeTurn
	return p
}

// stale reports whether the peer closed an idle connection or sent unsolicited
// bytes: they would be taken for the next reply, and every later reply would
// reach the wrong caller (RFC 9112, 9.2).
func (p *probe) stale() bool {
	if p.raw == nil {
		return false
	}
	err := p.raw.Read(p.peek)
	return err != nil || p.err != syscall.EAGAIN
}

// ask is stale, then a write of request and a read of the reply's first bytes, with
// one system call fewer: the read that finds nothing stale also prepares the wait
// for the reply. It may write less than the request; then it has not read.
func (p *probe) ask(request, reply []byte) (written, read int, err error) {
	if p.raw == nil {
		return 0, 0, nil
	}
	p.request, p.reply, p.asked, p.written, p.read, p.err = request, reply, false, 0, 0, nil
	err = p.raw.Read(p.turn)
	p.request, p.reply = nil, nil
	if err == nil {
		err = p.err
	}
	return p.written, p.read, err
}

// takeTurn is called at once and then whenever the connection becomes readable, until
// it returns true.
func (p *probe) takeTurn(fd uintptr) bool {
	n, err := syscall.Read(int(fd), p.reply)
	switch {
	case !p.asked && err != syscall.EAGAIN:
		p.err = errStale
		return true
	case !p.asked:
		p.asked = true
		n, err = syscall.Write(int(fd), p.request)
		p.written = max(n, 0)
		return err != nil || n < len(p.request)
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return false
	case err == nil && n == 0:
		err = io.EOF
	}
	p.read, p.err = max(n, 0), err
	return true
}
