package watch

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestWhatCannotBeWatchedSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		code mayfly.Code
		says string // message
		hint string
	}{
		{syscall.ENOSPC, mayfly.Exhausted, "folder /a cannot be watched: the system's limit of watches is reached", "fs.inotify.max_user_watches"},
		{fs.ErrPermission, mayfly.Unavailable, "folder /a cannot be watched: permission denied", ""},
	} {
		err := unwatchable("/a", tt.err)
		if hint := mayfly.HintOf(err); mayfly.CodeOf(err) != tt.code || err.Error() != tt.says || !strings.Contains(hint, tt.hint) || (hint == "") != (tt.hint == "") {
			t.Errorf("%v with hint %q, want %s", err, hint, tt.says)
		}
	}
}

func TestMoreFoldersThanAreWatchedIsSaid(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	for i := range MaxFolders {
		if err := os.Mkdir(filepath.Join(tree, strconv.Itoa(i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer w.system.Close()
	err = w.Set([]Target{{Tree: tree}})
	if mayfly.CodeOf(err) != mayfly.Exhausted || !strings.Contains(mayfly.HintOf(err), ".mayflyignore") {
		t.Errorf("err = %v, %s", err, mayfly.HintOf(err))
	}
	if len(w.folders) != MaxFolders {
		t.Errorf("%d folders are watched", len(w.folders))
	}
}
