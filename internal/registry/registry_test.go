package registry_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bundle"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/registry"
	"github.com/nats-io/jsm.go"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"
)

// open returns a registry that is closed before its bus.
func open(t *testing.T, b *bus.Bus, o registry.Options) *registry.Registry {
	t.Helper()
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	r, err := registry.Open(t.Context(), b, o)
	if err != nil {
		t.Fatalf("open registry: %v", err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// bucket returns the bucket of entries as another tool would use it.
func bucket(t *testing.T, b *bus.Bus, name string) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(natstest.ConnectCore(t, b))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// pack returns a bundle of one file.
func pack(t *testing.T, text string) (packed []byte, digest string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "hello.sh"), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	digest, _, err := bundle.Pack(&b, folder)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), digest
}

// upload stores a bundle of one file.
func upload(t *testing.T, r *registry.Registry, text string) (digest string) {
	t.Helper()
	packed, digest := pack(t, text)
	if err := r.Upload(t.Context(), bytes.NewReader(packed), digest); err != nil {
		t.Fatalf("upload: %v", err)
	}
	return digest
}

func function(name, project, digest string) mayfly.Unit {
	return mayfly.Unit{
		Name: mayfly.Name(name), Project: mayfly.Name(project),
		Program: mayfly.Program{
			Engine: mayfly.EngineExec, Start: []string{"./hello.sh"},
			Bundles: map[string]string{mayfly.AnyPlatform: digest},
		},
	}
}

// deploy must succeed.
func deploy(t *testing.T, r *registry.Registry, f mayfly.Unit) mayfly.Unit {
	t.Helper()
	got, _, err := r.Deploy(t.Context(), f, registry.Change{})
	if err != nil {
		t.Fatalf("deploy %s: %v", f.Name, err)
	}
	return got
}

func wantCode(t *testing.T, err error, want mayfly.Code, words ...string) {
	t.Helper()
	if err == nil || mayfly.CodeOf(err) != want {
		t.Fatalf("error = %v (%v), want code %v", err, mayfly.CodeOf(err), want)
	}
	text := err.Error() + "\n" + mayfly.HintOf(err)
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("error %q does not say %q", text, word)
		}
	}
}

func TestDeployGivesTheNextNumber(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	r := open(t, b, registry.Options{By: "ann@box"})
	one, two := upload(t, r, "one"), upload(t, r, "two")

	f := function("hello", "shop", one)
	f.HTTP = []mayfly.Pattern{pattern(t, "GET /hello/{name}")}
	f.Timeout = mayfly.Duration(time.Minute)
	first, changed, err := r.Deploy(t.Context(), f, registry.Change{})
	if err != nil || !changed || first.Revision != 1 {
		t.Fatalf("first deploy = %v, %v, %v", first, changed, err)
	}
	again, changed, err := r.Deploy(t.Context(), f, registry.Change{Note: "the same"})
	if err != nil || changed || again.Revision != 1 {
		t.Errorf("deploy of the same = %v, %v, %v; want hello@1, unchanged", again, changed, err)
	}
	f.Bundles = map[string]string{mayfly.AnyPlatform: two}
	second, changed, err := r.Deploy(t.Context(), f, registry.Change{Note: "better"})
	if err != nil || !changed || second.Revision != 2 {
		t.Fatalf("second deploy = %v, %v, %v", second, changed, err)
	}
	f.Revision = 2
	for _, ref := range []mayfly.Ref{{Name: "hello"}, {Name: "hello", Revision: 2}} {
		if got, err := r.Get(t.Context(), ref); err != nil || !cmp.Equal(got, f) {
			t.Errorf("get %s: %v, %s", ref, err, cmp.Diff(got, f))
		}
	}
	if old, err := r.Get(t.Context(), mayfly.Ref{Name: "hello", Revision: 1}); err != nil || old.Bundle("any") != one {
		t.Errorf("get hello@1 = %v, %v", old, err)
	}
	history, err := r.History(t.Context(), "hello")
	if err != nil || len(history) != 2 {
		t.Fatalf("history = %v, %v", history, err)
	}
	h := history[0]
	if h.Number != 2 || h.By != "ann@box" || h.Note != "better" || h.Project != "shop" || h.Bundles["any"] != two || time.Since(h.At) > time.Minute {
		t.Errorf("newest line of the history = %+v", h)
	}
}

