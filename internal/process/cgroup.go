package process

import (
	"os"
	"sync/atomic"
)

// cgroupRoot is where cgroups of version 2 are, if there are any.
const cgroupRoot = "/sys/fs/cgroup/"

// A tree is the part of the cgroups that was delegated to this node. Nil is none.
type tree struct {
	folder string
	node   string       // where the node itself is: a cgroup that gives memory to others holds no processes
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
