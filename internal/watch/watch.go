package watch

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/mayfly-run/mayfly"
)

// quiet is how long nothing must change before a change is told: a save is often
// several events, and a half-written file helps nobody.
const quiet = 20 * time.Millisecond

// MaxFolders is how many folders are watched at most. A tree that has more is
// watched in part: each costs the system a watch, and there are only so many.
const MaxFolders = 4096

// A Target is what somebody wants to hear of.
type Target struct {
	Files []string // absolute; told of when they change, wherever they are
	Tree  string   // absolute folder; all that changes in it is told of. None if empty

	// Ignore reports whether a file or folder of the tree, by its path relative to it
	// with slashes, is nobody's business. Nil leaves out what begins with a dot, and
	// node_modules and __pycache__.
	Ignore func(path string, folder bool) bool
}

// A Watcher tells of changes. New makes one that watches; Run tells.
type Watcher struct {
	system *fsnotify.Watcher

	mu      sync.Mutex
	targets []Target
	files   map[string]bool
	folders map[string]bool // that are watched
	missing map[string]bool // that should be, and are not there: one above is watched instead
	partial bool            // there were more than MaxFolders
}

// New returns a Watcher of nothing yet. The error is Unavailable where the system
// has no watches left.
func New() (*Watcher, error) {
	system, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Unavailable, "files cannot be watched: %w", err).
			WithHint("raise fs.inotify.max_user_instances, or end what holds the watches")
	}
	return &Watcher{system: system, files: map[string]bool{}, folders: map[string]bool{}, missing: map[string]bool{}}, nil
}

// Set replaces what is watched. The error says what cannot be; the rest is.
func (w *Watcher) Set(targets []Target) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.targets, w.files, w.partial = slices.Clone(targets), map[string]bool{}, false
	wanted := map[string]bool{}
	for _, t := range targets {
		for _, file := range t.Files {
			w.files[file] = true
			wanted[filepath.Dir(file)] = true
		}
	}
	for _, t := range targets {
		w.walk(t, t.Tree, wanted)
	}
	for folder := range w.folders {
		if !wanted[folder] {
			_ = w.system.Remove(folder) // one that is gone has no watch
			delete(w.folders, folder)
		}
	}
	clear(w.missing)
	var failed error
	for _, folder := range slices.Sorted(maps.Keys(wanted)) {
		if err := w.add(folder); err != nil && failed == nil {
			failed = err
		}
	}
	if failed == nil && w.partial {
		failed = mayfly.Errorf(mayfly.Exhausted, "more than %d folders: changes in some are not seen", MaxFolders).
			WithHint("name what need not be watched in .mayflyignore")
	}
	return failed
}

// add watches one folder, or where it is not there, the nearest one above, which
// tells of its return. The caller holds mu.
func (w *Watcher) add(folder string) error {
	for nearest := folder; ; nearest = filepath.Dir(nearest) {
		err := error(nil)
		if !w.folders[nearest] {
			err = w.system.Add(nearest)
		}
		switch {
		case err == nil:
			w.folders[nearest] = true
			if nearest == folder {
				delete(w.missing, folder)
				return nil
			}
			w.missing[folder] = true
			if _, err := os.Lstat(folder); err != nil {
				return nil
			}
			nearest = filepath.Join(folder, "_") // it came back before anybody looked
		case !os.IsNotExist(err) || nearest == filepath.Dir(nearest):
			return mayfly.Errorf(mayfly.Unavailable, "folder %s cannot be watched: %w", folder, err).
				WithHint("raise fs.inotify.max_user_watches")
		}
	}
}

// lose forgets the watches on a folder that is gone and on those in it. If it was
// moved they would tell of it where it is now. The caller holds mu.
func (w *Watcher) lose(gone string) {
	for folder := range w.folders {
		if within(folder, gone) {
			_ = w.system.Remove(folder) // the system may have dropped it
			delete(w.folders, folder)
		}
	}
	for file := range w.files {
		w.miss(filepath.Dir(file), gone)
	}
	for _, t := range w.targets {
		w.miss(t.Tree, gone)
	}
}

