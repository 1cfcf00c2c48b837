package watch_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/watch"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start watches targets and returns what is told.
func start(t *testing.T, targets ...watch.Target) <-chan []string {
	t.Helper()
	w, err := watch.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Set(targets); err != nil {
		t.Fatal(err)
	}
	return run(t, w)
}

// run runs a watcher until the test's end and returns what it tells.
func run(t *testing.T, w *watch.Watcher) <-chan []string {
	t.Helper()
	told := make(chan []string, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Run(ctx, func(paths []string, _ error) { told <- paths })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return told
}

// await waits until path was told of.
func await(t *testing.T, told <-chan []string, path string) {
	t.Helper()
	end := time.After(time.Minute)
	for {
		select {
		case paths := <-told:
			if slices.Contains(paths, path) {
				return
			}
		case <-end:
			t.Fatalf("%s was never told of", path)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestChangesAreTold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, file string)
	}{
		{"written", func(t *testing.T, file string) { write(t, file, "new") }},
		{"renamed over, as editors do", func(t *testing.T, file string) {
			write(t, file+"~", "new")
			if err := os.Rename(file+"~", file); err != nil {
				t.Fatal(err)
			}
		}},
		{"touched", func(t *testing.T, file string) {
			now := time.Now()
			if err := os.Chtimes(file, now, now); err != nil {
				t.Fatal(err)
			}
		}},
		{"removed and made anew", func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			write(t, file, "new")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "hello.js")
			write(t, file, "old")
			told := start(t, watch.Target{Files: []string{file}})
			for range 3 { // the watch survives each change
				tt.change(t, file)
				await(t, told, file)
			}
		})
	}
}

func TestNewFolderIsWatched(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	told := start(t, watch.Target{Tree: tree})
	folder := filepath.Join(tree, "a")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	await(t, told, folder)
	write(t, filepath.Join(folder, "b.js"), "1")
	await(t, told, filepath.Join(folder, "b.js"))
}

func TestFolderThatReturnsIsToldOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		away func(t *testing.T, project string)
	}{
		{"removed", func(t *testing.T, project string) {
			if err := os.RemoveAll(project); err != nil {
				t.Fatal(err)
			}
		}},
		{"renamed", func(t *testing.T, project string) {
			if err := os.Rename(project, project+".away"); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(project + ".away"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			project := filepath.Join(t.TempDir(), "shop")
			manifest, code := filepath.Join(project, "mayfly.yaml"), filepath.Join(project, "functions", "hello")
			write(t, manifest, "old")
			write(t, filepath.Join(code, "deep", "a.js"), "old")
			told := start(t, watch.Target{Files: []string{manifest}}, watch.Target{Tree: code})
			for range 3 {
				tt.away(t, project)
				write(t, manifest, "new")
				await(t, told, manifest)
				write(t, filepath.Join(code, "deep", "a.js"), "new")
				await(t, told, code)
				write(t, filepath.Join(code, "deep", "a.js"), "newer")
				await(t, told, filepath.Join(code, "deep", "a.js"))
			}
		})
	}
}