func TestTwoDeploysAtOnceOneWins(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	const racers = 8
	registries := make([]*registry.Registry, racers)
	digests := make([]string, racers)
	for i := range racers {
		registries[i] = open(t, b, registry.Options{By: fmt.Sprint("racer", i)})
		digests[i] = upload(t, registries[i], fmt.Sprint(i))
	}
	var won, lost atomic.Int32
	start := make(chan struct{})
	var race sync.WaitGroup
	for i, r := range registries {
		race.Go(func() {
			<-start
			_, _, err := r.Deploy(t.Context(), function("hello", "", digests[i]), registry.Change{})
			switch {
			case err == nil:
				won.Add(1)
			case mayfly.CodeOf(err) == mayfly.Conflict && strings.Contains(err.Error(), `another deploy changed "hello"`):
				lost.Add(1)
			default:
				t.Errorf("deploy: %v", err)
			}
		})
	}
	close(start)
	race.Wait()
	if won.Load() == 0 || won.Load()+lost.Load() != racers {
		t.Errorf("%d won and %d lost", won.Load(), lost.Load())
	}
	f, err := registries[0].Get(t.Context(), mayfly.Ref{Name: "hello"})
	history, herr := registries[0].History(t.Context(), "hello")
	if err != nil || herr != nil || len(history) != int(won.Load()) || history[0].Number != uint64(won.Load()) {
		t.Errorf("after %d deploys: %v, %v, history %v, %v", won.Load(), f, err, history, herr)
	}
}

func TestRollbackIsANewRevision(t *testing.T) {
	t.Parallel()
	r := open(t, natstest.New(t), registry.Options{})
	one, two := upload(t, r, "one"), upload(t, r, "two")
	f := function("hello", "", one)
	f.Env = map[string]string{"STAGE": "old"}
	deploy(t, r, f)
	deploy(t, r, function("hello", "", two))

	back, changed, err := r.Rollback(t.Context(), mayfly.Ref{Name: "hello"})
	if err != nil || !changed || back.Revision != 3 || back.Bundle("any") != one || back.Env["STAGE"] != "old" {
		t.Fatalf("rollback = %+v, %v, %v; want revision 3 like 1", back, changed, err)
	}
	if same, changed, err := r.Rollback(t.Context(), mayfly.Ref{Name: "hello", Revision: 1}); err != nil || changed || same.Revision != 3 {
		t.Errorf("rollback to what is current = %v, %v, %v", same, changed, err)
	}
	history, err := r.History(t.Context(), "hello")
	if err != nil || len(history) != 3 || history[0].From != 1 || history[1].From != 0 {
		t.Errorf("history = %+v, %v", history, err)
	}
	_, _, err = r.Rollback(t.Context(), mayfly.Ref{Name: "hello", Revision: 9})
	wantCode(t, err, mayfly.NotFound, "hello@9", "mayfly history hello")
	_, _, err = r.Rollback(t.Context(), mayfly.Ref{Name: "helo"})
	wantCode(t, err, mayfly.NotFound, `did you mean "hello"?`)
}

func TestNumbersGoOnAfterRemoval(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	r := open(t, b, registry.Options{By: "ann@box"})
	digest := upload(t, r, "one")
	f := function("hello", "shop", digest)
	deploy(t, r, f)
	if err := r.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	_, err := r.Get(t.Context(), mayfly.Ref{Name: "hello"})
	wantCode(t, err, mayfly.NotFound)
	wantCode(t, r.Remove(t.Context(), "hello"), mayfly.NotFound)

	stored, err := bucket(t, b, mayfly.BucketRegistry).Get(t.Context(), "function/hello")
	if err != nil {
		t.Fatal(err)
	}
	var tombstone struct {
		V        int
		Removed  bool
		Revision uint64
		Bundles  map[string]string
	}
	if err := json.Unmarshal(stored.Value(), &tombstone); err != nil || tombstone.V != 1 || !tombstone.Removed || tombstone.Revision != 1 || tombstone.Bundles != nil {
		t.Errorf("tombstone = %s, %v", stored.Value(), err)
	}
	f.Project = "another" // the name is free
	if again := deploy(t, r, f); again.Revision != 2 {
		t.Errorf("deployed after the removal as %v", again)
	}
	if err := r.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	if back, _, err := r.Rollback(t.Context(), mayfly.Ref{Name: "hello"}); err != nil || back.Revision != 3 || back.Project != "another" {
		t.Errorf("rollback of a removal = %v, %v", back, err)
	}
	history, err := r.History(t.Context(), "hello")
	if err != nil || len(history) != 5 || !history[1].Removed || history[1].Number != 2 || history[1].By != "ann@box" {
		t.Errorf("history = %+v, %v", history, err)
	}
}

