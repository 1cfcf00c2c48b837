package registry_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/registry"
	"github.com/nats-io/nats.go/jetstream"
)

// One flipped bit stops the consumer behind a watch for good. The rest is read anyway, and
// a deploy heals the entry.
func TestDamagedEntryStopsNoRead(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	serve := func() *bus.Bus {
		b, err := bus.Open(t.Context(), bus.Options{Server: &bus.ServerOptions{Store: store, MaxStore: 1 << 30, CoreKey: natstest.CoreKey}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	b := serve()
	r, err := registry.Open(t.Context(), b, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	one, two := upload(t, r, "one"), upload(t, r, "two")
	for _, name := range []string{"a", "b", "c", "only"} {
		deploy(t, r, function(name, "shop", one))
	}
	deploy(t, r, function("b", "shop", two))
	deploy(t, r, function("c", "shop", two))
	r.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	block := filepath.Join(store, "jetstream/CORE/streams/KV_mayfly_registry/msgs/1.blk")
	data, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.LastIndex(data, []byte(`"name":"b"`))] ^= 1
	data[bytes.LastIndex(data, []byte(`"name":"only"`))] ^= 1
	if err := os.WriteFile(block, data, 0o600); err != nil {
		t.Fatal(err)
	}

	b = serve()
	r = open(t, b, registry.Options{})
	names := func() (all []string) {
		for _, u := range r.List() {
			all = append(all, u.String())
		}
		return all
	}
	if got := names(); !slices.Equal(got, []string{"a@1", "b@1", "c@2"}) {
		t.Errorf("after the damage there is %v", got)
	}
	wantCode(t, r.Ready(), mayfly.Unavailable, "function/b, function/only", "restore")
	if broken := r.Unreadable(); len(broken) != 2 {
		t.Errorf("unreadable are %v", broken)
	}
	if again := deploy(t, r, function("b", "shop", two)); again.Revision != 3 {
		t.Errorf("deployed again as %v", again)
	}
	deploy(t, r, function("only", "shop", two))
	news := r.Watch(t.Context())
	await(t, news, func() bool { return r.Ready() == nil })
	if got := names(); !slices.Equal(got, []string{"a@1", "b@3", "c@2", "only@1"}) {
		t.Errorf("after the deploys there is %v", got)
	}
}

// slow is JetStream where some reads fail.
type slow struct {
	jetstream.JetStream
	last, next error
}

type slowStream struct {
	jetstream.Stream
	slow
}

func (s slow) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	stream, err := s.JetStream.Stream(ctx, name)
	return slowStream{stream, s}, err
}

func (s slowStream) GetLastMsgForSubject(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	if s.last != nil {
		return nil, s.last
	}
	return s.Stream.GetLastMsgForSubject(ctx, subject)
}

func (s slowStream) GetMsg(ctx context.Context, seq uint64, o ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	if s.next != nil {
		return nil, s.next
	}
	return s.Stream.GetMsg(ctx, seq, o...)
}

// A disk that is slow, or a connection that is lost, has damaged nothing: no older revision
// becomes the current one.
func TestSlowReadIsNotDamage(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	r := open(t, b, registry.Options{})
	deploy(t, r, function("a", "shop", upload(t, r, "one")))
	deploy(t, r, function("a", "shop", upload(t, r, "two")))
	js, err := b.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name       string
		last, next error
		damaged    bool
		err        error
	}{
		{"whole", nil, nil, false, nil},
		{"damaged", jetstream.ErrMsgNotFound, nil, true, nil},
		{"slow", context.DeadlineExceeded, nil, false, context.DeadlineExceeded},
		{"not reached", jetstream.ErrNoStreamResponse, nil, false, jetstream.ErrNoStreamResponse},
		{"damaged, then slow", jetstream.ErrMsgNotFound, context.DeadlineExceeded, false, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			damage, err := r.Salvage(t.Context(), slow{js, tt.last, tt.next})
			if (damage != nil) != tt.damaged || !errors.Is(err, tt.err) {
				t.Errorf("damage %v, error %v", damage, err)
			}
			if u := r.Current("a"); u == nil || u.Revision != 2 {
				t.Errorf("current is %v", u)
			}
		})
	}
}

// A registry that cannot be read does not leave the operator in the dark: a start fails, and
// a node that runs is not ready until it reads again.
func TestUnreadableRegistryIsTold(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	kept := bucketOf(t, b)
	const patience = 100 * time.Millisecond
	r, err := registry.ReadWithin(t.Context(), b, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	js, err := jetstream.New(natstest.ConnectCore(t, b))
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "KV_"+kept.Bucket())
	if err != nil {
		t.Fatal(err)
	}
	sound := s.CachedInfo().Config
	useless := sound
	useless.MaxMsgsPerSubject = -1 // no bucket any more
	if err := js.DeleteStream(t.Context(), sound.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), useless); err != nil {
		t.Fatal(err)
	}
	ready := func(want bool) {
		t.Helper()
		late := time.After(time.Minute)
		for (r.Ready() == nil) != want {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-late:
				t.Fatalf("Ready() = %v", r.Ready())
			}
		}
	}
	ready(false)
	wantCode(t, r.Ready(), mayfly.Unavailable, "the registry cannot be read", sound.Name)

	_, err = registry.ReadWithin(t.Context(), b, patience)
	wantCode(t, err, mayfly.Unavailable, "the registry cannot be read", sound.Name)

	if _, err := js.UpdateStream(t.Context(), sound); err != nil {
		t.Fatal(err)
	}
	ready(true)
}
