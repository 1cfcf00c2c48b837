// Package examples_test runs each example as its README says: in a process of its
// own, by mayfly up.
package examples_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/natstest"
)

// The folder lies alone, as a user's does: nothing of the repository is around it.
func TestHelloInEachLanguage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file string
		tool, get  string // that it needs, and how to get that
		greeting   string // in its answer and its code; saved as another
	}{
		{"hello-js", "index.js", "node", "install Node.js 18 or newer", "Hello"},
		{"hello-ts", "index.ts", "node", "install Node.js 18 or newer", "TypeScript"},
		{"hello-py", "app.py", "python3", "install Python 3.9 or newer", "Python"},
		{"hello-go", "hello.go", "go", "install Go", "Hello"},
		{"hello-sh", "index.sh", "sh", "install a shell", "Hello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := exec.LookPath(tt.tool)
			natstest.Require(t, tt.tool, err, tt.get)
			root := clone(t, tt.name)
			n := up(t, root, "examples/"+tt.name)
			n.follow(tt.name)
			if got, _ := n.call("GET", "/fn/"+tt.name, nil); !strings.Contains(got, tt.greeting) {
				t.Errorf("answer = %q, want it with %s", got, tt.greeting)
			}

			file := filepath.Join(root, "examples", tt.name, tt.file)
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			seen := n.seen()
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(code), tt.greeting, "Moin")), 0o700); err != nil {
				t.Fatal(err)
			}
			n.awaitAfter(seen, "^"+tt.name+" is live ")
			if got, _ := n.call("GET", "/fn/"+tt.name, nil); !strings.Contains(got, "Moin") {
				t.Errorf("answer after a save = %q", got)
			}
		})
	}
}

// clone copies an example's files to the same place below another root.
func clone(t *testing.T, example string) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "examples", example), os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestOrdinaryProgramHasItsOwnPaths(t *testing.T) {
	t.Parallel()
	n := up(t, "..", "examples/web-go")
	n.follow("web-go")
	if got, header := n.call("GET", "/", nil); got != "<h1>Guest book</h1>\n" || header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("home = %q, a %s", got, header.Get("Content-Type"))
	}
	n.call("POST", "/guests/Grace%20Hopper", nil)
	for _, path := range []string{"/guests", "/fn/web/guests"} {
		if got, _ := n.call("GET", path, nil); !strings.Contains(got, `"Grace Hopper"`) {
			t.Errorf("%s = %s", path, got)
		}
	}
}

func TestPythonFrameworks(t *testing.T) {
	for _, name := range []string{"fastapi", "flask"} {
		t.Run(name, func(t *testing.T) {
			up(t, cloneForPython(t, name, name), "examples/"+name).follow(name)
		})
	}
}

// cloneForPython copies an example without its requirements.txt: its modules are the system's.
func cloneForPython(t *testing.T, example string, modules ...string) (root string) {
	t.Helper()
	for _, name := range modules {
		var missing error
		if exec.Command("python3", "-I", "-c", "import "+name).Run() != nil {
			missing = exec.Command("/usr/bin/python3", "-I", "-c", "import "+name).Run()
			t.Setenv("PATH", "/usr/bin"+string(filepath.ListSeparator)+os.Getenv("PATH"))
		}
		natstest.Require(t, name, missing, "install it, on Debian as python3-"+name)
	}
	root = clone(t, example)
	if err := os.Remove(filepath.Join(root, "examples", example, "requirements.txt")); err != nil {
		t.Fatal(err)
	}
	return root
}

