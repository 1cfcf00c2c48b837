//go:build unix

package node_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever looks for running nodes holds the lock for a moment, and must not be in
// the way of one that starts just then.
func TestLookingForNodesDisturbsNone(t *testing.T) {
	t.Parallel()
	o := options(t)
	f, err := os.Create(filepath.Join(o.Folder, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { f.Close() })
	start(t, o)
}
