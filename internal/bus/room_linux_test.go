package bus_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go/jetstream"
)

// A full disk wedges JetStream's streams; once there is room they work again, with all
// that they held.
func TestFullDiskIsLeftBehind(t *testing.T) {
	t.Parallel()
	disk := natstest.NewDisk(t, 64)
	b, err := bus.Open(t.Context(), bus.Options{
		Server: &bus.ServerOptions{Store: disk.Folder, MaxStore: 1 << 30},
		Log:    slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	state := bus.State{KeyValue: &jetstream.KeyValueConfig{Bucket: "b", History: 8}, Layout: 1, Bytes: 256 << 20}
	if err := b.Keep(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	put := func(key string, size int) error {
		js, err := b.JetStream()
		if err != nil {
			return err
		}
		kv, err := js.KeyValue(t.Context(), "b")
		if err == nil {
			_, err = kv.Put(t.Context(), key, make([]byte, size))
		}
		return err
	}
	await := func(what string, there func() bool) {
		t.Helper()
		for late := time.After(time.Minute); !there(); {
			select {
			case <-late:
				t.Fatalf("never: %s", what)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	if err := put("first", 1000); err != nil {
		t.Fatal(err)
	}
	disk.Fill()
	n := 0
	await("the disk's failure is told", func() bool {
		n++
		_ = put(fmt.Sprint("filler", n), 100_000)
		return b.Ready() != nil
	})
	disk.Free()
	await("the store works again", func() bool { return b.Ready() == nil })
	if err := put("second", 1000); err != nil {
		t.Errorf("write after there is room: %v", err)
	}
	js, err := b.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"first", "second"} {
		if _, err := kv.Get(t.Context(), key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}
