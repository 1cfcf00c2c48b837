//go:build unix

package node

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// errLocked means that another process holds the lock.
var errLocked = errors.New("locked by another process")

// lock takes the lock for as long as the file is open; the kernel frees it when
// the process dies, however it dies.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	// locked, which only looks, holds it too for a moment.
	for try := 0; errors.Is(err, unix.EWOULDBLOCK) && try < 50; try++ {
		time.Sleep(5 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, err
	}
	return f, nil
}

// locked reports whether a process holds the lock. It asks for a shared lock, so
// two that ask do not see each other.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
