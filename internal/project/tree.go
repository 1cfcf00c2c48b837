package project

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bundle"
)

// copyTree copies what a folder holds, but what skip says, into another, which may
// hold some of it already: that stays. skip is asked for paths within the folder,
// with / at the end of a folder's, never for what is in a skipped one. It returns the files that it read,
// absolute. Links stay links if they lead to a place in the folder; one that leads
// out, a pipe, a socket or a device is an error with code Invalid, and so is more
// than a bundle may hold.
func copyTree(ctx context.Context, from, to string, skip func(name string) bool) ([]string, error) {
	root, err := os.OpenRoot(from)
	if err != nil {
		return nil, unreadable(from, err)
	}
	defer root.Close()
	var files []string
	var weight bundle.Weight
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return unreadable(filepath.Join(from, name), err)
		case name == ".":
			return nil
		case d.IsDir() && skip(name+"/"):
			return fs.SkipDir
		case !d.IsDir() && skip(name):
			return nil
		}
		size, err := copyEntry(root, name, d, filepath.Join(to, name))
		if err != nil {
			return err
		}
		if !d.IsDir() {
			files = append(files, filepath.Join(from, name))
		}
		return weight.Add(name, size)
	})
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", from, err)
	}
	return files, nil
}

// copyEntry copies one file, folder or link and returns its size.
func copyEntry(root *os.Root, name string, d fs.DirEntry, to string) (size int64, err error) {
	switch mode := d.Type(); {
	case mode.IsDir():
		if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return 0, err
		}
		return 0, nil
	case mode&fs.ModeSymlink != 0:
		target, err := root.Readlink(name)
		if err != nil {
			return 0, err
		}
		if err := bundle.CheckLink(name, filepath.ToSlash(target)); err != nil {
			return 0, err
		}
		if err := os.Symlink(target, to); err != nil && !errors.Is(err, fs.ErrExist) {
			return 0, err
		}
		return 0, nil
	case !mode.IsRegular():
		return 0, mayfly.Errorf(mayfly.Invalid, "%s is neither file, folder nor link: it cannot be part of a bundle", filepath.Join(root.Name(), name)).
			WithHint("delete it, or list it in %s", ignoreName)
	}
	from, err := root.Open(name)
	if err != nil {
		return 0, unreadable(filepath.Join(root.Name(), name), err)
	}
	defer from.Close()
	return copyInto(from, to)
}

// copyFile copies one file; both are paths.
func copyFile(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return unreadable(from, err)
	}
	defer f.Close()
	_, err = copyInto(f, to)
	return err
}

// copyInto copies an open file to a path where none is; one that is there stays.
// Of its mode only what makes it executable is kept.
func copyInto(from *os.File, to string) (size int64, err error) {
	info, err := from.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() { // it was one when its name was looked at
		return 0, mayfly.Errorf(mayfly.Invalid, "%s is no regular file", from.Name())
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(f, from)
	return size, errors.Join(err, f.Close())
}

// unreadable says that a part of the source cannot be read.
func unreadable(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return mayfly.Errorf(mayfly.Denied, "%s may not be read by this user", path).
			WithHint("change its mode, or list it in %s", ignoreName)
	}
	return mayfly.Errorf(mayfly.Invalid, "read %s: %w", path, err)
}