// miss notes a folder that must be watched and was lost. The caller holds mu.
func (w *Watcher) miss(folder, gone string) {
	if folder != "" && within(folder, gone) {
		w.missing[folder] = true
	}
}

// returned watches again, of the folders that are missing, those that are there at
// path, and returns what is wanted in them: all of it may have changed. The caller
// holds mu.
func (w *Watcher) returned(path string) []string {
	back := map[string]bool{}
	for folder := range w.missing {
		if !within(folder, path) {
			continue
		}
		if _ = w.add(folder); !w.missing[folder] {
			back[folder] = true
		}
	}
	if len(back) == 0 {
		return nil
	}
	var paths []string
	for file := range w.files {
		if back[filepath.Dir(file)] {
			paths = append(paths, file)
		}
	}
	for _, t := range w.targets {
		if back[t.Tree] {
			paths = append(paths, t.Tree)
			w.enter(t, t.Tree)
		}
	}
	return paths
}

// enter watches a tree's folders from one on. The caller holds mu.
func (w *Watcher) enter(t Target, from string) {
	found := map[string]bool{}
	w.walk(t, from, found)
	for folder := range found {
		_ = w.add(folder) // what cannot be watched now cannot be helped
	}
}

// within reports whether path is folder or in it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+string(filepath.Separator))
}

// walk enters a tree's folders, from one on, into wanted. The caller holds mu.
func (w *Watcher) walk(t Target, from string, wanted map[string]bool) {
	if t.Tree == "" {
		return
	}
	_ = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // unreadable: not watched
		}
		if path != t.Tree && t.skips(path, true) {
			return filepath.SkipDir
		}
		if len(wanted) >= MaxFolders {
			w.partial = true
			return filepath.SkipAll
		}
		wanted[path] = true
		return nil
	})
}

// skips reports whether the target leaves a path of its tree out.
func (t Target) skips(path string, folder bool) bool {
	relative, err := filepath.Rel(t.Tree, path)
	if err != nil {
		return true
	}
	if t.Ignore != nil {
		return t.Ignore(filepath.ToSlash(relative), folder)
	}
	for part := range strings.SplitSeq(filepath.ToSlash(relative), "/") {
		if strings.HasPrefix(part, ".") || part == "node_modules" || part == "__pycache__" {
			return true
		}
	}
	return false
}

// Run calls changed with the paths that changed, after each time of quiet, until
// ctx ends. Calls do not overlap; what changes meanwhile is told by the next.
func (w *Watcher) Run(ctx context.Context, changed func(paths []string)) error {
	defer w.system.Close()
	pending := map[string]bool{}
	rest := time.NewTimer(time.Hour)
	rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-w.system.Events:
			if !ok {
				return nil
			}
			if event.Op == fsnotify.Chmod {
				continue
			}
			for _, path := range w.wanted(event) {
				pending[path] = true
				rest.Reset(quiet)
			}
		case <-w.system.Errors: // events were lost: better once too often than never
			w.mu.Lock()
			for file := range w.files {
				pending[file] = true
			}
			w.mu.Unlock()
			rest.Reset(quiet)
		case <-rest.C:
			paths := slices.Sorted(maps.Keys(pending))
			clear(pending)
			changed(paths)
		}
	}
}

// wanted returns what somebody asked for of what happened. A folder that appears in
// a tree is watched from now on.
func (w *Watcher) wanted(event fsnotify.Event) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	path := event.Name
	if w.folders[path] && (event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename)) {
		w.lose(path)
	}
	paths := w.returned(path)
	info, err := os.Lstat(path)
	folder := err == nil && info.IsDir()
	wanted := w.files[path]
	for _, t := range w.targets {
		if t.Tree == "" || !strings.HasPrefix(path, t.Tree+string(filepath.Separator)) || t.skips(path, folder) {
			continue
		}
		wanted = true
		if folder && event.Has(fsnotify.Create) {
			w.enter(t, path)
		}
	}
	if wanted {
		paths = append(paths, path)
	}
	return paths
}
