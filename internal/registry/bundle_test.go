package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/registry"
	"github.com/nats-io/nats.go/jetstream"
)

// fetch must succeed; it returns the text of the bundle's one file.
func fetch(t *testing.T, r *registry.Registry, digest string) (folder, text string) {
	t.Helper()
	folder, err := r.Fetch(t.Context(), digest)
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(folder, "hello.sh"))
	if err != nil {
		t.Fatal(err)
	}
	return folder, string(data)
}

func TestFetchReturnsWhatWasUploaded(t *testing.T) {
	t.Parallel()
	cache := filepath.Join(t.TempDir(), "not", "there", "yet")
	r := open(t, natstest.New(t), registry.Options{Cache: cache})
	digest := upload(t, r, "echo hello")
	upload(t, r, "echo hello") // a second time is no fault

	var together sync.WaitGroup
	for range 8 {
		together.Go(func() {
			if folder, err := r.Fetch(t.Context(), digest); err != nil || !strings.HasPrefix(folder, cache) {
				t.Errorf("fetch = %q, %v", folder, err)
			}
		})
	}
	together.Wait()
	if _, text := fetch(t, r, digest); text != "echo hello" {
		t.Errorf("fetched %q", text)
	}
	left, err := os.ReadDir(cache)
	if err != nil || len(left) != 1 || left[0].Name() != digest {
		t.Errorf("cache holds %v, %v", left, err)
	}
}

// A seeker is a reader that is read once.
type seeker struct{ io.Reader }

func (seeker) Seek(int64, int) (int64, error) { return 0, errors.New("read again") }

func TestUploadRefusesOtherBytes(t *testing.T) {
	t.Parallel()
	r := open(t, natstest.New(t), registry.Options{Cache: t.TempDir()})
	packed, digest := pack(t, "echo hello")
	_, other := pack(t, "echo something else")
	wantCode(t, r.Upload(t.Context(), bytes.NewReader(packed), other), mayfly.Invalid, "sha256")
	wantCode(t, r.Upload(t.Context(), bytes.NewReader(packed), "../../etc"), mayfly.Invalid)
	wantCode(t, r.Upload(t.Context(), bytes.NewReader(packed), strings.ToUpper(digest)), mayfly.Invalid)
	if err := r.Upload(t.Context(), seeker{iotest.ErrReader(io.ErrClosedPipe)}, digest); err == nil {
		t.Error("an upload whose source failed succeeded")
	}
	for _, d := range []string{digest, other} {
		_, err := r.Fetch(t.Context(), d)
		wantCode(t, err, mayfly.NotFound, "deploy the code again")
	}
	if err := r.Upload(t.Context(), seeker{iotest.OneByteReader(bytes.NewReader(packed))}, digest); err != nil {
		t.Errorf("upload after a failed one: %v", err)
	}
	fetch(t, r, digest)
}

func TestFetchMendsTheCache(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		damage func(entry string) error
	}{
		{"no mark", func(entry string) error { return os.Remove(filepath.Join(entry, "complete")) }},
		{"an empty mark", func(entry string) error { return os.Truncate(filepath.Join(entry, "complete"), 0) }},
		{"the mark of another", func(entry string) error {
			return os.WriteFile(filepath.Join(entry, "complete"), []byte(`{"digest":"x","files":2,"bytes":10}`), 0o600)
		}},
		{"a file is empty", func(entry string) error { return os.Truncate(filepath.Join(entry, "code", "hello.sh"), 0) }},
		{"a file is gone", func(entry string) error { return os.Remove(filepath.Join(entry, "code", "hello.sh")) }},
		{"all is gone", os.RemoveAll},
		{"a file in its place", func(entry string) error {
			if err := os.RemoveAll(entry); err != nil {
				return err
			}
			return os.WriteFile(entry, nil, 0o600)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, cache := natstest.New(t), t.TempDir()
			before := open(t, b, registry.Options{Cache: cache})
			digest := upload(t, before, "echo hello")
			fetch(t, before, digest)
			if err := tt.damage(filepath.Join(cache, digest)); err != nil {
				t.Fatal(err)
			}
			if _, text := fetch(t, open(t, b, registry.Options{Cache: cache}), digest); text != "echo hello" {
				t.Errorf("fetched %q", text)
			}
		})
	}
}

func TestCachedBundleNeedsNoStore(t *testing.T) {
	t.Parallel()
	b, cache := natstest.New(t), t.TempDir()
	r := open(t, b, registry.Options{Cache: cache})
	digest := upload(t, r, "echo hello")
	fetch(t, r, digest)
	js, err := jetstream.New(natstest.ConnectCore(t, b))
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteObjectStore(t.Context(), mayfly.BucketCode); err != nil {
		t.Fatal(err)
	}
	fetch(t, r, digest)
	_, err = r.Fetch(t.Context(), strings.Repeat("a", 64))
	wantCode(t, err, mayfly.Unavailable)
}

