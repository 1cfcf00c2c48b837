//go:build unix

package exec_test

import (
	"os"
	"testing"

	"github.com/mayfly-run/mayfly/internal/process"
	"github.com/mayfly-run/mayfly/internal/runner/exec"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "reaper" {
		_ = process.Reap(os.Stdin)
		return
	}
	goleak.VerifyTestMain(m)
}

func newEngine(t *testing.T) *exec.Engine {
	t.Helper()
	k, err := process.Open(t.Context(), process.Options{Reaper: []string{os.Args[0], "reaper"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return exec.New(exec.Options{Keeper: k})
}
