package examples_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mayfly-run/mayfly/internal/natstest"
)

// A step of a README is a command and what it shows. What a block shows before its
// first command has none: the node, in its own terminal, prints that.
type step struct{ command, shown string }

// console is a fenced block that shows a terminal.
var console = regexp.MustCompile("(?s)```console\n(.*?)```")

// steps returns what the blocks of a README show.
func steps(readme string) []step {
	var all []step
	for _, block := range console.FindAllStringSubmatch(readme, -1) {
		all = append(all, step{})
		for line := range strings.Lines(block[1]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, step{command: strings.TrimSpace(command)})
				continue
			}
			all[len(all)-1].shown += line
		}
	}
	return all
}

// follow does what the README of an example says, on a node that was started as
// its first command says: what it shows must be what comes.
func (n *node) follow(example string) {
	n.t.Helper()
	readme := filepath.Join(example, "README.md")
	text, err := os.ReadFile(readme)
	if err != nil {
		n.t.Fatal(err)
	}
	_, err = exec.LookPath("curl")
	natstest.Require(n.t, "curl", err, "install curl")
	runs := false
	for _, s := range steps(string(text)) {
		switch {
		case s.command == "", s.command == "mayfly up examples/"+example:
			n.awaitEach(s.shown)
		case strings.Contains(s.command, "curl "), strings.Contains(s.command, "mayfly secret "):
			n.run(s)
			runs = true
		default:
			n.t.Errorf("%s: nobody follows %q", readme, s.command)
		}
	}
	if !runs {
		n.t.Errorf("%s shows no command", readme)
	}
}

// number is what differs from run to run.
var number = regexp.MustCompile(`[0-9]+`)

// awaitEach waits until the node has printed each of the lines, in any order and
// with any numbers.
func (n *node) awaitEach(lines string) {
	n.t.Helper()
	for line := range strings.Lines(lines) {
		line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "http://localhost:8080", n.url)
		pattern := number.ReplaceAllString(regexp.QuoteMeta(line), "[0-9]+")
		n.await("^" + strings.ReplaceAll(pattern, "[0-9]+ ms", "[0-9.]+ ?m?s") + "$") // a busy machine takes seconds
	}
}

// run runs a command, which must print what is shown.
func (n *node) run(s step) {
	n.t.Helper()
	here := strings.NewReplacer("localhost:8080", strings.TrimPrefix(n.url, "http://"), "curl ", "curl -sS ").Replace(s.command)
	sh := exec.CommandContext(n.t.Context(), "sh", "-c", here)
	sh.Dir = n.cmd.Dir
	sh.Env = append(environment(), "MAYFLY_DATA="+n.data, "PATH="+filepath.Dir(n.cmd.Path)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	var stderr strings.Builder
	sh.Stderr = &stderr
	printed, err := sh.Output()
	if err != nil {
		n.t.Errorf("%s: %v\n%s", s.command, err, stderr.String())
	}
	if got, want := strings.TrimSpace(string(printed)), strings.TrimSpace(s.shown); got != want {
		n.t.Errorf("%s\nprints: %s\nnot:    %s", s.command, got, want)
	}
}
