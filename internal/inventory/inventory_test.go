package inventory_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/inventory"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// nats.go 1.55.0 starts this goroutine for each upload, and it may outlive a short one.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

// states are those of a node, as far as the inventory looks at them.
func states() []bus.State {
	var all []bus.State
	for _, name := range []string{mayfly.BucketMeta, mayfly.BucketRegistry, mayfly.BucketSecrets} {
		all = append(all, bus.State{KeyValue: &jetstream.KeyValueConfig{Bucket: name, History: 32}, Layout: 1, Bytes: 64 << 20})
	}
	return append(all, bus.State{Objects: &jetstream.ObjectStoreConfig{Bucket: mayfly.BucketCode}, Layout: 1, Bytes: 64 << 20})
}

// A place is a store with its inventory.
type place struct {
	t         *testing.T
	folder    string
	bus       *bus.Bus
	inventory *inventory.Inventory
}

func file(folder string) string { return filepath.Join(folder, "store.json") }

// open starts a server on a folder, as a node does.
func open(t *testing.T, folder string) *place {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	b, err := bus.Open(t.Context(), bus.Options{Server: &bus.ServerOptions{Store: filepath.Join(folder, "nats"), MaxStore: 1 << 30, CoreKey: natstest.CoreKey}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if err := b.Keep(t.Context(), states()...); err != nil {
		t.Fatal(err)
	}
	i, err := inventory.Open(t.Context(), b, inventory.Options{File: file(folder), Patience: 2 * time.Second, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return &place{t, folder, b, i}
}

func (p *place) kv(bucket string) jetstream.KeyValue {
	p.t.Helper()
	js, err := p.bus.JetStream()
	if err != nil {
		p.t.Fatal(err)
	}
	kv, err := js.KeyValue(p.t.Context(), bucket)
	if err != nil {
		p.t.Fatal(err)
	}
	return kv
}

func (p *place) put(bucket, key, text string) {
	p.t.Helper()
	if _, err := p.kv(bucket).PutString(p.t.Context(), key, text); err != nil {
		p.t.Fatal(err)
	}
}

const functions = 6

func key(i int) string { return fmt.Sprint("function/f", i) }

// content is what a key holds in the end.
func content(key string) string { return "two " + key + strings.Repeat(" and more", 100) }

// fill writes what a node would write; in between it copies the folder, as a backup.
func (p *place) fill(backup string) {
	p.t.Helper()
	p.put(mayfly.BucketMeta, "format", content("format"))
	for i := range functions {
		p.put(mayfly.BucketRegistry, key(i), "one "+key(i))
		if i == functions/2 {
			if err := p.bus.Sync(p.t.Context()); err != nil {
				p.t.Fatal(err)
			}
			if err := os.CopyFS(backup, os.DirFS(p.folder)); err != nil {
				p.t.Fatal(err)
			}
		}
		p.put(mayfly.BucketRegistry, key(i), content(key(i)))
	}
	for _, name := range []string{"s1", "s2"} {
		p.put(mayfly.BucketSecrets, name, content(name))
	}
	js, err := p.bus.JetStream()
	if err != nil {
		p.t.Fatal(err)
	}
	code, err := js.ObjectStore(p.t.Context(), mayfly.BucketCode)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, name := range []string{"c1", "c2"} {
		if _, err := code.PutString(p.t.Context(), name, content(name)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// whole reports whether everything is as fill left it.
func (p *place) whole() bool {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	same := func(bucket, key string) bool {
		e, err := p.kv(bucket).Get(ctx, key)
		return err == nil && string(e.Value()) == content(key)
	}
	all := same(mayfly.BucketMeta, "format") && same(mayfly.BucketSecrets, "s1") && same(mayfly.BucketSecrets, "s2")
	for i := range functions {
		all = all && same(mayfly.BucketRegistry, key(i))
	}
	js, err := p.bus.JetStream()
	if err != nil {
		p.t.Fatal(err)
	}
	code, err := js.ObjectStore(ctx, mayfly.BucketCode)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, name := range []string{"c1", "c2"} {
		text, err := code.GetString(ctx, name)
		all = all && err == nil && text == content(name)
	}
	return all
}

// A damage changes the files of one stream. before is the same folder of the backup.
type damage func(t *testing.T, folder, before string)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	block = "msgs/1.blk"
	index = "msgs/index.db"
)

func edit(name string, change func(data []byte) []byte) damage {
	return func(t *testing.T, folder, _ string) {
		t.Helper()
		path := filepath.Join(folder, name)
		data, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, change(data), 0o600))
	}
}

func without(name string) damage {
	return func(t *testing.T, folder, _ string) { t.Helper(); must(t, os.RemoveAll(filepath.Join(folder, name))) }
}

// flip flips a bit after the nth place where a text is.
func flip(text string, nth int) damage {
	return edit(block, func(data []byte) []byte {
		at := 0
		for range nth {
			at += bytes.Index(data[at:], []byte(text)) + 1
		}
		data[at] ^= 1
		return data
	})
}

func older(name string) damage {
	return func(t *testing.T, folder, before string) {
		t.Helper()
		must(t, os.RemoveAll(filepath.Join(folder, name)))
		must(t, fs.WalkDir(os.DirFS(before), ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || name != "." && path != name {
				return err
			}
			data, err := os.ReadFile(filepath.Join(before, path))
			must(t, err)
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, path)), 0o700))
			return os.WriteFile(filepath.Join(folder, path), data, 0o600)
		}))
	}
}

