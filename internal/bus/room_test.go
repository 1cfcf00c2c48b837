package bus

import (
	"os"
	"path/filepath"
	"testing"
)

// A restart of JetStream that fails can be tried again.
func TestMenderTriesAgain(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	b, err := Open(t.Context(), Options{Server: &ServerOptions{Store: folder, MaxStore: 1 << 30}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	m := newMender(b)
	before, up := b.Starts()
	if !up {
		t.Fatal("JetStream is down")
	}
	store, away := filepath.Join(folder, "jetstream"), filepath.Join(folder, "away")
	if err := b.server.ShutdownJetStream(); err != nil { // it closes its files
		t.Fatal(err)
	}
	if err := os.Rename(store, away); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(store, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.restart(); err == nil {
			t.Fatal("JetStream starts on a file")
		}
		if n, up := b.Starts(); up || n != before {
			t.Errorf("after a restart that failed: start %d, up %v", n, up)
		}
	}
	if err := os.Remove(store); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, store); err != nil {
		t.Fatal(err)
	}
	if err := m.restart(); err != nil {
		t.Fatal(err)
	}
	if n, up := b.Starts(); !up || n != before+1 {
		t.Errorf("after a restart: start %d, up %v", n, up)
	}
}
