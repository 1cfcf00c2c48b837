package bus

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncAlways has the server sync each write by itself, which costs more than one
// commit for all who wait.
const syncAlways = false

// syncFolder writes the whole file system that the folder is on: the server's files
// come and go, and the disk is asked once for all of them.
func syncFolder(folder *os.File) error { return unix.Syncfs(int(folder.Fd())) }