func all(each ...damage) damage {
	return func(t *testing.T, folder, before string) {
		t.Helper()
		for _, d := range each {
			d(t, folder, before)
		}
	}
}

func cut(part float64) damage {
	return edit(block, func(data []byte) []byte { return data[:int(float64(len(data))*part)] })
}

func zeros(from, to float64) damage {
	return edit(block, func(data []byte) []byte {
		clear(data[int(float64(len(data))*from):int(float64(len(data))*to)])
		return data
	})
}

var garbage = func([]byte) []byte { return []byte("garbage") }

// Whatever happened to the files: reading the store ends, and what is lost is told, but
// nothing else.
func TestDamageIsTold(t *testing.T) {
	t.Parallel()
	origin, backup := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	t.Run("prepare", func(t *testing.T) {
		p := open(t, origin)
		p.fill(backup)
		must(t, os.Remove(file(origin)))
		p.inventory.Keep(t.Context())
		if err := p.inventory.Ready(); err != nil {
			t.Fatal(err)
		}
	})
	const registry, secrets, code, meta = "KV_mayfly_registry", "KV_mayfly_secrets", "OBJ_mayfly_code", "KV_mayfly_meta"
	for _, tt := range []struct {
		name   string
		stream string
		damage damage
		loses  bool
	}{
		{"nothing", registry, all(), false},
		{"no index", registry, without(index), false},
		{"index is garbage", registry, edit(index, garbage), false},
		{"index is empty", registry, edit(index, func([]byte) []byte { return nil }), false},
		{"older index", registry, older(index), false},
		{"no checksum of the configuration", registry, without("meta.sum"), false},
		{"bit in an old value", registry, flip("one function/f4", 1), false},
		{"bit in the newest value", registry, flip("two function/f5", 1), true},
		{"bit in the value of a key in the middle", registry, flip("two function/f2", 1), true},
		{"bit in the first value, no index", registry, all(flip("one function/f0", 1), without(index)), true},
		{"bit in a subject", registry, flip("$KV.mayfly_registry.function/f2", 2), true},
		{"bit in a length", registry, edit(block, func(data []byte) []byte { data[0] ^= 4; return data }), true},
		{"half of the block", registry, cut(0.5), true},
		{"half of the block, no index", registry, all(cut(0.5), without(index)), true},
		{"all but the last bytes", registry, cut(0.99), true},
		{"empty block", registry, cut(0), true},
		{"no block", registry, without(block), true},
		{"no messages", registry, without("msgs"), true},
		{"zeros", registry, zeros(0, 1), true},
		{"zeros in the middle", registry, zeros(0.4, 0.6), true},
		{"zeros at the end", registry, zeros(0.8, 1), true},
		{"garbage at the end", registry, edit(block, func(data []byte) []byte { return append(data, "garbage"...) }), false},
		{"older block", registry, older(block), true},
		{"older stream", registry, older("."), true},
		{"no stream", registry, without("."), true},
		{"configuration is garbage", registry, edit("meta.inf", garbage), false},
		{"secrets: empty block", secrets, cut(0), true},
		{"secrets: bit in a value", secrets, flip("two s2", 1), true},
		{"secrets: no stream", secrets, without("."), true},
		{"code: half of the block", code, cut(0.5), true},
		{"code: no stream", code, without("."), true},
		{"meta: no stream", meta, without("."), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "data")
			must(t, os.CopyFS(folder, os.DirFS(origin)))
			const core = "nats/jetstream/CORE/streams"
			tt.damage(t, filepath.Join(folder, core, tt.stream), filepath.Join(backup, core, tt.stream))
			began := time.Now()
			p := open(t, folder)
			if took := time.Since(began); took > 40*time.Second {
				t.Errorf("the start took %s", took)
			}
			err, whole := p.inventory.Ready(), p.whole()
			t.Logf("whole: %v, told: %v", whole, err)
			if whole != (err == nil) || whole == tt.loses {
				t.Errorf("everything is there: %v, and told is %v", whole, err)
			}
			if err != nil && (mayfly.CodeOf(err) != mayfly.Unavailable || !strings.Contains(err.Error(), tt.stream) || !strings.Contains(mayfly.HintOf(err), "restore")) {
				t.Errorf("error is %v, hint %q", err, mayfly.HintOf(err))
			}
		})
	}
}

