package process

import (
	"io/fs"
	"syscall"

	"github.com/mayfly-run/mayfly"
)

const (
	sigkill     = syscall.SIGKILL
	errTextBusy = syscall.ETXTBSY
)

func supported() error {
	return mayfly.Errorf(mayfly.Unavailable, "functions do not run on Windows").
		WithHint("run the node on Linux or macOS, or in WSL; the other commands work from here with --nats")
}

func killGroup(int, syscall.Signal) error { return syscall.EWINDOWS }

func groupAttr(*cell) *syscall.SysProcAttr { return nil }

func sessionAttr() *syscall.SysProcAttr { return nil }

func yieldTime(int) {}

func awaitExit(int) {}

func onDisk(info fs.FileInfo) int64 { return info.Size() }
