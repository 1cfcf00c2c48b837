//go:build unix

package httpengine

import (
	"net"
	"syscall"
)

// A probe looks at an idle connection without waiting. Its parts are made once,
// because a call must not pay for them.
type probe struct {
	raw  syscall.RawConn // nil if the connection cannot be looked at
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

// stale reports whether an idle connection was closed by the other side, or holds
// bytes that no request asked for: they would be taken for the next reply, and
// every later reply would reach the wrong caller (RFC 9112, 9.2).
func (p *probe) stale() bool {
	if p.raw == nil {
		return false
	}
	err := p.raw.Read(p.peek)
	return err != nil || p.err != syscall.EAGAIN
}
