package watch

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
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
	files   map[string][]string        // what to tell of when a file changes: its name, those of links to it
	folders map[string]string          // that are watched, and where they really are
	watched map[string]map[string]bool // the other way round: the system knows a folder by one name
	missing map[string]bool            // that should be, and are not there: one above is watched instead
}

// New returns a Watcher of nothing yet. The error is Unavailable where the system
// has no watches left.
func New() (*Watcher, error) {
	system, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Unavailable, "cannot watch files: %w", err).
			WithHint("raise fs.inotify.max_user_instances, or stop other programs that watch files")
	}
	return &Watcher{
		system: system, files: map[string][]string{},
		folders: map[string]string{}, watched: map[string]map[string]bool{}, missing: map[string]bool{},
	}, nil
}

// Set replaces what is watched. The error says what cannot be; the rest is.
func (w *Watcher) Set(targets []Target) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.set(targets)
}

// set is Set. The caller holds mu.
func (w *Watcher) set(targets []Target) error {
	w.targets, w.files = slices.Clone(targets), map[string][]string{}
	clear(w.missing)
	wanted := map[string]bool{}
	var failed error
	want := func(folder string) {
		if wanted[folder] {
			return
		}
		nearest, err := w.add(folder)
		wanted[folder], wanted[nearest] = true, true
		if failed == nil {
			failed = err
		}
	}
	partial := false
	for _, t := range targets {
		for _, file := range t.Files {
			for _, name := range namesOf(file) {
				w.files[name] = append(w.files[name], file)
				want(filepath.Dir(name))
			}
		}
		if t.Tree != "" {
			want(t.Tree)
		}
	}
	for _, t := range targets {
		t.walk(t.Tree, func(folder string) bool {
			partial = partial || len(wanted) >= MaxFolders
			if !partial {
				want(folder)
			}
			return !partial
		})
	}
	for folder := range w.folders {
		if !wanted[folder] {
			w.drop(folder)
		}
	}
	if failed == nil && partial {
		failed = mayfly.Errorf(mayfly.Exhausted, "more than %d folders: changes in some go unnoticed", MaxFolders).
			WithHint("exclude what need not be watched in .mayflyignore")
	}
	return failed
}

// namesOf returns a file's path and, if that is a link, the path of what it stands for.
func namesOf(file string) []string {
	if info, err := os.Lstat(file); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if real, err := filepath.EvalSymlinks(file); err == nil {
			return []string{file, real}
		}
	}
	return []string{file}
}

// add watches one folder, or where it is not there, the nearest one above, which
// tells of its return. It returns the one that is watched. The caller holds mu.
func (w *Watcher) add(folder string) (string, error) {
	for nearest := folder; ; nearest = filepath.Dir(nearest) {
		err := w.watch(nearest)
		switch {
		case err == nil:
			if nearest == folder {
				delete(w.missing, folder)
				return folder, nil
			}
			w.missing[folder] = true
			if _, err := os.Stat(folder); err != nil {
				return nearest, nil
			}
			nearest = filepath.Join(folder, "_") // it came back before anybody looked
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) || nearest == filepath.Dir(nearest):
			return nearest, unwatchable(folder, err)
		}
	}
}

// watch has the system watch a folder where it really is. The caller holds mu.
func (w *Watcher) watch(folder string) error {
	if w.folders[folder] != "" {
		return nil
	}
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return err
	}
	if w.watched[real] == nil {
		if err := w.system.Add(real); err != nil {
			return err
		}
		w.watched[real] = map[string]bool{}
	}
	w.watched[real][folder], w.folders[folder] = true, real
	return nil
}

// drop ends the watch on a folder. The caller holds mu.
func (w *Watcher) drop(folder string) {
	real := w.folders[folder]
	delete(w.folders, folder)
	delete(w.watched[real], folder)
	if len(w.watched[real]) == 0 {
		delete(w.watched, real)
		_ = w.system.Remove(real) // the system may have dropped it
	}
}

