package cli

import (
	"os"
	"os/exec"
	"path/filepath"

	reap "github.com/mayfly-run/mayfly/internal/process"
)

// reaperName is a command that a node starts beside itself. It is not in the help because
// only nodes use it: it outlives a killed node for a moment and ends the processes left.
const reaperName = "reaper"

// reaperOf returns the command line of the reaper, which is this program.
func reaperOf() []string {
	// The name it was called by: one binary may act as several programs, by name.
	if self, err := exec.LookPath(os.Args[0]); err == nil {
		if self, err = filepath.Abs(self); err == nil {
			return []string{self, reaperName}
		}
	}
	if self, err := os.Executable(); err == nil {
		return []string{self, reaperName}
	}
	return nil
}

// reaper is the command of that name.
func (p *process) reaper() error { return reap.Reap(p.stdin) }
