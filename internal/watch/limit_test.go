package watch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
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
		{syscall.ENOSPC, mayfly.Exhausted, "cannot watch folder /a: the system's limit on watches is reached", "fs.inotify.max_user_watches"},
		{fs.ErrPermission, mayfly.Unavailable, "cannot watch folder /a: permission denied", ""},
	} {
		err := unwatchable("/a", tt.err)
		if hint := mayfly.HintOf(err); mayfly.CodeOf(err) != tt.code || err.Error() != tt.says || !strings.Contains(hint, tt.hint) || (hint == "") != (tt.hint == "") {
			t.Errorf("%v with hint %q, want %s", err, hint, tt.says)
		}
	}
}

// The system keeps only so many events for whoever is slow.
func TestNothingIsLostWithEvents(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Set([]Target{{Tree: tree}}); err != nil {
		t.Fatal(err)
	}
	if err := w.system.Remove(tree); err != nil { // whose events are lost, and the watches on what they tell of
		t.Fatal(err)
	}
	folder := filepath.Join(tree, "new")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	told := make(chan []string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx, func(paths []string, _ error) { told <- paths }) })
	defer running.Wait()
	defer cancel()
	await := func(path string) {
		t.Helper()
		late := time.After(time.Minute)
		for {
			select {
			case paths := <-told:
				if slices.Contains(paths, path) {
					return
				}
			case <-late:
				t.Fatalf("%s was never told of", path)
			}
		}
	}
	w.system.Errors <- fsnotify.ErrEventOverflow
	await(tree)
	file := filepath.Join(folder, "a.js")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	await(file)
}

// Many events on a link, as of a checkout, cost one look at the targets.
func TestTurnedLinkIsFollowedOnceAndItsErrorTold(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for i := range MaxFolders {
		if err := os.MkdirAll(filepath.Join(folder, "large", strconv.Itoa(i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(folder, "link")
	if err := errors.Join(os.Mkdir(filepath.Join(folder, "small"), 0o700), os.Symlink("small", link)); err != nil {
		t.Fatal(err)
	}
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer w.system.Close()
	if err := w.Set([]Target{{Tree: link}}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink("large", link+".new"), os.Rename(link+".new", link)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if paths := w.wanted(fsnotify.Event{Name: link, Op: fsnotify.Create}); !slices.Contains(paths, link) || !w.turned {
			t.Errorf("wanted: %q; to follow: %v", paths, w.turned)
		}
	}
	if err := w.followLinks(); mayfly.CodeOf(err) != mayfly.Exhausted {
		t.Errorf("the link is followed with error %v", err)
	}
	if err := w.followLinks(); err != nil {
		t.Errorf("it is followed again: %v", err)
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
