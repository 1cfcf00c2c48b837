//go:build unix

package httpengine

import (
	"net"
	"syscall"
)

// stale reports whether a connection that lies idle was closed by the other side,
// or says what nobody asked.
func stale(c net.Conn) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	var peeked error
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, peeked = syscall.Read(int(fd), one[:])
		return true
	})
	return err != nil || peeked != syscall.EAGAIN
}