// A folder may have two names, and a file be somewhere else than its name.
func TestLinksAreFollowed(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	real, link := filepath.Join(folder, "real"), filepath.Join(folder, "link")
	shared := filepath.Join(folder, "shared", "lib.py")
	write(t, filepath.Join(real, "hello.js"), "old")
	write(t, shared, "old")
	for name, to := range map[string]string{link: "real", filepath.Join(real, "lib.py"): "../shared/lib.py"} {
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	byReal, byLink, lib := filepath.Join(real, "hello.js"), filepath.Join(link, "mayfly.yaml"), filepath.Join(link, "lib.py")
	told := start(t, watch.Target{Files: []string{byReal, byLink, lib}})
	for range 2 {
		write(t, byReal, "new")
		await(t, told, byReal)
		write(t, byLink, "new")
		await(t, told, byLink)
		write(t, shared, "new")
		await(t, told, lib)
	}
}

// A link anywhere on the way to a file decides which one it is.
func TestLinkOnTheWayIsWatched(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "deep", "current", "lib", "a.js")
	for _, release := range []string{"1", "2"} {
		write(t, filepath.Join(folder, "releases", release, "lib", "a.js"), release)
	}
	write(t, filepath.Join(folder, "deep", "other"), "")
	if err := os.Symlink("../releases/1", filepath.Join(folder, "deep", "current")); err != nil {
		t.Fatal(err)
	}
	told := start(t, watch.Target{Files: []string{file}})
	for _, release := range []string{"2", "1"} {
		if err := os.Symlink("../releases/"+release, filepath.Join(folder, "deep", "new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(folder, "deep", "new"), filepath.Join(folder, "deep", "current")); err != nil {
			t.Fatal(err)
		}
		await(t, told, file)
		write(t, filepath.Join(folder, "releases", release, "lib", "a.js"), "new")
		await(t, told, file)
	}
}

// The targets stay the same, but lead elsewhere.
func TestTurnedLinkIsFollowed(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	link := filepath.Join(folder, "here", "lib.py")
	write(t, filepath.Join(folder, "here", "other"), "")
	for _, release := range []string{"1", "2"} {
		write(t, filepath.Join(folder, release, "lib.py"), "old")
	}
	if err := os.Symlink("../1/lib.py", link); err != nil {
		t.Fatal(err)
	}
	told := start(t, watch.Target{Files: []string{link}})
	if err := os.Symlink("../2/lib.py", link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	await(t, told, link)
	write(t, filepath.Join(folder, "2", "lib.py"), "new")
	await(t, told, link)
}

func TestFlatTreeIsOneFolder(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "packages")
	old, deep := filepath.Join(folder, "old"), filepath.Join(folder, "old", "a.py")
	write(t, deep, "old")
	told := start(t, watch.Target{Tree: folder, Flat: true})
	for _, name := range []string{"one", "two"} {
		write(t, deep, "new")
		added := filepath.Join(folder, name)
		write(t, filepath.Join(added, "a.py"), "new")
		for {
			paths := <-told
			if slices.Contains(paths, deep) || slices.Contains(paths, old) {
				t.Fatalf("told of %q", paths)
			}
			if slices.Contains(paths, added) {
				break
			}
		}
	}
}

func TestTreeMayBeALink(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	link := filepath.Join(folder, "current")
	for _, release := range []string{"1", "2"} {
		write(t, filepath.Join(folder, release, "lib", "a.js"), "old")
	}
	if err := os.Symlink("1", link); err != nil {
		t.Fatal(err)
	}
	told := start(t, watch.Target{Files: []string{filepath.Join(folder, "mayfly.yaml")}}, watch.Target{Tree: link})
	write(t, filepath.Join(folder, "1", "lib", "a.js"), "new")
	await(t, told, filepath.Join(link, "lib", "a.js"))

	if err := os.Symlink("2", link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	await(t, told, link)
	write(t, filepath.Join(folder, "2", "lib", "a.js"), "new")
	await(t, told, filepath.Join(link, "lib", "a.js"))
}

func TestManyFoldersAtOnceAreWatched(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	told := start(t, watch.Target{Tree: tree})
	for i := range 20 {
		first := filepath.Join(tree, strconv.Itoa(i))
		file := filepath.Join(first, "b", "c", "d", "a.js")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		await(t, told, first)
		write(t, file, "new")
		await(t, told, file)
	}
}

func TestFolderThatIsNotThereYetIsToldOf(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a", "b", "hello.js")
	told := start(t, watch.Target{Files: []string{file}})
	write(t, file, "new")
	await(t, told, file)
	write(t, file, "newer")
	await(t, told, file)
}

func TestOtherFilesAreNot(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	tree := filepath.Join(folder, "tree")
	wanted, last := filepath.Join(folder, "wanted.js"), filepath.Join(folder, "last.js")
	write(t, wanted, "old")
	write(t, filepath.Join(tree, "node_modules", "x", "index.js"), "old")
	told := start(t, watch.Target{Files: []string{wanted, last}}, watch.Target{Tree: tree, Ignore: func(path string, folder bool) bool {
		return folder && (path == "node_modules" || path == ".git")
	}})
	write(t, filepath.Join(folder, "other.js"), "new")
	write(t, filepath.Join(tree, "node_modules", "x", "index.js"), "new")
	write(t, filepath.Join(tree, ".git", "index"), "new")
	write(t, wanted, "new")
	write(t, last, "new")
	end := time.After(time.Minute)
	for {
		select {
		case paths := <-told:
			for _, path := range paths {
				if path != wanted && path != last && !strings.HasSuffix(path, "tree") {
					t.Errorf("%s was told of", path)
				}
			}
			if slices.Contains(paths, last) {
				return
			}
		case <-end:
			t.Fatal("the last change was never told of")
		}
	}
}

func TestLaterTargetsReplaceEarlierOnes(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	first, second := filepath.Join(folder, "a", "1.js"), filepath.Join(folder, "b", "2.js")
	write(t, first, "old")
	write(t, second, "old")
	w, err := watch.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{first, second} {
		if err := w.Set([]watch.Target{{Files: []string{file}}}); err != nil {
			t.Fatal(err)
		}
	}
	told := run(t, w)
	write(t, first, "new")
	write(t, second, "new")
	for paths := range told {
		if slices.Contains(paths, first) {
			t.Errorf("%s is still watched", first)
		}
		if slices.Contains(paths, second) {
			return
		}
	}
}
