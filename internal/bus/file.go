package bus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// ReplaceFile writes a file with mode 0600, whole or not at all, and returns when it would
// survive a power loss.
func ReplaceFile(path string, data []byte) error { return placeFile(path, data, os.Rename) }

// CreateFile is ReplaceFile for a file that must not exist; the error is fs.ErrExist.
func CreateFile(path string, data []byte) error { return placeFile(path, data, os.Link) }

func placeFile(path string, data []byte, place func(from, to string) error) error {
	folder := filepath.Dir(path)
	file, err := os.CreateTemp(folder, "."+filepath.Base(path)+"-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // after a rename it is gone
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := place(file.Name(), path); err != nil {
		return err
	}
	return SyncPath(folder)
}

// SyncPath syncs a file, or a folder's list of files, to disk.
func SyncPath(path string) error {
	if runtime.GOOS == "windows" {
		return nil // Windows cannot sync folders, and journals them itself
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
