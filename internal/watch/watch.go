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

// quiet is how long nothing must change before a change is reported: a save is often
// several events, and a half-written file is useless.
const quiet = 20 * time.Millisecond

// MaxFolders is the most folders watched. A larger tree is watched in part: each
// folder costs one of the system's limited watches.
const MaxFolders = 4096

// A Target is a set of files to watch.
type Target struct {
	Files []string // absolute; watched wherever they are
	Tree  string   // absolute folder, watched with everything in it; none if empty
	Flat  bool     // of the tree, only what is directly in the folder

	// Ignore reports whether to skip a file or folder of the tree, by its relative
	// path with slashes; nothing is skipped if nil.
	Ignore func(path string, folder bool) bool
}

// A Watcher reports changes: New starts watching, Run reports.
type Watcher struct {
	system *fsnotify.Watcher

	mu      sync.Mutex
	targets []Target
	files   map[string][]string        // the names to report when a file changes: its own and those of links to it
	folders map[string]string          // the watched folders, and their real paths
	watched map[string]map[string]bool // the reverse: the system knows a folder by one name
	missing map[string]bool            // do not exist; a folder above is watched instead
	turned  bool                       // a link among the targets may lead elsewhere now
}

// New returns a Watcher without targets. The error is Unavailable if the system has no
// watches left.
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

// Set replaces the targets. The error names those that cannot be watched; the rest are.
func (w *Watcher) Set(targets []Target) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.set(targets)
}

// set is Set. The caller holds mu.
func (w *Watcher) set(targets []Target) error {
	w.targets, w.files = slices.Clone(targets), map[string][]string{}
	clear(w.missing)
	w.turned = false
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
	way := links{}
	for _, t := range targets {
		for _, file := range t.Files {
			for _, name := range append(way.of(file), file) {
				w.files[name] = append(w.files[name], file)
				want(filepath.Dir(name))
			}
		}
		if t.Tree != "" {
			want(t.Tree)
			for _, name := range way.of(t.Tree) {
				w.files[name] = append(w.files[name], t.Tree)
				want(filepath.Dir(name))
			}
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

// links remembers, by path, the links on the way to it and, if there are any, where it
// really is: if one of them changes, so does what the path leads to.
type links map[string][]string

func (l links) of(path string) []string {
	above := filepath.Dir(path)
	if above == path {
		return nil
	}
	if known, ok := l[path]; ok {
		return known
	}
	found := slices.DeleteFunc(slices.Clone(l.of(above)), func(name string) bool {
		info, err := os.Lstat(name)
		return err != nil || info.Mode()&fs.ModeSymlink == 0
	})
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		found = append(found, path)
		if to, err := os.Readlink(path); err == nil {
			if !filepath.IsAbs(to) {
				to = filepath.Join(above, to)
			}
			l[path] = found                    // a link may lead to itself
			found = append(found, l.of(to)...) // which may be a link as well
		}
	}
	if len(found) > 0 {
		if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
			found = append(found, real)
		}
	}
	l[path] = found
	return found
}

// add watches a folder, or if it does not exist, the nearest one above, which reports
// its return. It returns the watched folder. The caller holds mu.
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
			nearest = filepath.Join(folder, "_") // it returned in the meantime
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) || nearest == filepath.Dir(nearest):
			return nearest, unwatchable(folder, err)
		}
	}
}

// watch has the system watch a folder's real path. The caller holds mu.
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

// drop stops watching a folder. The caller holds mu.
func (w *Watcher) drop(folder string) {
	real := w.folders[folder]
	delete(w.folders, folder)
	delete(w.watched[real], folder)
	if len(w.watched[real]) == 0 {
		delete(w.watched, real)
		_ = w.system.Remove(real) // the system may have already dropped it
	}
}

// unwatchable is the error for a folder that the system cannot watch.
func unwatchable(folder string, err error) error {
	if errors.Is(err, syscall.ENOSPC) { // also means: no watches left
		return mayfly.Errorf(mayfly.Exhausted, "cannot watch folder %s: the system's limit on watches is reached", folder).
			WithHint("raise it (sysctl fs.inotify.max_user_watches), or exclude what need not be watched in .mayflyignore")
	}
	return mayfly.Errorf(mayfly.Unavailable, "cannot watch folder %s: %w", folder, err)
}