func TestNumbersGoOnAfterDeletionByAnotherTool(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	r := open(t, b, registry.Options{})
	f := function("hello", "", upload(t, r, "one"))
	deploy(t, r, f)
	news := r.Watch(t.Context())
	if err := bucket(t, b, mayfly.BucketRegistry).Delete(t.Context(), "function/hello"); err != nil {
		t.Fatal(err)
	}
	await(t, news, func() bool { functions := r.List(); return len(functions) == 0 })
	if next, err := r.Next(t.Context(), mayfly.KindFunction, "hello"); err != nil || next != 2 {
		t.Errorf("next after a deletion = %d, %v", next, err)
	}
	if again := deploy(t, r, f); again.Revision != 2 {
		t.Errorf("deployed after a deletion as %v", again)
	}
	if next, err := r.Next(t.Context(), mayfly.KindFunction, "nobody"); err != nil || next != 1 {
		t.Errorf("first = %d, %v", next, err)
	}
}

// Another tool, or a damaged disk, leaves values that make no sense.
func TestUnreadableEntryLocksNothing(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	r := open(t, b, registry.Options{})
	f := function("hello", "shop", upload(t, r, "one"))
	deploy(t, r, f)
	f.Bundles = map[string]string{mayfly.AnyPlatform: upload(t, r, "two")}
	deploy(t, r, f)
	kv, news := bucket(t, b, mayfly.BucketRegistry), r.Watch(t.Context())
	spoil := func(value string) {
		t.Helper()
		if _, err := kv.PutString(t.Context(), "function/hello", value); err != nil {
			t.Fatal(err)
		}
		await(t, news, func() bool { return len(r.Unreadable()) == 1 })
	}
	for i, value := range []string{`]`, `null`, `{"v":1,"name":"other","revision":3}`, `{"v":1,"name":"hello","bundles":7}`, `{"v":1,"revision":"x"}`} {
		last := r.List()[0]
		spoil(value)
		for _, reader := range []*registry.Registry{r, open(t, b, registry.Options{})} {
			if u := reader.Current("hello"); u == nil || !cmp.Equal(*u, last) {
				t.Fatalf("after %s: current is %v, want the last good one", value, u)
			}
			broken := reader.Unreadable()
			if len(broken) != 1 || broken[0].Key != "function/hello" || broken[0].Err == nil {
				t.Errorf("after %s: unreadable = %v", value, broken)
			}
		}
		if lines, err := r.History(t.Context(), "hello"); err != nil || lines[0].Number != last.Revision {
			t.Errorf("after %s: history = %v, %v", value, lines, err)
		}
		_, err := r.Scale(t.Context(), "hello", mayfly.Instances{Max: 3})
		wantCode(t, err, mayfly.Invalid, "deploy it again")
		// The spoilt value took a number: nodes may have run it when it was good.
		now := mayfly.Unit{}
		switch i % 3 {
		case 0:
			now = deploy(t, r, f)
		case 1:
			if now, _, err = r.Rollback(t.Context(), mayfly.Ref{Name: "hello"}); err != nil {
				t.Fatalf("rollback after %s: %v", value, err)
			}
		case 2:
			if err := r.Remove(t.Context(), "hello"); err != nil {
				t.Fatalf("remove after %s: %v", value, err)
			}
			if len(r.List()) > 0 {
				t.Errorf("after the removal there is %v", r.List())
			}
			now = deploy(t, r, f)
		}
		if now.Revision != last.Revision+2 {
			t.Errorf("after %s of %d the next number is %d", value, last.Revision, now.Revision)
		}
		if broken := r.Unreadable(); len(broken) > 0 {
			t.Errorf("%s is still unreadable: %v", value, broken)
		}
	}

	// One that never was good.
	if _, err := kv.PutString(t.Context(), "function/odd", "]"); err != nil {
		t.Fatal(err)
	}
	if odd := deploy(t, r, function("odd", "shop", f.Bundle(mayfly.AnyPlatform))); odd.Revision != 2 {
		t.Errorf("odd is deployed as %v", odd)
	}
	if _, err := kv.PutString(t.Context(), "service/Odd", "]"); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), "Odd"); err != nil {
		t.Errorf("remove: %v", err)
	}
	if n, err := r.CollectBefore(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Errorf("collect = %d, %v", n, err)
	}
}

// An entry of a newer Mayfly stays, and what it replaced does not run.
func TestNewerEntryIsKept(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	r := open(t, b, registry.Options{})
	f := function("hello", "", upload(t, r, "one"))
	deploy(t, r, f)
	kv := bucket(t, b, mayfly.BucketRegistry)
	news := r.Watch(t.Context())
	if _, err := kv.PutString(t.Context(), "function/hello", `{"v":2,"revision":2}`); err != nil {
		t.Fatal(err)
	}
	await(t, news, func() bool { return len(r.List()) == 0 })
	_, _, err := r.Deploy(t.Context(), f, registry.Change{})
	wantCode(t, err, mayfly.Invalid, "newer Mayfly")
	wantCode(t, r.Remove(t.Context(), "hello"), mayfly.Invalid, "newer Mayfly")
}

