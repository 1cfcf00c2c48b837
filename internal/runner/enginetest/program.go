//go:build unix

package enginetest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/process"
)

// Play runs the program named by the test binary's first argument, and reports whether
// there was one; call it first in TestMain. It includes "reaper", which Keeper needs,
// and "child", which StartChild starts.
func Play(programs map[string]func()) bool {
	if len(os.Args) < 2 {
		return false
	}
	switch name, play := os.Args[1], programs[os.Args[1]]; {
	case play != nil:
		play()
	case name == "reaper":
		must(process.Reap(os.Stdin))
	case name == "child":
		playChild(os.Args[2])
	default:
		return false
	}
	return true
}

// Program returns the command line of one of Play's programs.
func Program(name string) []string { return []string{os.Args[0], name} }

// Keeper returns a keeper for the test, with Play's reaper.
func Keeper(t testing.TB) *process.Keeper {
	t.Helper()
	k, err := process.Open(t.Context(), process.Options{Reaper: Program("reaper")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// OpenLeash opens the leash for a program and reports that on it.
func OpenLeash(path string) *os.File {
	leash, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(err)
	fmt.Fprintln(leash, "open")
	return leash
}

// StartChild implements /child: when it returns, the child is running.
func StartChild(leash string) {
	child := exec.Command(os.Args[0], "child", leash)
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := child.StdoutPipe()
	must(err)
	must(child.Start())
	_, err = io.Copy(io.Discard, out)
	must(err)
}

func playChild(leash string) {
	signal.Ignore(syscall.SIGTERM)
	defer OpenLeash(leash).Close()
	os.Stdout.Close()
	<-time.After(time.Hour)
}

// must ends a program that cannot provide what a test needs.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