// One project holds what people write in their first week, and one command runs it all.
func TestFirstWeek(t *testing.T) {
	for _, tool := range []string{"node", "npm"} {
		_, err := exec.LookPath(tool)
		natstest.Require(t, tool, err, "install Node.js 20 or newer")
	}
	root := cloneForPython(t, "first-week", "fastapi", "flask")
	s := openSite(t, "first-week/page")
	s.allow(t, filepath.Join(root, "examples/first-week"))
	n := up(t, root, "examples/first-week")
	n.follow("first-week")
	for _, name := range []string{"hono", "fastify", "fastapi", "flask", "servemux", "upload", "cart", "tokens", "site", "counter"} {
		n.await("^" + name + " is live ")
	}

	t.Run("page", func(t *testing.T) {
		tasks := map[string]any{"page": "/?api=" + n.at("localhost"), "buttons": []string{"#order", "#add", "#add", "#ask"}}
		var seen string
		s.browse(t, s.named("localhost")+"/test/clicks.html", tasks, &seen)
		want := `{"item":"tea","cups":2}` + "\n" + `{"shop":"north","items":["tea"]}` + "\n" +
			`{"shop":"north","items":["tea","tea"]}` + "\nYou asked for tea.\n"
		if seen != want {
			t.Errorf("the page shows\n%s\nwant\n%s", seen, want)
		}
	})
}

func TestFilesAreServedAsTheyAre(t *testing.T) {
	t.Parallel()
	root := clone(t, "static-site")
	n := up(t, root, "examples/static-site")
	n.follow("static-site")
	seen := n.seen()
	if err := os.WriteFile(filepath.Join(root, "examples/static-site/docs/more.html"), []byte("more"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.awaitAfter(seen, "^static-site is live ")
	if got, header := n.call("GET", "/fn/static-site/docs/more.html", nil); got != "more" || header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("a new page = %q, a %s", got, header.Get("Content-Type"))
	}
}

// The test reads one event before the next is there: were they held back until the
// stream ends, the first would never come.
func TestStreamEndsWhenTheClientLeaves(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("node")
	natstest.Require(t, "node", err, "install Node.js 18 or newer")
	n := up(t, "..", "examples/stream-sse")
	n.follow("stream-sse")

	seen := n.seen()
	answer, err := client.Get(n.url + "/fn/stream-sse")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got := answer.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type = %s", got)
	}
	lines := bufio.NewScanner(answer.Body)
	for i := range 5 {
		if want := fmt.Sprintf("data: event %d", i+1); !lines.Scan() || lines.Text() != want {
			t.Fatalf("line = %q, %v, want %q", lines.Text(), lines.Err(), want)
		}
		if !lines.Scan() || lines.Text() != "" {
			t.Fatalf("after an event comes %q, %v", lines.Text(), lines.Err())
		}
	}
	answer.Body.Close()
	n.awaitAfter(seen, `^stream-sse \| client disconnected after [0-9]+ events$`)
}

// The README's upload has 1 GB; this one is of bytes that differ, so that none may
// be lost, doubled or in the wrong place.
func TestUploadIsCountedAndHashed(t *testing.T) {
	t.Parallel()
	n := up(t, "..", "examples/upload")
	n.follow("upload")

	const size = 100 << 20 // more than a gateway takes unless the manifest allows it
	hash := sha256.New()
	noise := io.LimitReader(rand.NewChaCha8([32]byte{1}), size)
	got, _ := n.call("PUT", "/fn/upload", io.TeeReader(noise, hash))
	if want := fmt.Sprintf("%d bytes, sha256 %x\n", size, hash.Sum(nil)); got != want {
		t.Errorf("answer = %q, want %q", got, want)
	}
}

// One command, and tasks are done: the worker is built, runs and has a name.
func TestCreateTaskIsOneCommand(t *testing.T) {
	t.Parallel()
	n := up(t, "..", "examples/createtask")
	n.await(`^worker is live `)
	n.await(`^\+ worker 1\.0\.0 \(\w+\) tasks$`)
	for _, tt := range []struct{ method, body, want string }{
		{http.MethodGet, "", "done: help please"},
		{http.MethodPost, "paint the fence", "done: paint the fence"},
	} {
		got, header := n.call(tt.method, "/createTask", strings.NewReader(tt.body))
		if got != tt.want {
			t.Errorf("%s %q = %q, want %q", tt.method, tt.body, got, tt.want)
		}
		if header.Get("Worker-Id") == "" {
			t.Error("no worker says who it is")
		}
	}
	n.awaitEach("  try       curl -i http://localhost:8080/createTask\n" +
		"            mayfly info worker\n            mayfly stats --watch\n")
}