func TestAnotherProjectsNameNeedsTake(t *testing.T) {
	t.Parallel()
	r := open(t, natstest.New(t), registry.Options{})
	digest := upload(t, r, "one")
	deploy(t, r, function("hello", "shop", digest))
	_, _, err := r.Deploy(t.Context(), function("hello", "blog", digest), registry.Change{})
	wantCode(t, err, mayfly.Denied, "project shop", "project blog", "--take")
	taken, changed, err := r.Deploy(t.Context(), function("hello", "blog", digest), registry.Change{Take: true})
	if err != nil || !changed || taken.Project != "blog" || taken.Revision != 2 {
		t.Errorf("deploy with Take = %+v, %v, %v", taken, changed, err)
	}
}

func TestScaleMakesNoRevision(t *testing.T) {
	t.Parallel()
	r := open(t, natstest.New(t), registry.Options{By: "ann@box"})
	digest := upload(t, r, "one")
	f := function("hello", "", digest)
	f.Instances = mayfly.Instances{Max: 2}
	deploy(t, r, f)
	scaled, err := r.Scale(t.Context(), "hello", mayfly.Instances{Min: 3, Max: 9})
	if err != nil || scaled.Revision != 1 || scaled.Instances.Min != 3 || scaled.Instances.Max != 9 {
		t.Fatalf("scale = %+v, %v", scaled, err)
	}
	if got, err := r.Get(t.Context(), mayfly.Ref{Name: "hello"}); err != nil || got.Instances.Max != 9 {
		t.Errorf("get after scale = %+v, %v", got, err)
	}
	if history, err := r.History(t.Context(), "hello"); err != nil || len(history) != 1 {
		t.Errorf("history = %+v, %v", history, err)
	}
	if reset, changed, err := r.Deploy(t.Context(), f, registry.Change{}); err != nil || !changed || reset.Revision != 1 || reset.Instances.Max != 2 {
		t.Errorf("deploy of the same after scale = %+v, %v, %v", reset, changed, err)
	}
	if _, err := r.Scale(t.Context(), "hello", mayfly.Instances{Min: 3}); err != nil {
		t.Fatal(err)
	}
	f.Summary = "says hello"
	if next := deploy(t, r, f); next.Revision != 2 || next.Instances.Min != 0 {
		t.Errorf("deploy after scale = %+v", next)
	}
	_, err = r.Scale(t.Context(), "nobody", mayfly.Instances{Min: 1})
	wantCode(t, err, mayfly.NotFound)
	_, err = r.Scale(t.Context(), "hello", mayfly.Instances{Min: 3, Max: 2})
	wantCode(t, err, mayfly.Invalid)
}

func TestServicesAreDeployedLikeFunctions(t *testing.T) {
	t.Parallel()
	r := open(t, natstest.New(t), registry.Options{})
	digest := upload(t, r, "one")
	h := mayfly.Unit{Kind: mayfly.KindService, Name: "HackerNews", Limits: mayfly.Limits{Instances: mayfly.Exactly(2)}, Program: mayfly.Program{
		Engine: mayfly.EngineService, Start: []string{"./hn"}, Bundles: map[string]string{"linux/amd64": digest},
	}}
	first, changed, err := r.Deploy(t.Context(), h, registry.Change{})
	if err != nil || !changed || first.String() != "HackerNews@1" {
		t.Fatalf("deploy = %+v, %v, %v", first, changed, err)
	}
	if scaled, err := r.Scale(t.Context(), "HackerNews", mayfly.Exactly(5)); err != nil || scaled.Instances != mayfly.Exactly(5) {
		t.Errorf("scale = %+v, %v", scaled, err)
	}
	h.Env = map[string]string{"A": "b"}
	if _, _, err := r.Deploy(t.Context(), h, registry.Change{}); err != nil {
		t.Fatal(err)
	}
	if back, _, err := r.Rollback(t.Context(), mayfly.Ref{Name: "HackerNews", Revision: 1}); err != nil || back.Revision != 3 || back.Instances != mayfly.Exactly(2) || back.Env != nil {
		t.Errorf("rollback = %+v, %v", back, err)
	}
	if got, err := r.Get(t.Context(), mayfly.Ref{Name: "HackerNews"}); err != nil || got.Revision != 3 {
		t.Errorf("get = %+v, %v", got, err)
	}
	if history, err := r.History(t.Context(), "HackerNews"); err != nil || len(history) != 3 {
		t.Errorf("history = %+v, %v", history, err)
	}
	if err := r.Remove(t.Context(), "HackerNews"); err != nil {
		t.Error(err)
	}

	// A name is a function's or a service's.
	deploy(t, r, function("hello", "", digest))
	h.Name = "hello"
	_, _, err = r.Deploy(t.Context(), h, registry.Change{})
	wantCode(t, err, mayfly.Conflict, "is a function already")
}

