package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/project"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/session"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A shelf is a Runner that keeps the text of what it was given. A script whose
// text has "broken" does not start.
type shelf struct {
	mu       sync.Mutex
	texts    map[string]string // of scripts by function
	starts   map[string]string // first words of their command lines
	services map[mayfly.Name]mayfly.Unit
	failed   map[mayfly.Name]error // of the last build
	changes  chan struct{}
	order    []mayfly.Name // of Set
	checked  []mayfly.Name
	expected []mayfly.Name
	called   mayfly.Name
	prepared int    // calls of Prepare
	imports  string // module that Python has to find
	well     bool   // what has "broken" starts too

	held    map[mayfly.Name]chan struct{} // whose starts wait until it is closed
	holding []mayfly.Name                 // wait now, or did
	removed []mayfly.Name
}

func newShelf() *shelf {
	return &shelf{texts: map[string]string{}, starts: map[string]string{}, services: map[mayfly.Name]mayfly.Unit{}, failed: map[mayfly.Name]error{}, changes: make(chan struct{}, 1000)}
}

// read returns all that a build's folder holds.
func read(ctx context.Context, folder runner.Folder) (string, error) {
	path, err := folder(ctx)
	if err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(path, "*.sh"))
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		text.Write(data)
	}
	return text.String(), nil
}

// Expect says that a call waits for what is called.
func (s *shelf) Expect(u mayfly.Unit, wanted func()) {
	s.mu.Lock()
	s.expected = append(s.expected, u.Name)
	s.mu.Unlock()
	if u.Name == s.called {
		wanted()
	}
}

func (s *shelf) Fail(name mayfly.Name, err error) { s.change(func() { s.failed[name] = err }) }

func (s *shelf) Prepare(ctx context.Context, u mayfly.Unit, folder runner.Folder) error {
	s.mu.Lock()
	s.prepared++
	module, held := s.imports, s.held[u.Name]
	s.mu.Unlock()
	if held != nil {
		s.change(func() { s.holding = append(s.holding, u.Name) })
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if module != "" {
		if out, err := exec.CommandContext(ctx, u.Start[0], "-c", "import "+module).CombinedOutput(); err != nil {
			return mayfly.Errorf(mayfly.Crashed, "it does not start: %w", mayfly.Trace(out))
		}
	}
	text, err := read(ctx, folder)
	if err == nil && strings.Contains(text, "broken") && !s.healed() {
		err = mayfly.Errorf(mayfly.Crashed, "it does not start: %w", mayfly.Trace("line 1"))
	}
	return err
}

func (s *shelf) Check(_ context.Context, name mayfly.Name) error {
	s.change(func() { s.checked = append(s.checked, name) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.texts[string(name)] == "" || strings.Contains(s.texts[string(name)], "broken") {
		return mayfly.Errorf(mayfly.Crashed, "it does not start")
	}
	return nil
}

// heal lets everything start.
func (s *shelf) heal() { s.change(func() { s.well = true }) }

func (s *shelf) healed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.well
}

func (s *shelf) Set(f mayfly.Unit, folder runner.Folder) error {
	if f.Kind == mayfly.KindService {
		s.change(func() { s.services[f.Name] = f })
		return nil
	}
	text, err := read(context.Background(), folder)
	if err != nil {
		return err
	}
	s.change(func() {
		s.texts[string(f.Name)], s.starts[string(f.Name)] = text, f.Start[0]
		s.order = append(s.order, f.Name)
	})
	return nil
}

func (s *shelf) Remove(name mayfly.Name) {
	s.change(func() {
		delete(s.texts, string(name))
		delete(s.services, name)
		s.removed = append(s.removed, name)
	})
}

func (s *shelf) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.changes <- struct{}{}
}

// await waits until the shelf is as ok wants it.
func (s *shelf) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.After(time.Minute)
	for {
		s.mu.Lock()
		done := ok()
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-s.changes:
		case <-end:
			t.Fatalf("never: %s; there is %v", what, s.texts)
		}
	}
}

