package examples_test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/natstest"
)

// client keeps no connections, so that none outlives a test.
var client = http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// call makes a request of the gateway and returns the answer, which must be a good one.
func (n *node) call(method, path string, body io.Reader) (string, http.Header) {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), method, n.url+path, body)
	if err != nil {
		n.t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	if answer.StatusCode/100 != 2 {
		n.t.Fatalf("%s %s is %s: %s\n%s", method, path, answer.Status, text, n.output())
	}
	return string(text), answer.Header
}

// number is what differs from run to run.
var number = regexp.MustCompile(`[0-9]+`)

// follow does what the example's README says, on a node that was started as its
// first command says: what it shows must be what comes. A line on its own is one
// that the node prints.
func (n *node) follow(readme string) {
	n.t.Helper()
	data, err := os.ReadFile(readme)
	if err != nil {
		n.t.Fatal(err)
	}
	example := path.Base(path.Dir(filepath.ToSlash(readme)))
	_, err = exec.LookPath("curl")
	curls := 0
	for _, block := range consoles(string(data)) {
		command, shown := "", ""
		for line := range strings.Lines(block + "$ \n") {
			next, ok := strings.CutPrefix(line, "$ ")
			if !ok {
				shown += line
				continue
			}
			switch {
			case command == "mayfly up examples/"+example || command == "":
				n.awaitEach(shown)
			case strings.Contains(command, "curl "):
				natstest.Require(n.t, "curl", err, "install curl")
				n.show(command, shown)
				curls++
			default:
				n.t.Errorf("%s has a command that nobody follows: %s", readme, command)
			}
			command, shown = strings.TrimSpace(next), ""
		}
	}
	if curls == 0 {
		n.t.Errorf("%s calls nothing", readme)
	}
}

// consoles returns the fenced blocks that show a terminal.
func consoles(text string) []string {
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// awaitEach waits for each of the lines.
func (n *node) awaitEach(lines string) {
	n.t.Helper()
	for line := range strings.Lines(lines) {
		line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "http://localhost:8080", n.url)
		n.await("^" + number.ReplaceAllString(regexp.QuoteMeta(line), "[0-9]+") + "$")
	}
}

// show runs a command, which must print what is shown.
func (n *node) show(command, shown string) {
	n.t.Helper()
	_, addr, _ := strings.Cut(n.url, "://")
	sh := exec.CommandContext(n.t.Context(), "sh", "-c", strings.ReplaceAll(strings.ReplaceAll(command, "localhost:8080", addr), "curl ", "curl -sS "))
	var stderr strings.Builder
	sh.Stderr = &stderr
	printed, err := sh.Output()
	if err != nil {
		n.t.Errorf("%s: %v\n%s", command, err, stderr.String())
	}
	if got, want := strings.TrimSpace(string(printed)), strings.TrimSpace(shown); got != want {
		n.t.Errorf("%s\nprints: %s\nnot:    %s", command, got, want)
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