// damaged returns a data folder whose registry has a value that cannot be read: that of
// function/b.
func damaged(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	t.Run("prepare", func(t *testing.T) {
		p := open(t, folder)
		for _, key := range []string{"function/a", "function/b", "function/c"} {
			p.put(mayfly.BucketRegistry, key, content(key))
		}
	})
	flip("two function/b", 1)(t, filepath.Join(folder, "nats/jetstream/CORE/streams/KV_mayfly_registry"), "")
	return folder
}

// Removing the record accepts nothing: a value that cannot be read is told until it is
// written again.
func TestRecordThatIsGoneAcceptsNothing(t *testing.T) {
	t.Parallel()
	folder := damaged(t)
	for _, start := range []string{"first", "second"} {
		t.Run(start, func(t *testing.T) {
			must(t, os.Remove(file(folder)))
			p := open(t, folder)
			for range 2 {
				if err := p.inventory.Ready(); err == nil || !strings.Contains(err.Error(), "function/b") {
					t.Fatalf("of the damage is told %v", err)
				}
				p.inventory.Keep(t.Context())
			}
		})
	}
}

// An upload that is aborted removes its chunks without a trace.
func TestAbortedUploadIsNotDamage(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	t.Run("prepare", func(t *testing.T) {
		p := open(t, folder)
		js, err := p.bus.JetStream()
		must(t, err)
		const chunk = "$O." + mayfly.BucketCode + ".C.aborted"
		for _, subject := range []string{chunk, "$O." + mayfly.BucketCode + ".C.finished"} {
			_, err = js.Publish(t.Context(), subject, []byte("chunk"))
			must(t, err)
		}
		p.inventory.Keep(t.Context())
		stream, err := js.Stream(t.Context(), "OBJ_"+mayfly.BucketCode)
		must(t, err)
		must(t, stream.Purge(t.Context(), jetstream.WithPurgeSubject(chunk)))
	})
	if err := open(t, folder).inventory.Ready(); err != nil {
		t.Errorf("told is %v", err)
	}
}

