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

// cached returns a folder of the cache, which make fills if it is not there yet.
// It appears whole, so two builds may make it at the same time, and one that is
// killed leaves nothing that another would take for finished.
func (b *builder) cached(name string, make func(folder string) error) (string, error) {
	folder := filepath.Join(b.Cache, name)
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	temporary, err := os.MkdirTemp(b.Cache, "."+name+".*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temporary) // after the rename it is gone
	if err := make(temporary); err != nil {
		return "", err
	}
	if err := os.Rename(temporary, folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return folder, nil
}

// digestOf returns what tells the contents of files from all others.
func digestOf(files ...string) (string, error) {
	hash := sha256.New()
	for _, file := range files {
		// A pipe would never end.
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
