//go:build unix

package process

import (
	"io/fs"
	"syscall"
)

const (
	sigkill     = syscall.SIGKILL
	errTextBusy = syscall.ETXTBSY
)

func supported() error { return nil }

func killGroup(pgid int, s syscall.Signal) error { return syscall.Kill(-pgid, s) }

// yieldTime gives a process, and what it starts, the lowest priority.
func yieldTime(pid int) { _ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, 19) }

// sessionAttr detaches the process from our terminal, so that Ctrl-C does not reach it.
func sessionAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// onDisk returns what a file takes on disk: a sparse one takes less than its size.
func onDisk(info fs.FileInfo) int64 {
	const block = 512 // whatever the file system's own are
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(s.Blocks) * block
	}
	return info.Size()
}
