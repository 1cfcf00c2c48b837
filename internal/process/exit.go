package process

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// An ExitError says how a program failed.
type ExitError struct {
	Code     int            // exit status; -1 if a signal ended it
	Signal   syscall.Signal // that ended it; 0 if it exited
	Exceeded Limit          // that it was killed for; "" if none
	Bytes    int64          // of that limit
}

// A Limit is one that a process may exceed. Its name is its key in the manifest.
type Limit string

// The limits.
const (
	Memory Limit = "memory"
	Disk   Limit = "disk"
)

// Error describes it as a shell does: "exit status 3".
func (e *ExitError) Error() string {
	switch {
	case e.Exceeded == Memory:
		return "out of memory, its limit is " + size(e.Bytes)
	case e.Exceeded == Disk:
		return "too much in TMPDIR, its limit is " + size(e.Bytes)
	case e.Signal != 0:
		return fmt.Sprintf("signal %d (%s)", int(e.Signal), e.Signal)
	default:
		return "exit status " + strconv.Itoa(e.Code)
	}
}

// exitError returns nil for exit status 0.
func exitError(state *os.ProcessState, exceeded Limit, limit int64) error {
	e := &ExitError{Code: state.ExitCode(), Exceeded: exceeded, Bytes: limit}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal()
	}
	if e.Code == 0 && exceeded != Disk {
		return nil // perhaps a child ran out of memory, but the program coped
	}
	return e
}

// size formats bytes the way limits are written: 256MiB.
func size(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.bytes && n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
