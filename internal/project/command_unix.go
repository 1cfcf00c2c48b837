//go:build unix

package project

import (
	"os/exec"
	"syscall"
)

// killGroup makes the end of a command's context the end of all that it started.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