func TestUnknownFieldsAreKept(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	r := open(t, b, registry.Options{})
	digest := upload(t, r, "one")
	kv := bucket(t, b, mayfly.BucketRegistry)
	news := r.Watch(t.Context())
	_, err := kv.PutString(t.Context(), "function/hello", `{"v":1,"name":"hello","revision":6,"engine":"exec","start":[],"volumes":{"a":"/b"},"colour":"red"}`)
	if err != nil {
		t.Fatal(err)
	}
	await(t, news, func() bool { functions := r.List(); return len(functions) == 1 })
	keep := func(when string) {
		t.Helper()
		stored, err := kv.Get(t.Context(), "function/hello")
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Volumes map[string]string
			Colour  string
		}
		if err := json.Unmarshal(stored.Value(), &got); err != nil || got.Volumes["a"] != "/b" || got.Colour != "red" {
			t.Errorf("after %s the entry is %s", when, stored.Value())
		}
	}
	if _, err := r.Scale(t.Context(), "hello", mayfly.Instances{Min: 1}); err != nil {
		t.Fatal(err)
	}
	keep("scale")
	if f := deploy(t, r, function("hello", "", digest)); f.Revision != 7 {
		t.Errorf("deployed as %v", f)
	}
	keep("deploy")
	if _, _, err := r.Rollback(t.Context(), mayfly.Ref{Name: "hello", Revision: 6}); err != nil {
		t.Fatal(err)
	}
	keep("rollback")
}

func TestLookingMakesNothing(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	look := registry.Options{Look: true}
	_, err := registry.Open(t.Context(), b, look)
	wantCode(t, err, mayfly.NotFound, "nothing", "mayfly deploy")
	js, err := b.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	for name := range js.StreamNames(t.Context()).Name() {
		t.Errorf("looking made %s", name)
	}

	r := open(t, b, registry.Options{})
	deploy(t, r, function("hello", "", upload(t, r, "x")))
	seen := open(t, b, look).List()
	if len(seen) != 1 || seen[0].Name != "hello" {
		t.Errorf("looking sees %v", seen)
	}
}

// The format says where the state is, so that builds that know one account only keep
// away, and those that know both do not take users' for theirs.
func TestFormatSaysWhichAccount(t *testing.T) {
	t.Parallel()
	format := func(nc *nats.Conn) string {
		t.Helper()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		kv, err := js.KeyValue(t.Context(), mayfly.BucketMeta)
		if err != nil {
			t.Fatal(err)
		}
		e, err := kv.Get(t.Context(), "format")
		if err != nil {
			t.Fatal(err)
		}
		return string(e.Value())
	}
	b := natstest.New(t)
	open(t, b, registry.Options{})
	const own, shared = `{"v":1,"format":2}`, `{"v":1,"format":1}`
	if got := format(natstest.ConnectCore(t, b)); got != own {
		t.Errorf("the state has %s", got)
	}
	users := natstest.Connect(t, b)
	if got := format(users); got != own {
		t.Errorf("builds that know one account find %s", got)
	}
	js, err := jetstream.New(users)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.KeyValue(t.Context(), mayfly.BucketRegistry); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("users have a registry, which older nodes would take for empty: %v", err)
	}

	// The state of an earlier build, from which users have gone.
	if _, err := bucket(t, b, mayfly.BucketMeta).PutString(t.Context(), "format", shared); err != nil {
		t.Fatal(err)
	}
	open(t, b, registry.Options{Look: true})
	if got := format(natstest.ConnectCore(t, b)); got != shared {
		t.Errorf("looking has written %s", got)
	}
	open(t, b, registry.Options{})
	if got := format(natstest.ConnectCore(t, b)); got != own {
		t.Errorf("the state still has %s", got)
	}

	// One login for both, as on a server of somebody else's.
	one, err := bus.Open(t.Context(), bus.Options{Remote: natstest.Core(b)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { one.Close() })
	_, err = registry.Open(t.Context(), one, registry.Options{})
	wantCode(t, err, mayfly.Denied, "separate NATS account", "--core.creds")
	if _, err := bucket(t, b, mayfly.BucketMeta).PutString(t.Context(), "format", shared); err != nil {
		t.Fatal(err)
	}
	open(t, one, registry.Options{})
	if got := format(natstest.ConnectCore(t, b)); got != shared {
		t.Errorf("a shared account has %s", got)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	r := open(t, b, registry.Options{})
	if _, err := bucket(t, b, mayfly.BucketMeta).PutString(t.Context(), "format", `{"v":1,"format":7,"by":"somebody"}`); err != nil {
		t.Fatal(err)
	}
	_, err := registry.Open(t.Context(), b, registry.Options{})
	wantCode(t, err, mayfly.Invalid, "format 7", "knows 2", "upgrade")

	// An entry of a newer version is not run, and not overwritten.
	deploy(t, r, function("other", "", upload(t, r, "x")))
	if _, err := bucket(t, b, mayfly.BucketRegistry).PutString(t.Context(), "function/hello", `{"v":2,"name":"hello","revision":1}`); err != nil {
		t.Fatal(err)
	}
	_, _, err = r.Deploy(t.Context(), function("hello", "", upload(t, r, "x")), registry.Change{Take: true})
	wantCode(t, err, mayfly.Invalid, "version 2", "knows 1")
	functions := r.List()
	if len(functions) != 1 {
		t.Errorf("list = %v", functions)
	}
}

func TestNewerLayoutIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	open(t, b, registry.Options{})
	js, err := jetstream.New(natstest.ConnectCore(t, b))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"KV_" + mayfly.BucketRegistry, "OBJ_" + mayfly.BucketCode} {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		c := s.CachedInfo().Config
		c.Description, c.Metadata["mayfly.layout"] = "made by the future", "2"
		if _, err := js.UpdateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		open(t, b, registry.Options{})
		if s, err = js.Stream(t.Context(), name); err != nil || s.CachedInfo().Config.Description != "made by the future" {
			t.Errorf("%s was rewritten: %+v, %v", name, s.CachedInfo().Config, err)
		}
	}
}

