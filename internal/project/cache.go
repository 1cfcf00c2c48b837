package project

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/mayfly-run/mayfly"
)

// Installs keep builds that run at once and share a cache from installing the same packages
// twice: one does, the others wait for it. The zero value is ready to use.
type Installs struct {
	mu      sync.Mutex
	running map[string]*install // by the name in the cache
}

// An install is one that runs.
type install struct {
	ended chan struct{}
	err   error // why it failed, once it has ended
}

// begin returns the install of a name that runs, or begins one.
func (i *Installs) begin(name string) (one *install, running bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if one, running = i.running[name]; running {
		return one, true
	}
	one = &install{ended: make(chan struct{})}
	if i.running == nil {
		i.running = map[string]*install{}
	}
	i.running[name] = one
	return one, false
}

func (i *Installs) end(name string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.running[name].err = err
	close(i.running[name].ended)
	delete(i.running, name)
}

// cached returns a folder in the cache, which fill fills if it does not exist. Its name
// stands for its content, which never changes.
func (b *builder) cached(ctx context.Context, name string, fill func(folder string) error) (string, error) {
	folder := filepath.Join(b.Cache, name)
	one, running := b.Installs.begin(name)
	if !running {
		err := b.make(folder, fill)
		b.Installs.end(name, err)
		return folder, err
	}
	b.Idle(func() {
		select {
		case <-one.ended:
		case <-ctx.Done():
		}
	})
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return folder, one.err
}

// make fills a folder of the cache. It appears by a rename, so other processes may make it
// too, and a killed build leaves no partial one.
func (b *builder) make(folder string, fill func(folder string) error) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	temporary, err := os.MkdirTemp(b.Cache, "."+filepath.Base(folder)+".*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary) // a no-op after the rename
	if err := fill(temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
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
