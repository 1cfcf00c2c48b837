package bus_test

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go/jetstream"
)

// things opens the bucket of states() as a stream.
func things(t *testing.T, b *bus.Bus) (jetstream.KeyValue, jetstream.Stream) {
	t.Helper()
	js, err := b.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "things")
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_things")
	if err != nil {
		t.Fatal(err)
	}
	return kv, stream
}

// Our own server and a remote one give the same extents, and none of a stream that is gone.
func TestExtentsAreTheSameFromAnywhere(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	if err := b.Keep(t.Context(), states()...); err != nil {
		t.Fatal(err)
	}
	kv, _ := things(t, b)
	if _, err := kv.PutString(t.Context(), "a", "one"); err != nil {
		t.Fatal(err)
	}
	other, err := bus.Open(t.Context(), bus.Options{Remote: bus.Remote{URL: b.URL()}, Core: natstest.Core(b)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	var seen []map[string]bus.Extent
	for _, from := range []*bus.Bus{b, other} {
		all, err := from.Extents(t.Context(), "KV_things", "LINES", "GONE")
		if _, gone := all["GONE"]; err != nil || gone || all["KV_things"].Messages != 1 || all["LINES"].Created.IsZero() {
			t.Errorf("extents are %v, error %v", all, err)
		}
		if _, err := from.Extent(t.Context(), "GONE"); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("of a stream that is gone: %v", err)
		}
		maps.DeleteFunc(all, func(name string, _ bus.Extent) bool { return name != "KV_things" && name != "LINES" })
		seen = append(seen, all)
	}
	if !maps.EqualFunc(seen[0], seen[1], func(a, b bus.Extent) bool {
		return a.Created.Equal(b.Created) && a.First == b.First && a.Last == b.Last && a.Messages == b.Messages
	}) {
		t.Errorf("own server: %v, remote: %v", seen[0], seen[1])
	}
}

// A failing stream fails to find a last message.
type failing struct {
	jetstream.Stream
	err error
}

func (f failing) GetLastMsgForSubject(context.Context, string) (*jetstream.RawStreamMsg, error) {
	return nil, f.err
}

// Only a message that is listed and not found is damaged.
func TestLastOfTellsDamageFromSlowness(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	if err := b.Keep(t.Context(), states()...); err != nil {
		t.Fatal(err)
	}
	kv, stream := things(t, b)
	if _, err := kv.PutString(t.Context(), "a", "one"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		stream  jetstream.Stream
		key     string
		there   bool
		damaged bool
		err     error
	}{
		{"there", stream, "a", true, false, nil},
		{"never there", stream, "b", false, false, nil},
		{"listed, not found", failing{stream, jetstream.ErrMsgNotFound}, "a", false, true, nil},
		{"slow", failing{stream, context.DeadlineExceeded}, "a", false, false, context.DeadlineExceeded},
		{"not reached", failing{stream, jetstream.ErrNoStreamResponse}, "a", false, false, jetstream.ErrNoStreamResponse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, damaged, err := bus.LastOf(t.Context(), tt.stream, "$KV.things."+tt.key)
			if (m != nil) != tt.there || damaged != tt.damaged || !errors.Is(err, tt.err) {
				t.Errorf("message %v, damaged %v, error %v", m, damaged, err)
			}
		})
	}
}