// lose drops the watches on a missing folder and on those in it: if it was moved, they
// would report changes at its new place. The caller holds mu.
func (w *Watcher) lose(gone string) {
	for folder := range w.folders {
		if within(gone, folder) {
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

// miss notes a lost folder that must be watched. The caller holds mu.
func (w *Watcher) miss(folder, gone string) {
	if folder != "" && within(gone, folder) {
		w.missing[folder] = true
	}
}

// returned watches the missing folders that exist again at path, and returns the
// wanted files in them: all may have changed. The caller holds mu.
func (w *Watcher) returned(path string) []string {
	back := map[string]bool{}
	for folder := range w.missing {
		if !within(path, folder) {
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

// enter watches the folders of a tree, starting at from. The caller holds mu.
func (w *Watcher) enter(t Target, from string) {
	t.walk(from, func(folder string) bool {
		_, _ = w.add(folder) // a failure is reported by the next Set
		return len(w.folders) < MaxFolders
	})
}

// within reports whether path is folder or in it.
func within(folder, path string) bool {
	return path == folder || strings.HasPrefix(path, folder+string(filepath.Separator))
}

// walk yields the folders of a tree, starting at from, while more returns true. It
// reads a folder after yielding it, and so after it is watched: new files are
// either read or reported.
func (t Target) walk(from string, more func(folder string) bool) {
	if t.Tree == "" || t.Flat && from != t.Tree {
		return
	}
	real, err := filepath.EvalSymlinks(from) // WalkDir does not follow a link
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
		if !more(path) || t.Flat {
			return filepath.SkipAll
		}
		return nil
	})
}

// skips reports whether the target ignores a path of its tree.
func (t Target) skips(path string, folder bool) bool {
	relative, err := filepath.Rel(t.Tree, path)
	if err != nil {
		return true
	}
	name := filepath.ToSlash(relative)
	return t.Flat && strings.Contains(name, "/") || t.Ignore != nil && t.Ignore(name, folder)
}

// Run calls changed with the changed paths after each quiet period, until ctx ends.
// Calls do not overlap; changes during one are in the next. The error is nil, or that of
// Set for where links lead now.
func (w *Watcher) Run(ctx context.Context, changed func(paths []string, err error)) error {
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
			if info, err := os.Lstat(event.Name); event.Op == fsnotify.Chmod && (err != nil || info.IsDir()) {
				continue // of a file it may be a touch, or a script that is executable now
			}
			for _, path := range w.wanted(event) {
				pending[path] = true
				rest.Reset(quiet)
			}
		case <-w.system.Errors: // events were lost: report too much rather than too little
			for _, path := range w.again() {
				pending[path] = true
			}
			rest.Reset(quiet)
		case <-rest.C:
			paths := slices.Sorted(maps.Keys(pending))
			clear(pending)
			changed(paths, w.followLinks())
		}
	}
}

// followLinks watches where the targets' links lead, if one has changed.
func (w *Watcher) followLinks() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.turned {
		return nil
	}
	return w.set(w.targets)
}

// again watches everything anew, since the watched folders may have been replaced, and
// returns everything wanted.
func (w *Watcher) again() (paths []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for folder := range w.folders {
		w.drop(folder)
	}
	_ = w.set(w.targets) // Set has already returned these errors
	for _, t := range w.targets {
		paths = append(paths, t.Files...)
		if t.Tree != "" {
			paths = append(paths, t.Tree)
		}
	}
	return paths
}

// wanted returns the targets' files that an event concerns.
func (w *Watcher) wanted(event fsnotify.Event) (paths []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string // of the file concerned
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

// moved reports whether watched folders at path or below it are no longer where they
// were: path has gone, or is a link that leads elsewhere now. The caller holds mu.
func (w *Watcher) moved(path string, op fsnotify.Op) bool {
	if w.folders[path] == "" && w.files[path] == nil {
		return false
	}
	if w.folders[path] != "" && (op.Has(fsnotify.Remove) || op.Has(fsnotify.Rename)) {
		return true
	}
	for folder, real := range w.folders {
		if within(path, folder) {
			if now, err := filepath.EvalSymlinks(folder); err != nil || now != real {
				return true
			}
		}
	}
	return false
}

// wantedAt returns the targets' files that an event at path concerns. It starts
// watching a folder that appears in a tree. The caller holds mu.
func (w *Watcher) wantedAt(path string, op fsnotify.Op) []string {
	if w.moved(path, op) {
		w.lose(path)
	}
	paths := append(w.returned(path), w.files[path]...)
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 && len(w.files[path]) > 0 {
		w.turned = true
	}
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
