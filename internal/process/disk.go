package process

import (
	"io/fs"
	"path/filepath"
	"time"
)

// diskEvery is how often a process's TMPDIR is measured. Only a quota could stop a write,
// and a node rarely may set one: until it notices, a fast writer is over its limit.
const diskEvery = time.Second

// weighDisk kills the program when folder holds more than its limit, and looks once more
// when it has exited.
func (p *Process) weighDisk(folder string) {
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for exited := false; !exited; {
		select {
		case <-p.exited:
			exited = true
		case <-tick.C:
		}
		if holds(folder, p.disk) {
			p.exceed(Disk)
			return
		}
	}
}

// holds reports whether the files in a folder take more than limit bytes on disk.
func holds(folder string, limit int64) bool {
	var sum int64
	_ = filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it was removed meanwhile
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += onDisk(info)
		}
		if sum > limit {
			return fs.SkipAll
		}
		return nil
	})
	return sum > limit
}
