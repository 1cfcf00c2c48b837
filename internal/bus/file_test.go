package bus_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/mayfly-run/mayfly/internal/bus"
)

// A file is placed whole, for its owner alone, and nothing else is left in the folder.
func TestFilesArePlacedWhole(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "key")
	content := func(want string) {
		t.Helper()
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("the file holds %q, error %v", got, err)
		}
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("its mode is %v, error %v", info.Mode(), err)
		}
		if names, err := os.ReadDir(folder); err != nil || len(names) != 1 {
			t.Errorf("the folder holds %v, error %v", names, err)
		}
	}
	if err := bus.CreateFile(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	content("one")
	if err := bus.CreateFile(path, []byte("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	content("one")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := bus.ReplaceFile(path, []byte("three")); err != nil {
		t.Fatal(err)
	}
	content("three")
	if err := bus.ReplaceFile(filepath.Join(folder, "none", "key"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that does not exist: %v", err)
	}
}