func TestDamagedBundleIsNotUnpacked(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	r := open(t, b, registry.Options{Cache: t.TempDir()})
	js, err := jetstream.New(natstest.ConnectCore(t, b))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := js.ObjectStore(t.Context(), mayfly.BucketCode)
	if err != nil {
		t.Fatal(err)
	}
	packed, digest := pack(t, "echo hello")
	hostile, _ := pack(t, "echo something else")
	if _, err := objects.PutBytes(t.Context(), digest, hostile); err != nil {
		t.Fatal(err)
	}
	_, err = r.Fetch(t.Context(), digest)
	wantCode(t, err, mayfly.Internal, "damaged")
	if err := r.Upload(t.Context(), bytes.NewReader(packed), digest); err != nil {
		t.Fatal(err)
	}
	if _, text := fetch(t, r, digest); text != "echo hello" {
		t.Errorf("fetched %q after the upload mended it", text)
	}
}

func TestFetchGoesOnForOthers(t *testing.T) {
	t.Parallel()
	r := open(t, natstest.New(t), registry.Options{Cache: t.TempDir()})
	digest := upload(t, r, strings.Repeat("echo hello\n", 100_000))
	left, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Fetch(left, digest); err != nil {
		wantCode(t, err, mayfly.Timeout)
	}
	fetch(t, r, digest)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := r.Fetch(t.Context(), strings.Repeat("a", 64))
	wantCode(t, err, mayfly.Unavailable, "stops")
}

// A deploy that fails leaves its bundle unpacked on each node that tried.
func TestSweepDeletesUnpackedBundlesOfNoRevision(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	r := open(t, natstest.New(t), registry.Options{Cache: cache})
	old, now, failed, running := upload(t, r, "old"), upload(t, r, "now"), upload(t, r, "failed"), upload(t, r, "running")
	deploy(t, r, function("hello", "", old))
	deploy(t, r, function("hello", "", now))
	then := time.Now().Add(-time.Minute)
	for _, digest := range []string{old, now, failed, running} {
		fetch(t, r, digest)
		if err := os.Chtimes(filepath.Join(cache, digest), then, then); err != nil {
			t.Fatal(err)
		}
	}
	fetch(t, r, failed) // a deploy tries it again
	here := func(digest string) bool {
		_, err := os.Stat(filepath.Join(cache, digest))
		return err == nil
	}
	before := then.Add(time.Second)
	if err := r.SweepBefore(t.Context(), before, running); err != nil || !here(failed) {
		t.Fatal("what was asked for a moment ago is gone", err)
	}
	if err := os.Chtimes(filepath.Join(cache, failed), then, then); err != nil {
		t.Fatal(err)
	}
	if err := r.SweepBefore(t.Context(), before, running); err != nil || here(failed) {
		t.Fatal("what no revision has is still there", err)
	}
	for _, digest := range []string{old, now, running} {
		if !here(digest) {
			t.Errorf("%s is gone", digest)
		}
	}
	if _, text := fetch(t, r, failed); text != "failed" {
		t.Errorf("fetched %q, want it from the store again", text)
	}
}

func TestCollectSparesWhatIsNamed(t *testing.T) {
	t.Parallel()
	b, cache := natstest.New(t), t.TempDir()
	r := open(t, b, registry.Options{Cache: cache})
	old, now, nobody, running := upload(t, r, "old"), upload(t, r, "now"), upload(t, r, "nobody"), upload(t, r, "running")
	deploy(t, r, function("hello", "", old))
	deploy(t, r, function("hello", "", now))
	for _, digest := range []string{old, now, nobody, running} {
		fetch(t, r, digest)
	}
	if n, err := r.Collect(t.Context(), running); n != 0 || err != nil {
		t.Errorf("collect of young bundles = %d, %v", n, err)
	}
	soon := time.Now().Add(time.Hour)
	if n, err := r.CollectBefore(t.Context(), soon, running); n != 1 || err != nil {
		t.Errorf("collect = %d, %v; want the one that nobody names", n, err)
	}
	for _, digest := range []string{old, now, running} {
		fetch(t, r, digest)
	}
	_, err := r.Fetch(t.Context(), nobody)
	wantCode(t, err, mayfly.NotFound)
	if n, err := r.CollectBefore(t.Context(), soon); n != 1 || err != nil {
		t.Errorf("collect after the last instance stopped = %d, %v", n, err)
	}

	// An upload makes a bundle young again.
	upload(t, r, "again")
	then := time.Now()
	again := upload(t, r, "again")
	if n, err := r.CollectBefore(t.Context(), then); n != 0 || err != nil {
		t.Errorf("collect of what was just uploaded again = %d, %v", n, err)
	}
	fetch(t, r, again)

	// Nothing is deleted while an entry is unreadable.
	if _, err := bucket(t, b, mayfly.BucketRegistry).PutString(t.Context(), "function/odd", `{"v":1,"bundles":7}`); err != nil {
		t.Fatal(err)
	}
	n, err := r.CollectBefore(t.Context(), soon)
	wantCode(t, err, mayfly.Invalid, "function/odd")
	if n != 0 {
		t.Errorf("%d bundles were deleted all the same", n)
	}
}
