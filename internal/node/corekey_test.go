package node_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/nats-io/nats.go"
)

// The key is made once, for its owner alone, and is in nothing that a node says.
func TestCoreKeyIsMadeOnceAndStaysAFile(t *testing.T) {
	t.Parallel()
	o := options(t)
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	path := filepath.Join(o.Folder, "core.key")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	first := start(t, o)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode of %s is %v, error %v", path, info.Mode(), err)
	}
	lines := strings.Split(strings.TrimSpace(string(before)), "\n")
	key := lines[len(lines)-1]
	nc, err := nats.Connect(first.NATS, nats.UserInfo(mayfly.UserCore, key))
	if err != nil {
		t.Fatalf("the key does not open the account: %v", err)
	}
	nc.Close()
	if r, ok := node.RunningAt(o.Folder); !ok || r.CoreKey != path {
		t.Errorf("commands look for the key at %q", r.CoreKey)
	}
	first.stop()
	second := start(t, o)
	second.stop()
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
		t.Errorf("a restart made another key, error %v", err)
	}
	if strings.Contains(log.String(), key) {
		t.Error("the key is in the log")
	}
	identity, err := os.ReadFile(filepath.Join(o.Folder, "node.json"))
	if err != nil || bytes.Contains(identity, []byte(key)) {
		t.Errorf("the key is in node.json, or: %v", err)
	}
}

func TestBadCoreKeyIsRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty": "", "a comment": "# a key\n", "short": "abc\n", "a hash": "$2a$11$abcdefghijklmnopqrstuv\n", "words": "this is certainly not a key\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			if err := os.WriteFile(filepath.Join(o.Folder, "core.key"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := node.New(t.Context(), o)
			wantError(t, err, mayfly.Invalid, "core.key does not hold a core key", "restart")
			if line := strings.TrimSpace(text); line != "" && strings.Contains(err.Error(), line) {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
	o := options(t)
	o.Config.Core.Key = filepath.Join(t.TempDir(), "none.key")
	_, err := node.New(t.Context(), o)
	wantError(t, err, mayfly.Denied, "cannot read the core key", "--core.key")
}

// A second node needs the key, and begins no state of its own without.
func TestNodeWithoutTheCoreKeyIsRefused(t *testing.T) {
	t.Parallel()
	first := start(t, options(t))
	o := options(t)
	o.Config.NATS = first.NATS
	_, err := node.New(t.Context(), o)
	wantError(t, err, mayfly.Denied, "in a separate NATS account", "--core.key")
	o.Config.Core.Key = filepath.Join(o.Folder, "core.key") // that of the first, see newOptions
	second := start(t, o)
	if s := second.Node.Status(); !s.Own || s.Embedded {
		t.Errorf("status %+v", s)
	}
	if r, ok := node.RunningAt(o.Folder); !ok || r.CoreKey != o.Config.Core.Key {
		t.Errorf("commands look for the key at %q", r.CoreKey)
	}
}
