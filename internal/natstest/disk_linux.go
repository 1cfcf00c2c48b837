package natstest

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A Disk is a small one that a test can fill.
type Disk struct {
	Folder string // where it is mounted

	t testing.TB
}

// NewDisk mounts a disk of that many MiB until the end of the test. That needs root.
func NewDisk(t testing.TB, size int) *Disk {
	t.Helper()
	d := &Disk{Folder: t.TempDir(), t: t}
	err := syscall.Mount("tmpfs", d.Folder, "tmpfs", 0, fmt.Sprintf("size=%dm", size))
	Require(t, "root", err, "run the test as root, to mount a small disk")
	t.Cleanup(func() {
		if err := syscall.Unmount(d.Folder, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", d.Folder, err)
		}
	})
	return d
}

func (d *Disk) filler() string { return filepath.Join(d.Folder, "filler") }

// Fill leaves no byte free.
func (d *Disk) Fill() {
	d.t.Helper()
	f, err := os.Create(d.filler())
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// Free makes the room again that Fill took.
func (d *Disk) Free() {
	d.t.Helper()
	if err := os.Remove(d.filler()); err != nil {
		d.t.Fatal(err)
	}
}
