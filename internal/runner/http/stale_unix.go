//go:build unix

package httpengine

import (
	"net"
	"syscall"
)

// A probe checks an idle connection without waiting. Its parts are made once,
// so that calls do not pay for them.
type probe struct {
	raw  syscall.RawConn // nil if the connection cannot be checked
	peek func(fd uintptr) bool
	err  error
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
