package process

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// groupAttr puts the process into its own group, and into its cgroup from its first
// instruction; it dies with the thread that started it.
func groupAttr(c *cell) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if c != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(c.dir.Fd())
	}
	return attr
}

// awaitExit returns when the process has exited, without reaping it.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}
