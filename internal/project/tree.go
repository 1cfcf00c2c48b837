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

// copyTree copies a folder's content, except what skip rejects, into another folder, and
// keeps files that exist there. skip gets paths within the folder, those of folders with
// a / at the end, and none below a skipped folder. It returns the files it read, as
// absolute paths. Links stay links. A link that leads out of the folder, a pipe, a socket
// or a device is an error with code Invalid, and so is more than a bundle may hold.
func copyTree(ctx context.Context, from, to string, skip func(name string) bool) ([]string, error) {
	root, err := os.OpenRoot(from)
	if err != nil {
		return nil, unreadable(from, err)
	}
	defer root.Close()
	all, err := listTree(ctx, root, skip)
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", from, err)
	}
	var files []string
	for _, e := range all {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := e.copy(root, filepath.Join(to, e.name)); err != nil {
			return nil, fmt.Errorf("copy %s: %w", from, err)
		}
		if !e.mode.IsDir() {
			files = append(files, filepath.Join(from, e.name))
		}
	}
	return files, nil
}

// A leaf is one file, folder or link of a tree.
type leaf struct {
	name string
	mode fs.FileMode // its type
	link string      // what it points to
}

// listTree returns what to copy. It checks everything first, so that an oversized tree
// is not copied in vain.
func listTree(ctx context.Context, root *os.Root, skip func(name string) bool) ([]leaf, error) {
	var all []leaf
	var weight bundle.Weight
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return unreadable(filepath.Join(root.Name(), name), err)
		case name == ".":
			return nil
		case d.IsDir() && skip(name+"/"):
			return fs.SkipDir
		case !d.IsDir() && skip(name):
			return nil
		}
		e := leaf{name: name, mode: d.Type()}
		size, err := e.look(root, d)
		if err != nil {
			return err
		}
		all = append(all, e)
		return weight.Add(name, size)
	})
	return all, err
}

// look rejects what cannot be copied, and returns the size of a file.
func (e *leaf) look(root *os.Root, d fs.DirEntry) (size int64, err error) {
	switch {
	case e.mode.IsDir():
		return 0, nil
	case e.mode.IsRegular():
		info, err := d.Info()
		if err != nil {
			return 0, unreadable(filepath.Join(root.Name(), e.name), err)
		}
		return info.Size(), nil
	case e.mode&fs.ModeSymlink != 0:
		if e.link, err = root.Readlink(e.name); err != nil {
			return 0, unreadable(filepath.Join(root.Name(), e.name), err)
		}
		return 0, bundle.CheckLink(e.name, filepath.ToSlash(e.link))
	default:
		return 0, mayfly.Errorf(mayfly.Invalid, "%s is not a file, folder or link, so it cannot be bundled", filepath.Join(root.Name(), e.name)).
			WithHint("delete it, or list it in %s", ignoreName)
	}
}

// copy creates the same at a path, unless it exists.
func (e *leaf) copy(root *os.Root, to string) error {
	var err error
	switch {
	case e.mode.IsDir():
		err = os.Mkdir(to, 0o755)
	case e.link != "":
		err = os.Symlink(e.link, to)
	default:
		var from *os.File
		if from, err = root.Open(e.name); err != nil {
			return unreadable(filepath.Join(root.Name(), e.name), err)
		}
		defer from.Close()
		err = copyInto(from, to)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// copyFile copies one file; both are paths.
func copyFile(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return unreadable(from, err)
	}
	defer f.Close()
	return copyInto(f, to)
}

// copyInto copies an open file to a new path. Of its mode only the executable bit is
// kept.
func copyInto(from *os.File, to string) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() { // it was one when it was listed
		return mayfly.Errorf(mayfly.Invalid, "%s is not a regular file", from.Name())
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// unreadable returns the error for a part of the source that cannot be read.
func unreadable(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return mayfly.Errorf(mayfly.Denied, "no permission to read %s", path).
			WithHint("change its permissions, or list it in %s", ignoreName)
	}
	return mayfly.Errorf(mayfly.Invalid, "read %s: %w", path, err)
}