func (s *shelf) has(name, word string) func() bool {
	return func() bool { return strings.Contains(s.texts[name], word) }
}

// A scene is a session that runs.
type scene struct {
	shelf  *shelf
	folder string // of the project
	events chan session.Event
	routes chan []mayfly.Route
	end    func() // the session's; waits for it
}

func newScene(folder string) *scene {
	return &scene{shelf: newShelf(), folder: folder, events: make(chan session.Event, 1000), routes: make(chan []mayfly.Route, 100)}
}

// begin runs a session of the files, by their paths.
func begin(t *testing.T, files map[string]string, change ...func(*session.Options)) *scene {
	t.Helper()
	s := newScene(t.TempDir())
	for name, text := range files {
		s.write(t, name, text)
	}
	s.run(t, s.folder, change...)
	return s
}

// beginAt runs a session of what is at a path.
func beginAt(t *testing.T, path string) *scene {
	t.Helper()
	s := newScene(path)
	s.run(t, path)
	return s
}

// run runs a session of what is at a path until the test's end, and waits for the first builds.
func (s *scene) run(t *testing.T, path string, change ...func(*session.Options)) {
	t.Helper()
	<-s.start(t, path, change...)
}

// start is run without the wait: it returns what is closed when they have ended.
func (s *scene) start(t *testing.T, path string, change ...func(*session.Options)) <-chan struct{} {
	t.Helper()
	none := func(string) (string, bool) { return "", false }
	open := func(path string) (*project.Project, error) { return project.Open(path, none) }
	p, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	o := session.Options{
		Projects: []*project.Project{p}, Open: open, Runner: s.shelf,
		SetRoutes: func(r []mayfly.Route) { s.routes <- r },
		Folder:    filepath.Join(t.TempDir(), "build"), Development: true,
		Tell: func(e session.Event) { s.events <- e }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, c := range change {
		c(&o)
	}
	one, err := session.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := one.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	s.end = func() { cancel(); <-done }
	t.Cleanup(s.end)
	return one.Started()
}

// A scene's shelf lacks the secret until it is set; the project's script needs it.
func TestSecretThatWasMissingBuildsAgain(t *testing.T) {
	t.Parallel()
	set := make(chan map[mayfly.Name]struct{}, 1)
	s := begin(t, map[string]string{"mayfly.yaml": "functions:\n  shop: {code: ./shop.sh, secrets: [api-key]}\n", "shop.sh": "broken"}, func(o *session.Options) {
		o.SecretsSet = func(ctx context.Context) <-chan map[mayfly.Name]struct{} {
			context.AfterFunc(ctx, func() { close(set) })
			return set
		}
	})
	s.failure(t)
	s.shelf.heal()
	set <- map[mayfly.Name]struct{}{"other": {}, "api-key": {}}
	s.shelf.await(t, "it serves with the secret", s.shelf.has("shop", "broken"))
}

// write saves a file as editors do, whole or not at all: a machine that is busy may
// stop for longer than the watch waits, between the making of a file and its text.
func (s *scene) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), filepath.Base(name))
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file, filepath.Join(s.folder, name)); err != nil {
		t.Fatal(err)
	}
}

// failure waits for the event of a build that failed.
func (s *scene) failure(t *testing.T) session.Event {
	t.Helper()
	end := time.After(time.Minute)
	for {
		select {
		case e := <-s.events:
			if e.Err != nil {
				return e
			}
		case <-end:
			t.Fatal("no failure was told of")
		}
	}
}

const script = "#!/bin/sh\necho %s\n"

func manifest(names ...string) string {
	text := "project: shop\nfunctions:\n"
	for _, name := range names {
		text += fmt.Sprintf("  %s: {code: ./%s.sh}\n", name, name)
	}
	return text
}

