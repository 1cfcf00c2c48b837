//go:build unix

package process

import "syscall"

const (
	sigkill     = syscall.SIGKILL
	errTextBusy = syscall.ETXTBSY
)

func supported() error { return nil }

func killGroup(pgid int, s syscall.Signal) error { return syscall.Kill(-pgid, s) }

// sessionAttr detaches the process from our terminal, so that Ctrl-C does not reach it.
func sessionAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
