package registry_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/registry"
)

// A full disk must not hold an upload for ever, nor what comes after there is room.
func TestUploadToAFullDiskEnds(t *testing.T) {
	t.Parallel()
	disk := natstest.NewDisk(t, 96)
	b, err := bus.Open(t.Context(), bus.Options{Server: &bus.ServerOptions{Store: disk.Folder, MaxStore: 4 << 30, CoreKey: natstest.CoreKey}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	r := open(t, b, registry.Options{})
	code := make([]byte, 4<<20)
	rand.Read(code)
	sum := sha256.Sum256(code)
	digest := hex.EncodeToString(sum[:])
	disk.Fill()
	began := time.Now()
	err = r.UploadWithin(t.Context(), bytes.NewReader(code), digest, 2*time.Second)
	if err == nil {
		t.Fatal("a full disk took 4 MiB")
	}
	t.Logf("after %s: %v (%s)", time.Since(began), err, mayfly.HintOf(err))
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the upload ended after %s", took)
	}
	disk.Free()
	for late := time.After(time.Minute); b.Ready() != nil; {
		select {
		case <-late:
			t.Fatalf("never ready again: %v", b.Ready())
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := r.Upload(t.Context(), bytes.NewReader(code), digest); err != nil {
		t.Errorf("upload after there is room: %v", err)
	}
	deploy(t, r, function("hello", "", digest))
}
