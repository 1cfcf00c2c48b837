package registry

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bundle"
	"github.com/mayfly-run/mayfly/internal/bus"
)

// The cache holds a folder for each bundle:
//
//	<digest>/code/...    the unpacked files
//	<digest>/complete    written last: the digest, and how much was unpacked
//	.fetch-*/            in progress; renamed to its digest when done
//
// A crash leaves only a .fetch folder, which Open removes when it is old.
const (
	cacheCode    = "code"
	cacheMark    = "complete"
	cachePacked  = "packed"
	cachePattern = ".fetch-*"
)

// A mark says that a folder of the cache is complete. Files and Bytes detect loss after
// a power failure or a manual cleanup.
type mark struct {
	Digest string `json:"digest"`
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
}

// Fetch returns a folder with the unpacked bundle, from the cache or else from the
// store. Concurrent callers share one download, which goes on for the others when one
// leaves. Callers must not write to it. Errors: NotFound, Unavailable, Invalid for a bundle
// that cannot be unpacked.
func (r *Registry) Fetch(ctx context.Context, digest string) (string, error) {
	if err := checkDigest(digest); err != nil {
		return "", err
	}
	if r.barred != nil {
		return "", r.barred
	}
	if r.options.Cache == "" {
		return "", mayfly.Errorf(mayfly.Internal, "bundle %s cannot be fetched: there is no cache folder", digest)
	}
	folder := filepath.Join(r.options.Cache, digest)
	if r.fetcher.knows(digest) {
		if _, err := os.Stat(filepath.Join(folder, cacheMark)); err == nil {
			asked(folder)
			return filepath.Join(folder, cacheCode), nil
		}
	}
	f, err := r.fetcher.join(digest, func(ctx context.Context) error { return r.fetch(ctx, digest, folder) })
	if err != nil {
		return "", err
	}
	select {
	case <-f.done:
		return filepath.Join(folder, cacheCode), f.err
	case <-ctx.Done():
		return "", bus.Fault("fetch bundle "+digest, ctx.Err())
	}
}

// asked notes on a folder of the cache that it is used: see sparedHere.
func asked(folder string) { _ = os.Chtimes(folder, time.Time{}, time.Now()) }

// fetch fills a folder of the cache.
func (r *Registry) fetch(ctx context.Context, digest, folder string) error {
	if whole(folder, digest) {
		asked(folder)
		return nil
	}
	if err := os.MkdirAll(r.options.Cache, 0o700); err != nil {
		return cacheError(err)
	}
	fresh, err := os.MkdirTemp(r.options.Cache, cachePattern)
	if err != nil {
		return cacheError(err)
	}
	defer os.RemoveAll(fresh) // after the rename it is gone
	packed := filepath.Join(fresh, cachePacked)
	if err := r.download(ctx, digest, packed); err != nil {
		return err
	}
	if err := unpack(packed, filepath.Join(fresh, cacheCode)); err != nil {
		return err
	}
	if err := writeMark(fresh, digest); err != nil {
		return cacheError(err)
	}
	// The existing folder is incomplete. Move it aside before removing it, so that a
	// crash in between leaves nothing that looks like a bundle.
	if err := os.Rename(folder, fresh+".old"); err == nil {
		r.log.Warn("damaged bundle refetched", "file", folder)
		defer os.RemoveAll(fresh + ".old")
	}
	return cacheError(os.Rename(fresh, folder))
}

// unpack unpacks a file and removes it.
func unpack(packed, folder string) error {
	file, err := os.Open(packed)
	if err != nil {
		return cacheError(err)
	}
	defer os.Remove(packed)
	defer file.Close()
	return bundle.Unpack(file, folder, bundle.Limits{})
}

func writeMark(folder, digest string) error {
	m, err := measure(filepath.Join(folder, cacheCode))
	if err != nil {
		return err
	}
	m.Digest = digest
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, cacheMark), data, 0o600)
}

// whole reports whether a folder of the cache holds a complete bundle.
func whole(folder, digest string) bool {
	data, err := os.ReadFile(filepath.Join(folder, cacheMark))
	if err != nil {
		return false
	}
	var written mark
	if err := json.Unmarshal(data, &written); err != nil || written.Digest != digest {
		return false
	}
	found, err := measure(filepath.Join(folder, cacheCode))
	found.Digest = digest
	return err == nil && found == written
}

