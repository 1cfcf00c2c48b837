package project

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mayfly-run/mayfly"
)

// cached returns a folder in the cache, which make fills if it does not exist. It
// appears by a rename, so concurrent builds may make it, and a killed build leaves no
// partial one.
func (b *builder) cached(name string, make func(folder string) error) (string, error) {
	folder := filepath.Join(b.Cache, name)
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	temporary, err := os.MkdirTemp(b.Cache, "."+name+".*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temporary) // a no-op after the rename
	if err := make(temporary); err != nil {
		return "", err
	}
	if err := os.Rename(temporary, folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return folder, nil
}

// digestOf returns a hash of the contents of files.
func digestOf(files ...string) (string, error) {
	hash := sha256.New()
	for _, file := range files {
		// Reading a pipe would never end.
		if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
			return "", mayfly.Errorf(mayfly.Invalid, "%s is not a regular file", file)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return "", unreadable(file, err)
		}
		one := sha256.Sum256(data)
		hash.Write(one[:])
	}
	return hex.EncodeToString(hash.Sum(nil)[:16]), nil
}

// filesLike returns the files of a folder whose names a pattern matches.
func filesLike(folder, pattern string) []string {
	names, _ := fs.Glob(os.DirFS(folder), pattern) // the only error is a bad pattern
	for i, name := range names {
		names[i] = filepath.Join(folder, name)
	}
	return names
}
