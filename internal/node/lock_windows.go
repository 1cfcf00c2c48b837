package node

import (
	"errors"
	"os"

	"github.com/mayfly-run/mayfly"
)

// errLocked means that another process holds the lock.
var errLocked = errors.New("locked by another process")

// lock fails: a node does not run on Windows, only the client commands do.
func lock(string) (*os.File, error) {
	return nil, mayfly.Errorf(mayfly.Unavailable, "mayfly up does not run on Windows").
		WithHint("run the node on Linux or macOS, for instance in WSL, and use --nats from here")
}

func locked(string) bool { return false }
