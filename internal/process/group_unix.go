//go:build unix

package process

import "syscall"

const (
	sigkill     = syscall.SIGKILL
	errTextBusy = syscall.ETXTBSY
)

func supported() error { return nil }

func killGroup(pgid int, s syscall.Signal) error { return syscall.Kill(-pgid, s) }

// sessionAttr takes the process away from our terminal: a Ctrl-C there is not for
// it.
func sessionAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
