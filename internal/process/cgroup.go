package process

import (
	"os"
	"sync/atomic"
)

// cgroupRoot is where cgroups v2 are mounted, if at all.
const cgroupRoot = "/sys/fs/cgroup/"

// A tree is the cgroup subtree delegated to this node. Nil is none.
type tree struct {
	folder string
	node   string       // where the node moves itself: a cgroup that delegates memory holds no processes
	count  atomic.Int64 // of cells made
}

// A cell is the cgroup of one process. Nil is none.
type cell struct {
	folder string
	dir    *os.File // nil in the reaper
}

func (c *cell) path() string {
	if c == nil {
		return ""
	}
	return c.folder
}
