package process

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// An ExitError says how a program failed.
type ExitError struct {
	Code        int            // exit status; -1 if a signal ended it
	Signal      syscall.Signal // that ended it; 0 if it exited
	OutOfMemory bool           // killed for exceeding its memory limit
	Limit       int64          // memory limit in bytes; 0 if none
}

// Error describes it as a shell does: "exit status 3".
func (e *ExitError) Error() string {
	switch {
	case e.OutOfMemory:
		return "out of memory, its limit is " + size(e.Limit)
	case e.Signal != 0:
		return fmt.Sprintf("signal %d (%s)", int(e.Signal), e.Signal)
	default:
		return "exit status " + strconv.Itoa(e.Code)
	}
}

// exitError returns nil for exit status 0.
func exitError(state *os.ProcessState, dry bool, limit int64) error {
	e := &ExitError{Code: state.ExitCode(), OutOfMemory: dry, Limit: limit}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal()
	}
	if e.Code == 0 {
		return nil // a child ran out of memory, but the program coped
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
