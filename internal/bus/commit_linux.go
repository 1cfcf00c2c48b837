package bus

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncAlways makes the server sync each write, which costs more than one commit for
// all waiters.
const syncAlways = false

// syncFolder syncs the folder's whole file system: the server's files come and go, and
// this is one system call for all of them.
func syncFolder(folder *os.File) error { return unix.Syncfs(int(folder.Fd())) }
