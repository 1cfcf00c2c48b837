//go:build unix

package frame

import (
	"io"
	"syscall"
)

// tryWrite returns a function that writes to a socket without waiting for room, and returns
// how much it wrote.
func tryWrite(to io.Writer) func(b []byte) int {
	socket, ok := to.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	var t struct {
		b []byte
		n int
	}
	write := func(fd uintptr) bool {
		for t.n < len(t.b) {
			n, err := syscall.Write(int(fd), t.b[t.n:])
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				break // no room, or broken: the next write says which
			}
			t.n += n
		}
		return true
	}
	return func(b []byte) int {
		t.b, t.n = b, 0
		_ = raw.Write(write)
		t.b = nil
		return t.n
	}
}
