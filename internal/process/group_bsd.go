//go:build unix && !linux

package process

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func groupAttr(*cell) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit returns when the process has exited, without reaping it.
func awaitExit(pid int) {
	kq, err := unix.Kqueue()
	if err != nil {
		return
	}
	defer unix.Close(kq)
	exit := make([]unix.Kevent_t, 1)
	unix.SetKevent(&exit[0], pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	exit[0].Fflags = unix.NOTE_EXIT
	for changes := exit; ; changes = nil {
		// ESRCH: it has already exited.
		if _, err := unix.Kevent(kq, changes, make([]unix.Kevent_t, 1), nil); err != unix.EINTR {
			return
		}
	}
}