// What is lost while the node runs is told, and stays told after a restart, whatever else
// is written meanwhile.
func TestDamageWhileTheNodeRunsIsTold(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	want := func(p *place, keys ...string) {
		t.Helper()
		err := p.inventory.Ready()
		if len(keys) == 0 && err != nil {
			t.Errorf("told is %v", err)
		}
		for _, key := range keys {
			if err == nil || !strings.Contains(err.Error(), key+" is missing") {
				t.Errorf("told is %v, want %s", err, key)
			}
		}
	}
	lose := func(p *place, key string) {
		js, err := p.bus.JetStream()
		must(p.t, err)
		stream, err := js.Stream(p.t.Context(), "KV_"+mayfly.BucketRegistry)
		must(p.t, err)
		must(p.t, stream.Purge(p.t.Context(), jetstream.WithPurgeSubject("$KV."+mayfly.BucketRegistry+"."+key)))
	}
	t.Run("first", func(t *testing.T) {
		p := open(t, folder)
		for _, key := range []string{"function/a", "function/b", "function/c"} {
			p.put(mayfly.BucketRegistry, key, "one")
		}
		p.inventory.Keep(t.Context())
		want(p)
		lose(p, "function/a")
		p.put(mayfly.BucketRegistry, "function/d", "one")
		p.inventory.Keep(t.Context())
		want(p, "function/a")
		lose(p, "function/d") // which is new since
		p.inventory.Keep(t.Context())
		want(p, "function/a", "function/d")
	})
	t.Run("second", func(t *testing.T) {
		p := open(t, folder)
		want(p, "function/a", "function/d")
		p.put(mayfly.BucketRegistry, "function/a", "two")
		p.put(mayfly.BucketRegistry, "function/d", "two")
		p.inventory.Keep(t.Context())
		want(p)
	})
}

// Values that are replaced, deleted and purged while we look are not lost.
func TestWritersAreNotDamage(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir())
	js, err := p.bus.JetStream()
	must(t, err)
	code, err := js.ObjectStore(t.Context(), mayfly.BucketCode)
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for n := range 4 {
		writers.Go(func() {
			for i := n; ctx.Err() == nil; i++ {
				name := fmt.Sprint("k", i%7)
				_, _ = p.kv(mayfly.BucketSecrets).PutString(ctx, name, content(name)) // they fail when ctx ends
				_, _ = p.kv(mayfly.BucketRegistry).PutString(ctx, name, content(name))
				_, _ = code.PutString(ctx, name, content(name))
				switch i % 3 {
				case 0:
					_ = p.kv(mayfly.BucketSecrets).Purge(ctx, name)
				case 1:
					_ = code.Delete(ctx, name)
				}
			}
		})
	}
	for range 30 {
		p.inventory.Keep(t.Context())
		if err := p.inventory.Ready(); err != nil {
			t.Errorf("told is %v", err)
			break
		}
	}
	stop()
	writers.Wait()
}

// A value that cannot be read, once accepted, is told no more.
func TestUnreadableValueMayBeAccepted(t *testing.T) {
	t.Parallel()
	folder := damaged(t)
	t.Run("accept", func(t *testing.T) {
		p := open(t, folder)
		if err := p.inventory.Ready(); err == nil {
			t.Fatal("the damage is not told")
		}
		must(t, inventory.Accept(file(folder)))
		for range 2 {
			p.inventory.Keep(t.Context())
			if err := p.inventory.Ready(); err != nil {
				t.Errorf("still told: %v", err)
			}
			p.put(mayfly.BucketRegistry, "function/c", "three")
		}
	})
	if err := open(t, folder).inventory.Ready(); err != nil {
		t.Errorf("told after a restart: %v", err)
	}
}

// A stream that somebody deletes is missed until it is restored or replaced, also after a
// restart.
func TestDeletedStreamIsMissed(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	missed := func(p *place) {
		p.t.Helper()
		if err := p.inventory.Ready(); err == nil || !strings.Contains(err.Error(), "KV_mayfly_secrets: s is missing") {
			p.t.Errorf("told is %v", err)
		}
	}
	remove := func(p *place) {
		js, err := p.bus.JetStream()
		must(p.t, err)
		must(p.t, js.DeleteKeyValue(p.t.Context(), mayfly.BucketSecrets))
	}
	t.Run("first", func(t *testing.T) {
		p := open(t, folder)
		p.put(mayfly.BucketSecrets, "s", "one")
		p.inventory.Keep(t.Context())
		remove(p)
		for range 2 {
			p.inventory.Keep(t.Context())
			missed(p)
		}
	})
	p := open(t, folder)
	missed(p)
	remove(p)
	p.inventory.Keep(t.Context())
	missed(p)
	must(t, p.bus.Keep(t.Context(), states()...))
	p.inventory.Keep(t.Context())
	if err := p.inventory.Ready(); err != nil {
		t.Errorf("told after it was replaced: %v", err)
	}
}