func TestSavedFileIsServed(t *testing.T) {
	t.Parallel()
	s := begin(t, map[string]string{"mayfly.yaml": manifest("one", "two"), "one.sh": fmt.Sprintf(script, "first"), "two.sh": fmt.Sprintf(script, "other")})
	s.shelf.await(t, "the start", s.shelf.has("one", "first"))
	for _, word := range []string{"second", "third"} {
		s.write(t, "one.sh", fmt.Sprintf(script, word))
		s.shelf.await(t, word, s.shelf.has("one", word))
	}
	s.shelf.await(t, "the other one", s.shelf.has("two", "other"))
}

func TestFailedBuildKeepsTheLastGoodOne(t *testing.T) {
	t.Parallel()
	s := begin(t, map[string]string{"mayfly.yaml": manifest("one"), "one.sh": fmt.Sprintf(script, "first")})
	s.shelf.await(t, "the start", s.shelf.has("one", "first"))
	s.write(t, "one.sh", fmt.Sprintf(script, "broken"))
	e := s.failure(t)
	if trace, ok := errors.AsType[mayfly.Trace](e.Err); e.Name != "one" || !ok || trace != "line 1" {
		t.Errorf("told of %+v", e)
	}
	s.shelf.await(t, "callers know", func() bool { return s.shelf.failed["one"] != nil })
	s.shelf.await(t, "the last good one", s.shelf.has("one", "first"))
	s.write(t, "one.sh", fmt.Sprintf(script, "mended"))
	s.shelf.await(t, "what was mended", s.shelf.has("one", "mended"))
}

func TestManifestIsFollowed(t *testing.T) {
	t.Parallel()
	s := begin(t, map[string]string{
		"mayfly.yaml": manifest("one", "two"), "one.sh": fmt.Sprintf(script, "1"), "two.sh": fmt.Sprintf(script, "2"), "three.sh": fmt.Sprintf(script, "3"),
	})
	s.write(t, "mayfly.yaml", manifest("one", "three")+"routes:\n  r: {http: /r, subject: r}\n")
	s.shelf.await(t, "two is gone and three is there", func() bool {
		_, two := s.shelf.texts["two"]
		return !two && s.shelf.texts["three"] != ""
	})
	if routes := <-s.routes; len(routes) != 1 || routes[0].Name != "r" {
		t.Errorf("routes are %v", routes)
	}
	s.write(t, "mayfly.yaml", "functions: 7\n")
	if e := s.failure(t); e.Kind != "project" {
		t.Errorf("told of %+v", e)
	}
	s.shelf.await(t, "all is as before", s.shelf.has("three", "3"))
}

// What leaves the manifest during its build is forgotten, and not announced.
func TestFunctionRemovedDuringItsBuildIsForgotten(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := begin(t, map[string]string{"mayfly.yaml": manifest("one"), "one.sh": fmt.Sprintf(script, "1"), "two.sh": fmt.Sprintf(script, "2")}, func(o *session.Options) {
		o.Runner.(*shelf).held = map[mayfly.Name]chan struct{}{"two": release}
	})
	s.write(t, "mayfly.yaml", manifest("one", "two"))
	s.shelf.await(t, "two starts", func() bool { return slices.Contains(s.shelf.holding, "two") })
	s.write(t, "mayfly.yaml", manifest("one"))
	removals := func(n int) func() bool {
		return func() bool { return slices.Equal(s.shelf.removed, slices.Repeat([]mayfly.Name{"two"}, n)) }
	}
	s.shelf.await(t, "it leaves the manifest", removals(1))
	close(release)
	s.shelf.await(t, "what its build has left is removed", removals(2))
	s.end()
	for range len(s.events) {
		if e := <-s.events; e.Name == "two" {
			t.Errorf("told of %+v", e)
		}
	}
}

