package registry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxBundle bounds a packed bundle, as internal/bundle does.
	maxBundle = 256 << 20

	// transfer bounds one upload or download; stall bounds how long an upload makes no
	// progress, as with a server whose disk is full.
	transfer = 10 * time.Minute
	stall    = 30 * time.Second

	// spared is the age below which an unreferenced bundle is kept: a deploy uploads
	// first and writes its entry after the nodes have tried the code.
	spared = time.Hour

	// sparedHere is that age for a node's unpacked copy, which can be fetched again, since it
	// was last asked for: a node may be starting it for a deploy.
	sparedHere = 10 * time.Minute
)

// Upload stores a packed bundle under the digest that Pack returned, unless it exists.
// The bytes are checked on the way, so a bundle is never partial or under another's
// digest. packed is read again if NATS goes away meanwhile. Errors: Invalid for bytes
// that do not match the digest, Exhausted, Unavailable.
func (r *Registry) Upload(ctx context.Context, packed io.ReadSeeker, digest string) error {
	if err := checkDigest(digest); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, transfer)
	defer cancel()
	for again := 2; ; again-- {
		err := r.upload(ctx, packed, digest, stall)
		if err == nil {
			return r.bus.Sync(ctx)
		}
		if again == 0 || !bus.Passing(err) {
			return bus.Fault("store a bundle", err)
		}
		r.log.Debug("bundle not stored, tried again", "err", err)
		if _, err := packed.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

// upload is one try, which ends when nothing has moved for as long as patience. It
// returns raw NATS errors.
func (r *Registry) upload(ctx context.Context, packed io.Reader, digest string, patience time.Duration) (err error) {
	objects, err := r.objects(ctx) // waits until NATS is there
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(patience, func() {
		cancel(mayfly.Errorf(mayfly.Timeout, "cannot store a bundle: the upload has stalled: no data accepted for %s", patience).
			WithHint("check the disk of the server, and that its node is ready: mayfly ready"))
	})
	defer stalled.Stop()
	defer func() {
		if cause := context.Cause(ctx); err != nil && mayfly.CodeOf(cause) == mayfly.Timeout {
			err = cause
		}
	}()
	stored, err := objects.GetInfo(ctx, digest)
	if err == nil && stored.Digest == objectDigest(digest) {
		// It exists; make it as young as a new one: Collect must not delete it before
		// this deploy references it.
		return objects.UpdateMeta(ctx, digest, stored.ObjectMeta)
	}
	if err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return err
	}
	_, err = objects.Put(ctx, jetstream.ObjectMeta{Name: digest}, &checked{
		r: packed, digest: digest, sum: sha256.New(), progress: func() { stalled.Reset(patience) },
	})
	return err
}

// A checked reader ends with an error instead of io.EOF unless its bytes match the
// digest. It fills the buffer, because each read becomes one message.
type checked struct {
	r      io.Reader
	digest string
	sum    hash.Hash
	size   int64

	progress func() // is told of each read
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := io.ReadFull(c.r, p)
	c.progress()
	c.sum.Write(p[:n])
	c.size += int64(n)
	if c.size > maxBundle {
		return n, mayfly.Errorf(mayfly.Invalid, "the bundle has more than %d MiB", maxBundle>>20).
			WithHint("leave out what the code does not need to run, or fetch large files at the start")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	if err == io.EOF && hex.EncodeToString(c.sum.Sum(nil)) != c.digest {
		return n, mayfly.Errorf(mayfly.Invalid, "the bundle's bytes have sha256 %x, not %s", c.sum.Sum(nil), c.digest)
	}
	return n, err
}

// download writes a bundle's bytes to a file, or fails if they do not match the digest.
func (r *Registry) download(ctx context.Context, digest, path string) (err error) {
	objects, err := r.objects(ctx)
	if err != nil {
		return err
	}
	object, err := objects.Get(ctx, digest)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return missingBundle(digest)
	}
	if err != nil {
		return bus.Fault("fetch bundle "+digest, err)
	}
	defer object.Close()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return cacheError(err)
	}
	defer func() { err = cmp.Or(err, cacheError(file.Close())) }()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(&diskWriter{file}, sum), object); err != nil {
		return bus.Fault("fetch bundle "+digest, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
		return mayfly.Errorf(mayfly.Internal, "bundle %s is damaged in the store: its bytes have sha256 %s", digest, got).
			WithHint("restore the store from a backup, or deploy the code with a change")
	}
	return nil
}

// A diskWriter tells disk errors from network errors.
type diskWriter struct{ f *os.File }

func (w *diskWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	return n, cacheError(err)
}