// What is as it was costs nothing: a start leaves the record alone, and after a change of
// one stream the others are not read again.
func TestOnlyWhatChangedIsReadAndWritten(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	const registry, secrets = "KV_" + mayfly.BucketRegistry, "KV_" + mayfly.BucketSecrets
	var written fs.FileInfo
	t.Run("first", func(t *testing.T) {
		p := open(t, folder)
		p.put(mayfly.BucketRegistry, "function/a", "one")
		p.put(mayfly.BucketSecrets, "s", "one")
		p.inventory.Keep(t.Context())
		before := [2]any{p.inventory.Held(registry), p.inventory.Held(secrets)}
		p.put(mayfly.BucketRegistry, "function/a", "two")
		p.inventory.Keep(t.Context())
		if p.inventory.Held(registry) == before[0] || p.inventory.Held(secrets) != before[1] {
			t.Error("not only the stream that changed was read again")
		}
		var err error
		written, err = os.Stat(file(folder))
		must(t, err)
	})
	open(t, folder)
	if again, err := os.Stat(file(folder)); err != nil || !os.SameFile(written, again) {
		t.Errorf("the record was written again, error %v", err)
	}
}

// A loss ends when the key is written again, the stream restored, or the loss accepted.
func TestDamageIsSettled(t *testing.T) {
	t.Parallel()
	origin := t.TempDir()
	t.Run("prepare", func(t *testing.T) {
		p := open(t, origin)
		p.put(mayfly.BucketRegistry, "function/a", "one")
		p.put(mayfly.BucketRegistry, "function/b", "one")
		must(t, os.Remove(file(origin)))
		p.inventory.Keep(t.Context())
	})
	must(t, os.Truncate(filepath.Join(origin, "nats/jetstream/CORE/streams/KV_mayfly_registry", block), 0))
	for name, settle := range map[string]func(p *place){
		"written again": func(p *place) {
			p.put(mayfly.BucketRegistry, "function/a", "two")
			p.inventory.Keep(p.t.Context())
			if err := p.inventory.Ready(); err == nil || strings.Contains(err.Error(), "function/a") {
				p.t.Errorf("with one written again: %v", err)
			}
			p.put(mayfly.BucketRegistry, "function/b", "two")
		},
		"accepted": func(p *place) { must(p.t, inventory.Accept(file(p.folder))) },
		"replaced": func(p *place) {
			js, err := p.bus.JetStream()
			must(p.t, err)
			must(p.t, js.DeleteKeyValue(p.t.Context(), mayfly.BucketRegistry))
			must(p.t, p.bus.Keep(p.t.Context(), states()...))
			p.put(mayfly.BucketRegistry, "function/a", "one")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "data")
			must(t, os.CopyFS(folder, os.DirFS(origin)))
			p := open(t, folder)
			if err := p.inventory.Ready(); err == nil || !strings.Contains(err.Error(), "function/a") || !strings.Contains(err.Error(), "function/b") {
				t.Fatalf("of the damage is told %v", err)
			}
			if losses, err := inventory.Check(t.Context(), p.bus, file(folder)); err != nil || len(losses) != 2 {
				t.Errorf("check = %v, %v", losses, err)
			}
			settle(p)
			p.inventory.Keep(t.Context())
			if err := p.inventory.Ready(); err != nil {
				t.Errorf("still told: %v", err)
			}
			must(t, p.bus.Close())
			if err := open(t, folder).inventory.Ready(); err != nil {
				t.Errorf("told after a restart: %v", err)
			}
		})
	}
}
