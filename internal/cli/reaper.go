package cli

import (
	"os"
	"os/exec"
	"path/filepath"

	reap "github.com/mayfly-run/mayfly/internal/process"
)

// reaperName is the command that a node starts itself beside it. It is in no help,
// because nobody else has a use for it: it outlives the node for a moment and ends
// the processes that a killed node has left.
const reaperName = "reaper"

// reaperOf returns the command line of the reaper, which is this program.
func reaperOf() []string {
	// By the name it was called: a program may be several, by its name.
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

// reaper is what the program does by that name.
func (p *process) reaper() error { return reap.Reap(p.stdin) }