func TestSmallStoreIsShared(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		remote bool // the registry does not know how much there is
	}{{"known", false}, {"unknown", true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			own, err := bus.Open(t.Context(), bus.Options{Server: &bus.ServerOptions{Store: t.TempDir(), MaxStore: 16 << 20, CoreKey: natstest.CoreKey}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { own.Close() })
			b := own
			if tt.remote {
				b = remote(t, own)
			}
			r := open(t, b, registry.Options{})
			deploy(t, r, function("hello", "", upload(t, r, "one")))
			open(t, b, registry.Options{}) // finds it as it is

			// What does not fit is refused, and what is there stays.
			large := make([]byte, 20<<20)
			rand.Read(large)
			sum := sha256.Sum256(large)
			wantCode(t, r.Upload(t.Context(), bytes.NewReader(large), hex.EncodeToString(sum[:])), mayfly.Exhausted, "full")
			deploy(t, r, function("hello", "", upload(t, r, "two")))
		})
	}
}

func TestBadNamesAreRefused(t *testing.T) {
	t.Parallel()
	r := open(t, natstest.New(t), registry.Options{})
	digest := upload(t, r, "one")
	for _, name := range []string{"", ">", "*", "a.b", "Hello", strings.Repeat("a", 64), "a\r\nb"} {
		_, _, err := r.Deploy(t.Context(), function(name, "", digest), registry.Change{})
		wantCode(t, err, mayfly.Invalid)
	}
	for _, name := range []string{"", ">", "a.b", strings.Repeat("a", 64), "a/b"} {
		_, _, err := r.Deploy(t.Context(), mayfly.Unit{Kind: mayfly.KindService, Name: mayfly.Name(name)}, registry.Change{})
		wantCode(t, err, mayfly.Invalid)
		wantCode(t, r.Remove(t.Context(), name), mayfly.Invalid)
		_, err = r.Get(t.Context(), mayfly.Ref{Name: mayfly.Name(name)})
		wantCode(t, err, mayfly.Invalid)
		_, err = r.History(t.Context(), name)
		wantCode(t, err, mayfly.Invalid)
	}
	huge := function("hello", "", digest)
	huge.Env = map[string]string{"A": strings.Repeat("x", 1<<20)}
	_, _, err := r.Deploy(t.Context(), huge, registry.Change{})
	wantCode(t, err, mayfly.Invalid, "bytes")
	_, _, err = r.Deploy(t.Context(), function("hello", "", strings.Repeat("0", 64)), registry.Change{})
	wantCode(t, err, mayfly.NotFound, "not in the store")
}