// What a save of the manifest adds or removes during the first builds is not waited for.
func TestStartedWaitsForWhatWasThereAtTheStart(t *testing.T) {
	t.Parallel()
	s := newScene(t.TempDir())
	s.shelf.held = map[mayfly.Name]chan struct{}{"one": make(chan struct{})}
	s.write(t, "one.sh", fmt.Sprintf(script, "1"))
	s.write(t, "two.sh", fmt.Sprintf(script, "first"))
	s.write(t, "mayfly.yaml", manifest("one"))
	started := s.start(t, s.folder)
	s.shelf.await(t, "one starts", func() bool { return slices.Contains(s.shelf.holding, "one") })
	s.write(t, "mayfly.yaml", manifest("one", "two"))
	s.shelf.await(t, "the new one", s.shelf.has("two", "first"))
	s.write(t, "two.sh", fmt.Sprintf(script, "second")) // its first build ends before the next
	s.shelf.await(t, "the next build", s.shelf.has("two", "second"))
	select {
	case <-started:
		t.Error("the new one was counted")
	default:
	}
	s.write(t, "mayfly.yaml", manifest("two"))
	select {
	case <-started:
	case <-time.After(time.Minute):
		t.Error("what has left the manifest is waited for")
	}
}

func TestLastSaveWins(t *testing.T) {
	t.Parallel()
	s := begin(t, map[string]string{"mayfly.yaml": manifest("one"), "one.sh": fmt.Sprintf(script, "first")})
	for i := range 30 {
		s.write(t, "one.sh", fmt.Sprintf(script, fmt.Sprintf("save-%d-", i)))
	}
	s.shelf.await(t, "the last save", s.shelf.has("one", "save-29-"))
	left, err := filepath.Glob(filepath.Join(s.folder, "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("the user's folder holds %v (%v)", left, err)
	}
}

// What a failed build lacked may come later, and from anywhere.
func TestWhatWasMissingIsBuiltWhenItComes(t *testing.T) {
	t.Parallel()
	s := begin(t, map[string]string{"mayfly.yaml": manifest("one"), "one.sh": fmt.Sprintf(script, "first")})
	s.write(t, "mayfly.yaml", manifest("one", "two"))
	if e := s.failure(t); e.Kind != "project" {
		t.Errorf("told of %+v", e)
	}
	s.write(t, "two.sh", fmt.Sprintf(script, "second"))
	s.shelf.await(t, "the function whose code came later", s.shelf.has("two", "second"))
}

func TestTouchAndLinksAreChanges(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), ".hidden", "one") // no rule is about the folders above
	for _, version := range []string{"v1", "v2"} {
		if err := os.MkdirAll(filepath.Join(home, version), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, version, "index.sh"), fmt.Appendf(nil, script, version), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	turn := func(to string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(home, "next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(home, "next"), filepath.Join(home, "one")); err != nil {
			t.Fatal(err)
		}
	}
	turn("v1")
	s := beginAt(t, filepath.Join(home, "one"))
	s.shelf.await(t, "the start", s.shelf.has("one", "v1"))
	turn("v2")
	s.shelf.await(t, "where the link leads now", s.shelf.has("one", "v2"))
	file := filepath.Join(home, "v2", "index.sh")
	if err := os.WriteFile(file, fmt.Appendf(nil, script, "third"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.shelf.await(t, "a save behind the link", s.shelf.has("one", "third"))
	for range len(s.events) {
		<-s.events
	}
	now := time.Now()
	if err := os.Chtimes(file, now, now); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-s.events:
		if e.Err != nil {
			t.Errorf("told of %+v", e)
		}
	case <-time.After(time.Minute):
		t.Error("a touch builds nothing")
	}
}

// Each folder may have a Python of its own, which only a version manager knows.
func TestEachFolderRunsOnItsPython(t *testing.T) {
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output() // python3 may be a stand-in itself
	natstest.Require(t, "python3", err, "install it")
	real := strings.TrimSpace(string(out))
	root := t.TempDir()
	for _, version := range []string{"one", "two", "three"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, version), 0o700), os.Symlink(real, filepath.Join(root, version, "python3"))); err != nil {
			t.Fatal(err)
		}
	}
	manager := fmt.Sprintf("#!/bin/sh\nexec %s/$(cat \"$PYENV_DIR/.python-version\")/python3 \"$@\"\n", root)
	if err := errors.Join(os.Mkdir(filepath.Join(root, "shims"), 0o700), os.WriteFile(filepath.Join(root, "shims", "python3"), []byte(manager), 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Join(root, "shims")+":"+os.Getenv("PATH"))
	s := newScene(t.TempDir())
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(s.folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
		s.write(t, name+"/app.py", "def handle(request): return 'hi'\n")
	}
	s.write(t, "a/.python-version", "one")
	s.write(t, "b/.python-version", "two")
	s.write(t, "mayfly.yaml", "project: shop\nfunctions: {a: {code: a}, b: {code: b}}\n")
	s.run(t, s.folder)
	on := func(name, version string) func() bool {
		return func() bool { return s.shelf.starts[name] == filepath.Join(root, version, "python3") }
	}
	s.shelf.await(t, "a runs on its own", on("a", "one"))
	s.shelf.await(t, "b runs on its own", on("b", "two"))
	s.write(t, "b/.python-version", "three")
	s.shelf.await(t, "b runs on another", on("b", "three"))
}