// unwatchable is the error of a folder that the system does not watch.
func unwatchable(folder string, err error) error {
	if errors.Is(err, syscall.ENOSPC) { // which it says of watches, too
		return mayfly.Errorf(mayfly.Exhausted, "cannot watch folder %s: the system's limit on watches is reached", folder).
			WithHint("raise it (sysctl fs.inotify.max_user_watches), or exclude what need not be watched in .mayflyignore")
	}
	return mayfly.Errorf(mayfly.Unavailable, "cannot watch folder %s: %w", folder, err)
}

// lose forgets the watches on a folder that is gone and on those in it. If it was
// moved they would tell of it where it is now. The caller holds mu.
func (w *Watcher) lose(gone string) {
	for folder := range w.folders {
		if within(folder, gone) {
			w.drop(folder)
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
		if _, _ = w.add(folder); !w.missing[folder] {
			back[folder] = true
		}
	}
	if len(back) == 0 {
		return nil
	}
	var paths []string
	for file, names := range w.files {
		if back[filepath.Dir(file)] {
			paths = append(paths, names...)
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
	t.walk(from, func(folder string) bool {
		_, _ = w.add(folder) // what cannot be watched now cannot be helped: the next Set says so
		return len(w.folders) < MaxFolders
	})
}

// within reports whether path is folder or in it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+string(filepath.Separator))
}

// walk gives a tree's folders, from one on, until there are enough. What is in a
// folder is read after it was given, and so after it is watched: what appears
// meanwhile is seen or told of.
func (t Target) walk(from string, more func(folder string) bool) {
	if t.Tree == "" {
		return
	}
	real, err := filepath.EvalSymlinks(from) // or a link would be the whole walk
	if err != nil {
		return
	}
	_ = filepath.WalkDir(real, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // unreadable: not watched
		}
		path = from + strings.TrimPrefix(path, real)
		if path != t.Tree && t.skips(path, true) {
			return filepath.SkipDir
		}
		if !more(path) {
			return filepath.SkipAll
		}
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
			for _, path := range w.again() {
				pending[path] = true
			}
			rest.Reset(quiet)
		case <-rest.C:
			paths := slices.Sorted(maps.Keys(pending))
			clear(pending)
			changed(paths)
		}
	}
}

// again watches everything anew, because nobody knows which folders are still those
// that were watched, and returns all that is wanted.
func (w *Watcher) again() (paths []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for folder := range w.folders {
		w.drop(folder)
	}
	_ = w.set(w.targets) // the caller of Set has heard what is wrong with them
	for _, t := range w.targets {
		paths = append(paths, t.Files...)
		if t.Tree != "" {
			paths = append(paths, t.Tree)
		}
	}
	return paths
}

// wanted returns what somebody asked for of what happened.
func (w *Watcher) wanted(event fsnotify.Event) (paths []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string // of what it happened to
	for folder := range w.watched[event.Name] {
		names = append(names, folder)
	}
	for folder := range w.watched[filepath.Dir(event.Name)] {
		names = append(names, filepath.Join(folder, filepath.Base(event.Name)))
	}
	for _, path := range names {
		paths = append(paths, w.wantedAt(path, event.Op)...)
	}
	return paths
}

// wantedAt returns what somebody asked for of what happened at a path. A folder that
// appears in a tree is watched from now on. The caller holds mu.
func (w *Watcher) wantedAt(path string, op fsnotify.Op) []string {
	if real := w.folders[path]; real != "" {
		now, err := filepath.EvalSymlinks(path) // a link may lead elsewhere by now
		if op.Has(fsnotify.Remove) || op.Has(fsnotify.Rename) || err != nil || now != real {
			w.lose(path)
		}
	}
	paths := append(w.returned(path), w.files[path]...)
	info, err := os.Lstat(path)
	folder := err == nil && info.IsDir()
	wanted := false
	for _, t := range w.targets {
		if t.Tree == "" || !strings.HasPrefix(path, t.Tree+string(filepath.Separator)) || t.skips(path, folder) {
			continue
		}
		wanted = true
		if folder && op.Has(fsnotify.Create) {
			w.enter(t, path)
		}
	}
	if wanted {
		paths = append(paths, path)
	}
	return paths
}