// CheckBundles checks that the bundles of a deploy, by platform, have been uploaded. The
// error has code NotFound if one has not.
func (r *Registry) CheckBundles(ctx context.Context, bundles map[string]string) error {
	for _, digest := range bundles {
		if err := checkDigest(digest); err != nil {
			return err
		}
		err := r.bus.Retry(ctx, "look for a bundle", func(ctx context.Context, js jetstream.JetStream) error {
			objects, err := js.ObjectStore(ctx, mayfly.BucketCode)
			if err == nil {
				_, err = objects.GetInfo(ctx, digest)
			}
			if errors.Is(err, jetstream.ErrObjectNotFound) {
				return missingBundle(digest)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Collect deletes bundles that no entry references, now or in its history, from the
// store and the cache, and returns how many it deleted from the store. It keeps those
// younger than an hour and those in inUse, the folders of running instances.
func (r *Registry) Collect(ctx context.Context, inUse ...string) (int, error) {
	if r.barred != nil {
		return 0, nil
	}
	return r.collect(ctx, time.Now().Add(-spared), inUse)
}

// Sweep deletes unpacked bundles from the cache that no entry references, now or in its
// history, unless they are in inUse or were asked for a moment ago. It reads the registry
// only if there are any that an earlier Sweep has not seen.
func (r *Registry) Sweep(ctx context.Context, inUse ...string) error {
	return r.sweep(ctx, time.Now().Add(-sparedHere), inUse)
}

func (r *Registry) sweep(ctx context.Context, before time.Time, inUse []string) error {
	if r.barred != nil || r.options.Cache == "" {
		return nil
	}
	keep := map[string]bool{}
	for _, digest := range inUse {
		keep[digest] = true
	}
	old, err := unasked(r.options.Cache, before, keep)
	if err != nil || !r.fetcher.unsure(old) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, transfer)
	defer cancel()
	named, err := r.named(ctx)
	if err != nil {
		return err
	}
	r.fetcher.settle(named)
	return r.fetcher.forget(r.options.Cache, before, slices.DeleteFunc(old, func(digest string) bool { return named[digest] }))
}

func (r *Registry) collect(ctx context.Context, before time.Time, inUse []string) (deleted int, err error) {
	ctx, cancel := context.WithTimeout(ctx, transfer)
	defer cancel()
	objects, err := r.objects(ctx)
	if err != nil {
		return 0, err
	}
	// List the bundles first, then the references: a bundle uploaded in between is not
	// considered.
	stored, err := objects.List(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return 0, bus.Fault("list the bundles", err)
	}
	named, err := r.named(ctx)
	if err != nil {
		return 0, err
	}
	for _, digest := range inUse {
		named[digest] = true
	}
	for _, o := range stored {
		if checkDigest(o.Name) != nil || named[o.Name] || o.ModTime.After(before) {
			continue
		}
		// A deploy of the same code may have renewed it meanwhile.
		now, err := objects.GetInfo(ctx, o.Name)
		if errors.Is(err, jetstream.ErrObjectNotFound) || err == nil && now.ModTime.After(before) {
			continue
		}
		if err == nil {
			err = objects.Delete(ctx, o.Name)
		}
		if err != nil {
			return deleted, bus.Fault("delete bundle "+o.Name, err)
		}
		deleted++
	}
	if r.options.Cache == "" {
		return deleted, nil
	}
	old, err := unasked(r.options.Cache, before, named)
	if err != nil {
		return deleted, err
	}
	r.fetcher.settle(named)
	return deleted, r.fetcher.forget(r.options.Cache, before, old)
}

// named returns the digests that any entry references, old values included. If a newest
// value cannot be read, nothing may be deleted.
func (r *Registry) named(ctx context.Context) (map[string]bool, error) {
	js, err := r.bus.JetStream()
	if err != nil {
		return nil, err
	}
	kv, err := js.KeyValue(ctx, mayfly.BucketRegistry)
	if err != nil {
		return nil, bus.Fault("read the registry", err)
	}
	watcher, err := kv.WatchAll(ctx, jetstream.IncludeHistory())
	if err != nil {
		return nil, bus.Fault("read the registry", err)
	}
	defer drain(watcher)
	named, broken := map[string]bool{}, map[string]error{}
	for {
		select {
		case <-ctx.Done():
			return nil, bus.Fault("read the registry", ctx.Err())
		case stored, ok := <-watcher.Updates():
			if !ok {
				return nil, mayfly.Errorf(mayfly.Unavailable, "the connection was lost while the registry was read")
			}
			if stored == nil {
				return named, cmp.Or(slices.Collect(maps.Values(broken))...)
			}
			delete(broken, stored.Key())
			if stored.Operation() != jetstream.KeyValuePut {
				continue
			}
			// Any version: a newer Mayfly keeps its bundles in the same field.
			var e struct {
				Bundles map[string]string `json:"bundles"`
			}
			if err := json.Unmarshal(stored.Value(), &e); err != nil {
				broken[stored.Key()] = senseless(stored.Key(), err)
			}
			for _, digest := range e.Bundles {
				named[digest] = true
			}
		}
	}
}

func (r *Registry) objects(ctx context.Context) (objects jetstream.ObjectStore, err error) {
	err = r.bus.Retry(ctx, "open bucket "+mayfly.BucketCode, func(ctx context.Context, js jetstream.JetStream) (err error) {
		objects, err = js.ObjectStore(ctx, mayfly.BucketCode)
		return err
	})
	return objects, err
}

// checkDigest rejects anything but a sha256 in lower-case hex. A digest is a folder
// name, so this also keeps Fetch inside its cache.
func checkDigest(digest string) error {
	raw, err := hex.DecodeString(digest)
	if err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != digest {
		return mayfly.Errorf(mayfly.Invalid, "%.80q is not a SHA-256 digest in lower-case hex", digest)
	}
	return nil
}

// objectDigest returns a digest as the object store writes it.
func objectDigest(digest string) string {
	raw, err := hex.DecodeString(digest)
	if err != nil {
		return ""
	}
	return "SHA-256=" + base64.URLEncoding.EncodeToString(raw)
}

func missingBundle(digest string) error {
	return mayfly.Errorf(mayfly.NotFound, "bundle %s is not in the store", digest).
		WithHint("deploy the code again, so that it is uploaded")
}

// cacheError explains an error of the disk; nil stays nil.
func cacheError(err error) error {
	if err == nil {
		return nil
	}
	return mayfly.Errorf(mayfly.Unavailable, "the cache of code cannot be used: %w", err).
		WithHint("free some space, or choose another folder with --data")
}