// The version changes while the build before still asks for the interpreter of the last one.
func TestPythonThatChangesDuringABuildIsFound(t *testing.T) {
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	natstest.Require(t, "python3", err, "install it")
	root := t.TempDir()
	for _, version := range []string{"one", "two", "three"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, version), 0o700), os.Symlink(strings.TrimSpace(string(out)), filepath.Join(root, version, "python3"))); err != nil {
			t.Fatal(err)
		}
	}
	manager := fmt.Sprintf("#!/bin/sh\nv=$(cat \"$PYENV_DIR/.python-version\")\n[ $v != two ] || { echo > %[1]s/asked; read _ < %[1]s/go; }\nexec %[1]s/$v/python3 \"$@\"\n", root)
	asked, release := filepath.Join(root, "asked"), filepath.Join(root, "go")
	if err := errors.Join(syscall.Mkfifo(asked, 0o600), syscall.Mkfifo(release, 0o600),
		os.Mkdir(filepath.Join(root, "shims"), 0o700), os.WriteFile(filepath.Join(root, "shims", "python3"), []byte(manager), 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Join(root, "shims")+":"+os.Getenv("PATH"))
	s := newScene(t.TempDir())
	if err := os.Mkdir(filepath.Join(s.folder, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write(t, "a/app.py", "def handle(request): return 'hi'\n")
	s.write(t, "a/.python-version", "one")
	s.write(t, "x.sh", fmt.Sprintf(script, "first"))
	s.write(t, "mayfly.yaml", "project: shop\nfunctions: {a: {code: a}, x: {code: ./x.sh}}\n")
	s.run(t, s.folder)
	s.write(t, "a/.python-version", "two")
	if _, err := os.ReadFile(asked); err != nil {
		t.Fatal(err)
	}
	s.write(t, "a/.python-version", "three")
	s.write(t, "x.sh", fmt.Sprintf(script, "second"))
	s.shelf.await(t, "the session knows of both", s.shelf.has("x", "second"))
	if err := os.WriteFile(release, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.shelf.await(t, "a runs on the last", func() bool { return s.shelf.starts["a"] == filepath.Join(root, "three", "python3") })
}

// Nothing of the project says so when a package is installed.
func TestPackageThatIsInstalledLaterBuildsAgain(t *testing.T) {
	t.Run("one function", func(t *testing.T) { testLaterPackage(t, 0) })
	t.Run("one of many", func(t *testing.T) { testLaterPackage(t, 70) })
}

// testLaterPackage installs what a function lacks, among so many others.
func testLaterPackage(t *testing.T, others int) {
	t.Helper()
	root := t.TempDir()
	out, err := exec.Command("python3", "-m", "venv", "--without-pip", root).CombinedOutput()
	natstest.Require(t, "python3", err, "install it with venv: "+string(out))
	t.Setenv("PATH", filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
	homes, err := filepath.Glob(filepath.Join(root, "lib", "python3*", "site-packages"))
	if err != nil || len(homes) != 1 {
		t.Fatalf("packages go to %q (%v)", homes, err)
	}
	s := newScene(t.TempDir())
	s.shelf.imports = "later"
	files, names := many(others)
	files["mayfly.yaml"] = manifest(names...) + "  a: {code: app.py}\n"
	for name, text := range files {
		s.write(t, name, text)
	}
	s.write(t, "app.py", "import later\ndef handle(request): return 'hi'\n")
	s.run(t, s.folder)
	if e := s.failure(t); e.Name != "a" {
		t.Fatalf("told of %+v", e)
	}
	s.shelf.mu.Lock()
	before := s.shelf.prepared
	s.shelf.mu.Unlock()
	later := filepath.Join(homes[0], "later")
	if err := errors.Join(os.Mkdir(later, 0o700), os.WriteFile(filepath.Join(later, "__init__.py"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s.shelf.await(t, "a starts again", func() bool { return s.shelf.starts["a"] != "" && s.shelf.prepared > before })
}

// A thousand instances at once would leave nothing of the machine: they start with their
// calls, or one after the other.
func TestNotEverythingStartsAtOnce(t *testing.T) {
	t.Parallel()
	files, names := many(200)
	files["mayfly.yaml"] = manifest(names...)
	files["f7.sh"] = fmt.Sprintf(script, "broken")
	s := begin(t, files, func(o *session.Options) { o.Runner.(*shelf).called = "f99" })
	s.shelf.await(t, "all are checked but the one that was called", func() bool { return len(s.shelf.checked) == len(names)-1 })
	s.shelf.mu.Lock()
	defer s.shelf.mu.Unlock()
	if n := len(s.shelf.texts); n != len(names) {
		t.Errorf("%d of %d functions serve", n, len(names))
	}
	if n := s.shelf.prepared; n != 1 || slices.Contains(s.shelf.checked, "f99") {
		t.Errorf("%d instances were started before they were set", n)
	}
	if e := s.failure(t); e.Name != "f7" || e.Kind != "function" {
		t.Errorf("told of %+v", e)
	}
}

// With very many functions, one that is called does not wait for the others.
func TestWhatIsCalledIsBuiltFirst(t *testing.T) {
	t.Parallel()
	s := newScene(t.TempDir())
	manifest := "project: shop\nfunctions:\n"
	for i := range 300 { // each takes longer to build than what is built to get its turn to be set
		name := fmt.Sprintf("f%d", i)
		manifest += fmt.Sprintf("  %s: {code: ./%s, build: \":\"}\n", name, name)
		if err := os.Mkdir(filepath.Join(s.folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
		s.write(t, name+"/index.sh", fmt.Sprintf(script, name))
	}
	s.write(t, "mayfly.yaml", manifest)
	s.run(t, s.folder, func(o *session.Options) { o.Runner.(*shelf).called = "f99" }) // the last by name
	s.shelf.mu.Lock()
	defer s.shelf.mu.Unlock()
	if at := slices.Index(s.shelf.order, "f99"); at < 0 || at > 50 {
		t.Errorf("it is number %d of %d", at, len(s.shelf.order))
	}
}

// many returns n scripts, and the names of their functions.
func many(n int) (files map[string]string, names []string) {
	files = map[string]string{}
	for i := range n {
		name := fmt.Sprintf("f%d", i)
		names, files[name+".sh"] = append(names, name), fmt.Sprintf(script, name)
	}
	return files, names
}

// A node has callers as soon as it listens: none is told that there is no such function.
func TestUnitsAreAnnouncedAtOnce(t *testing.T) {
	t.Parallel()
	s := &scene{shelf: newShelf(), folder: t.TempDir()}
	s.write(t, "mayfly.yaml", manifest("one", "two"))
	for _, name := range []string{"one.sh", "two.sh"} {
		s.write(t, name, fmt.Sprintf(script, name))
	}
	p, err := project.Open(s.folder, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	one, err := session.New(session.Options{Projects: []*project.Project{p}, Runner: s.shelf, Folder: filepath.Join(t.TempDir(), "build")})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.shelf.expected, []mayfly.Name{"one", "two"}) {
		t.Errorf("announced: %v", s.shelf.expected)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := one.Run(ended); err != nil {
		t.Error(err)
	}
}
