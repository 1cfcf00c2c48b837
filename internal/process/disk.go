package process

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	// diskEvery is how often a process's TMPDIR is measured. Only a quota could stop a write,
	// and a node rarely may set one: until it notices, a fast writer is over its limit.
	diskEvery = time.Second

	diskShare = 10      // times as long as it took, before it is measured again: many files cost CPU
	diskLeast = 4 << 10 // bytes of a file or folder: even an empty one needs room, and our time
	diskChunk = 256     // entries of a folder in memory
)

// weighDisk kills the program when folder holds more than its limit, and looks once more
// when it has exited.
func (p *Process) weighDisk(folder string) {
	next := time.NewTimer(diskEvery)
	defer next.Stop()
	for exited := false; !exited; {
		select {
		case <-p.exited:
			exited = true
		case <-next.C:
		}
		began := time.Now()
		if weigh(folder, p.disk) > p.disk {
			p.exceed(Disk)
			return
		}
		next.Reset(max(diskEvery, diskShare*time.Since(began)))
	}
}

// weigh returns how many bytes on disk the entries below a folder take, or any number over
// enough.
func weigh(folder string, enough int64) (sum int64) {
	for folders := []string{folder}; len(folders) > 0 && sum <= enough; {
		folder, folders = folders[len(folders)-1], folders[:len(folders)-1]
		within, size := weighOne(folder, enough-sum)
		folders, sum = append(folders, within...), sum+size
	}
	return sum
}

// weighOne weighs what is directly in a folder, and returns the folders there. An error says
// that something was removed meanwhile.
func weighOne(folder string, enough int64) (within []string, sum int64) {
	root, err := os.OpenRoot(folder) // it does not wait for a pipe that took the folder's place
	if err != nil {
		return nil, 0
	}
	defer root.Close()
	f, err := root.Open(".")
	if err != nil {
		return nil, 0
	}
	defer f.Close()
	for sum <= enough {
		entries, err := f.ReadDir(diskChunk)
		for _, e := range entries {
			if e.IsDir() {
				within = append(within, filepath.Join(folder, e.Name()))
			}
			sum += sizeOf(e)
		}
		if err != nil {
			break
		}
	}
	return within, sum
}

func sizeOf(e fs.DirEntry) int64 {
	info, err := e.Info()
	switch {
	case err != nil:
		return 0
	case info.Mode().IsRegular():
		return max(diskLeast, onDisk(info))
	default:
		return diskLeast
	}
}