func TestListAnswersFromMemory(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	kv := bucketOf(t, b)
	const many = 1000
	for i := range many {
		data := fmt.Appendf(nil, `{"v":1,"name":"f%d","revision":3,"engine":"exec","start":["x"],"bundles":{"any":"%064d"}}`, i, i)
		if _, err := kv.Put(t.Context(), fmt.Sprint("function/f", i), data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := kv.PutString(t.Context(), "function/hostile", `]`); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "function/another", `{"v":1,"name":"f1"}`); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "function/nothing", `null`); err != nil {
		t.Fatal(err)
	}
	r := open(t, b, registry.Options{})
	functions := r.List()
	if again := r.List(); &again[0] != &functions[0] {
		t.Error("nothing has changed, and a new list was made")
	}
	if len(functions) != many || functions[1].Name != "f1" {
		t.Errorf("%d functions", len(functions))
	}
	deploy(t, r, function("a", "", upload(t, r, "one")))
	if changed := r.List(); len(changed) != many+1 || changed[0].Name != "a" || len(functions) != many {
		t.Errorf("after a deploy there are %d functions, of before %d", len(changed), len(functions))
	}
}

// bucketOf makes the buckets and returns that of the entries.
func bucketOf(t *testing.T, b *bus.Bus) jetstream.KeyValue {
	t.Helper()
	if err := open(t, b, registry.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	return bucket(t, b, mayfly.BucketRegistry)
}

func TestWatchTellsWhatOthersDeploy(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	here, there := open(t, b, registry.Options{}), open(t, b, registry.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	news := here.Watch(ctx)
	deploy(t, there, function("hello", "", upload(t, there, "one")))
	await(t, news, func() bool { functions := here.List(); return len(functions) == 1 })
	cancel()
	for range news { // until it is closed
	}
}

// What is deployed while the server is away, or over another connection, is seen
// once it is back.
func TestPictureSurvivesTheServer(t *testing.T) {
	t.Parallel()
	store, addr := t.TempDir(), ""
	serve := func() *bus.Bus {
		b, err := bus.Open(t.Context(), bus.Options{Server: &bus.ServerOptions{Store: store, Addr: addr, CoreKey: natstest.CoreKey}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		addr = strings.TrimPrefix(b.URL(), "nats://")
		return b
	}
	server := serve()
	b, err := bus.Open(t.Context(), bus.Options{Remote: bus.Remote{URL: server.URL()}, Core: natstest.Core(server)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	r := open(t, b, registry.Options{})
	news := r.Watch(t.Context())
	digest := upload(t, r, "one")
	deploy(t, r, function("one", "", digest))

	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	server = serve()
	// Nobody knows when the connection is back: what is written meanwhile waits.
	digest = upload(t, r, "two")
	deploy(t, r, function("two", "", digest))
	other, err := registry.Open(t.Context(), server, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	deploy(t, other, function("three", "", digest))
	await(t, news, func() bool { functions := r.List(); return len(functions) == 3 })

	js, err := b.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	js.Conn().Close() // for good: the bus makes another
	if err := other.Remove(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	await(t, news, func() bool { functions := r.List(); return len(functions) == 2 })
}

// A stream that is restored from a backup while nodes run is another one, and may have
// more messages than the one before, or fewer.
func TestReplacedRegistryIsReadAgain(t *testing.T) {
	t.Parallel()
	const stream = "KV_" + mayfly.BucketRegistry
	for _, tt := range []struct {
		name  string
		after int // deploys right after the restore
		gone  bool
	}{
		{"went back", 0, true},
		{"went back, then on", 3, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := natstest.New(t)
			r := open(t, b, registry.Options{})
			f := function("kept", "", upload(t, r, "one"))
			deploy(t, r, f)
			manager, err := jsm.New(natstest.ConnectCore(t, b))
			if err != nil {
				t.Fatal(err)
			}
			old, err := manager.LoadStream(stream)
			if err != nil {
				t.Fatal(err)
			}
			folder := t.TempDir()
			if _, err := old.SnapshotToDirectory(t.Context(), folder); err != nil {
				t.Fatal(err)
			}
			f.Name = "lost"
			deploy(t, r, f)
			other := open(t, b, registry.Options{})
			names := func() (names []mayfly.Name) {
				for _, u := range r.List() {
					names = append(names, u.Name)
				}
				return names
			}
			news := r.Watch(t.Context())
			if err := old.Delete(); err != nil {
				t.Fatal(err)
			}
			if tt.gone {
				late := time.After(time.Minute)
				for r.Ready() == nil {
					select {
					case <-late:
						t.Fatal("the loss of the stream is not told")
					case <-time.After(10 * time.Millisecond):
					}
				}
				wantCode(t, r.Ready(), mayfly.Unavailable, stream, "restore")
				if got := names(); len(got) != 2 {
					t.Errorf("without a stream there is %v", got)
				}
			}
			if _, _, err := manager.RestoreSnapshotFromDirectory(t.Context(), stream, folder); err != nil {
				t.Fatal(err)
			}
			want := []mayfly.Name{"kept"}
			for i := range tt.after {
				f.Name = mayfly.Name(fmt.Sprint("new", i))
				deploy(t, other, f)
				want = append(want, f.Name)
			}
			await(t, news, func() bool { return cmp.Equal(names(), want) })
			if err := r.Ready(); err != nil {
				t.Errorf("after the restore: %v", err)
			}
			f.Name = "zebra"
			deploy(t, open(t, b, registry.Options{}), f)
			await(t, news, func() bool { return cmp.Equal(names(), append(want, "zebra")) })
		})
	}
}

// await waits for news until what is expected is there.
func await(t *testing.T, news <-chan map[mayfly.Name]struct{}, there func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	for !there() {
		select {
		case <-news:
		case <-late:
			t.Fatal("no news in time")
		}
	}
}

func TestSyncFollowsEveryChange(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	asked, err := natstest.ConnectCore(t, b).SubscribeSync(mayfly.SubjectSync)
	if err != nil {
		t.Fatal(err)
	}
	if err := asked.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	r := open(t, remote(t, b), registry.Options{})
	digest := upload(t, r, "one")
	for _, change := range []struct {
		name string
		make func() error
	}{
		{"upload", func() error { return nil }}, // it was just made
		{"deploy", func() error {
			_, _, err := r.Deploy(t.Context(), function("a", "", digest), registry.Change{})
			return err
		}},
		{"remove", func() error { return r.Remove(t.Context(), "a") }},
	} {
		if err := change.make(); err != nil {
			t.Fatalf("%s: %v", change.name, err)
		}
		if _, err := asked.NextMsg(time.Minute); err != nil {
			t.Errorf("%s was not made durable: %v", change.name, err)
		}
	}
}

// remote returns another way to the server of b: that of another process.
func remote(t *testing.T, b *bus.Bus) *bus.Bus {
	t.Helper()
	other, err := bus.Open(t.Context(), bus.Options{Remote: bus.Remote{URL: b.URL()}, Core: natstest.Core(b)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	return other
}

// A registry's numbers only grow, whatever is done in whatever order; and what a
// reader sees is what the last writer said.
func TestRevisionsOnlyGrow(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	writers := []*registry.Registry{open(t, b, registry.Options{}), open(t, b, registry.Options{})}
	digests := []string{upload(t, writers[0], "one"), upload(t, writers[0], "two"), upload(t, writers[0], "three")}
	var round atomic.Int32
	rapid.Check(t, func(t *rapid.T) {
		name := mayfly.Name(fmt.Sprint("f", round.Add(1)))
		ctx := context.Background()
		var highest uint64
		live := false
		see := func(what string, f mayfly.Unit, grew bool, err error) {
			switch {
			case err != nil:
				t.Fatalf("%s: %v", what, err)
			case grew && f.Revision != highest+1, !grew && f.Revision != highest:
				t.Fatalf("%s of %d gave %v", what, highest, f)
			}
			highest, live = f.Revision, true
		}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			writer := writers[rapid.IntRange(0, 1).Draw(t, "writer")]
			switch rapid.SampledFrom([]string{"deploy", "deploy", "remove", "rollback", "scale"}).Draw(t, "step") {
			case "deploy":
				before := highest
				f, _, err := writer.Deploy(ctx, function(string(name), "", rapid.SampledFrom(digests).Draw(t, "digest")), registry.Change{})
				see("deploy", f, f.Revision != before || !live, err)
			case "rollback":
				to := rapid.Uint64Range(0, highest).Draw(t, "to")
				f, changed, err := writer.Rollback(ctx, mayfly.Ref{Name: name, Revision: to})
				if mayfly.CodeOf(err) == mayfly.NotFound {
					continue
				}
				see("rollback", f, changed, err)
			case "remove":
				if err := writer.Remove(ctx, string(name)); (err == nil) != live {
					t.Fatalf("remove of %d: %v", highest, err)
				}
				live = false
			case "scale":
				f, err := writer.Scale(ctx, name, mayfly.Instances{Max: rapid.IntRange(1, 9).Draw(t, "max")})
				if live {
					see("scale", f, false, err)
				} else if mayfly.CodeOf(err) != mayfly.NotFound {
					t.Fatalf("scale of nothing: %v", err)
				}
			}
			f, err := writer.Get(ctx, mayfly.Ref{Name: name})
			if live && (err != nil || f.Revision != highest) || !live && err == nil {
				t.Fatalf("the writer gets %v, %v after revision %d", f, err, highest)
			}
		}
	})
}

func pattern(t *testing.T, text string) mayfly.Pattern {
	t.Helper()
	p, err := mayfly.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