// measure counts files and bytes in a folder.
func measure(folder string) (mark, error) {
	var m mark
	err := filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		m.Files++
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		m.Bytes += info.Size()
		return nil
	})
	return m, err
}

// sweepCache creates the cache's folder and removes leftovers of crashes.
func sweepCache(cache string) error {
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return cacheError(err)
	}
	entries, err := os.ReadDir(cache)
	if err != nil {
		return cacheError(err)
	}
	prefix := strings.TrimSuffix(cachePattern, "*")
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), prefix) && time.Since(info.ModTime()) > transfer {
			_ = os.RemoveAll(filepath.Join(cache, e.Name())) // it only takes space
		}
	}
	return nil
}

// unasked returns the cached bundles that were not asked for lately, except those to keep.
func unasked(cache string, before time.Time, keep map[string]bool) (digests []string, err error) {
	entries, err := os.ReadDir(cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, cacheError(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && checkDigest(e.Name()) == nil && !keep[e.Name()] && !info.ModTime().After(before) {
			digests = append(digests, e.Name())
		}
	}
	return digests, nil
}

// A fetcher lets concurrent callers share one fetch of a bundle, and remembers which
// folders are complete. The zero fetcher is ready.
type fetcher struct {
	mu      sync.Mutex
	flights map[string]*flight
	known   map[string]bool
	named   map[string]bool // that an entry referenced at the last look
	closed  bool
	working sync.WaitGroup
}

// A flight is one fetch. err is set before done is closed.
type flight struct {
	done   chan struct{}
	err    error
	cancel context.CancelFunc
}

func (f *fetcher) knows(digest string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known[digest]
}

// join returns the flight of a digest, and starts one if there is none. work gets its
// own context: it runs for all callers, not for the first one.
func (f *fetcher) join(digest string, work func(ctx context.Context) error) (*flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, mayfly.Errorf(mayfly.Unavailable, "bundle %s is not fetched: the node stops", digest)
	}
	if present := f.flights[digest]; present != nil {
		return present, nil
	}
	if f.flights == nil {
		f.flights, f.known = map[string]*flight{}, map[string]bool{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), transfer)
	started := &flight{done: make(chan struct{}), cancel: cancel}
	f.flights[digest] = started
	f.working.Go(func() {
		defer cancel()
		started.err = work(ctx)
		f.mu.Lock()
		delete(f.flights, digest)
		if started.err == nil {
			f.known[digest] = true
		}
		f.mu.Unlock()
		close(started.done)
	})
	return started, nil
}

// unsure reports whether a bundle was not referenced at the last look.
func (f *fetcher) unsure(digests []string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(digests, func(digest string) bool { return !f.named[digest] })
}

// settle notes what is referenced.
func (f *fetcher) settle(named map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.named = named
}

// forget removes cached bundles, except those that were asked for since they were listed.
func (f *fetcher) forget(cache string, before time.Time, digests []string) error {
	for _, digest := range digests {
		if err := f.remove(cache, before, digest); err != nil {
			return err
		}
	}
	return nil
}

// remove holds the lock, so that the bundle is not fetched meanwhile. It moves the
// folder aside first: the folder is complete or gone.
func (f *fetcher) remove(cache string, before time.Time, digest string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	folder := filepath.Join(cache, digest)
	if info, err := os.Stat(folder); f.flights[digest] != nil || err == nil && info.ModTime().After(before) {
		return nil
	}
	delete(f.known, digest)
	aside := filepath.Join(cache, strings.TrimSuffix(cachePattern, "*")+digest)
	if err := os.Rename(folder, aside); err != nil {
		return cacheError(err)
	}
	return cacheError(os.RemoveAll(aside))
}

// close ends all flights and waits for them.
func (f *fetcher) close() {
	f.mu.Lock()
	f.closed = true
	for _, one := range f.flights {
		one.cancel()
	}
	f.mu.Unlock()
	f.working.Wait()
}
