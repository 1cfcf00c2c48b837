package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/natstest"
)

// What the README and the page for authors show is what most people try first. Their
// files are taken from the fences as they stand, and a terminal shows what must come.

var (
	// fence is a file: its name, and what is in the block that follows.
	fence = regexp.MustCompile("(?s)\n[A-Z]\\w+, `(\\w+\\.\\w+)`:[^\n]*\n\n```\\w+\n(.*?)```\n")

	// terminal is a block of commands, each followed by what it prints.
	terminal = regexp.MustCompile("(?s)```console\n\\$ (.*?)```\n")
)

func TestPagesShowWhatComes(t *testing.T) {
	t.Parallel()
	for tool, remedy := range map[string]string{
		"node": "install Node.js 18 or newer", "python3": "install Python 3.9 or newer", "curl": "install curl", "go": "install Go",
	} {
		_, err := exec.LookPath(tool)
		natstest.Require(t, tool, err, remedy)
	}
	for _, tt := range []struct {
		page            string
		files, commands int // that it has: none may be overlooked
	}{
		{"README.md", 5, 7},
		{"docs/functions.md", 8, 16},
	} {
		t.Run(tt.page, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile("../../" + tt.page)
			if err != nil {
				t.Fatal(err)
			}
			folder := t.TempDir()
			files := fence.FindAllStringSubmatch(string(text), -1)
			for _, f := range files {
				if err := os.WriteFile(filepath.Join(folder, f[1]), []byte(f[2]), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var commands []string
			for _, block := range terminal.FindAllStringSubmatch(string(text), -1) {
				commands = append(commands, strings.Split(block[1], "\n$ ")...)
			}
			if len(files) != tt.files || len(commands) != tt.commands {
				t.Fatalf("the page has %d files and %d commands, not %d and %d", len(files), len(commands), tt.files, tt.commands)
			}
			follow(t, folder, commands)
		})
	}
}

// follow does what a page says. Its mayfly up is a node that runs until the next one.
func follow(t *testing.T, folder string, commands []string) {
	for i, c := range commands {
		command, shown, _ := strings.Cut(c, "\n")
		args, ok := strings.CutPrefix(command, "mayfly up")
		if !ok {
			continue // it was the last node's
		}
		t.Run(command, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			gateway := startUp(t, folder, data, strings.Fields("up"+args), shown)
			here := strings.NewReplacer("localhost:8080", strings.TrimPrefix(gateway, "http://"), "curl ", "curl -sS ")
			for _, c := range commands[i+1:] {
				command, want, _ := strings.Cut(c, "\n")
				if strings.HasPrefix(command, "mayfly up") {
					return
				}
				sh := exec.CommandContext(t.Context(), "sh", "-c", here.Replace(command))
				sh.Env = append(os.Environ(), "MAYFLY_DATA="+data) // other tests have nodes too
				got, err := sh.CombinedOutput()
				if err != nil || strings.TrimSpace(string(got)) != strings.TrimSpace(want) {
					t.Errorf("%s\nprints %q, %v\nnot    %q", command, got, err, want)
				}
			}
		})
	}
}

// number is what differs from run to run.
var number = regexp.MustCompile(`[0-9]+`)

// startUp runs mayfly up on free ports and returns the URL of its gateway once it is
// ready and has printed what is shown, with any numbers. At the end of the test it must
// stop without an error.
func startUp(t *testing.T, folder, data string, args []string, shown string) (gateway string) {
	t.Helper()
	settings := filepath.Join(t.TempDir(), "config.yaml") // not those of whoever runs the tests
	if err := os.WriteFile(settings, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("mayfly", append(args, "--config", settings, "--data", data,
		"--bus.addr", "127.0.0.1:0", "--gateway.addr", "127.0.0.1:0", "--admin.addr", "off",
		"--log.format", "text")...) // as on a terminal
	cmd.Dir = folder
	ours, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = theirs, theirs
	err = cmd.Start()
	theirs.Close() // so that the program's end is the end of its output
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() }) // time for a compiler with cold caches
	lines := bufio.NewScanner(ours)
	var said strings.Builder
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "  try ") {
		said.WriteString(lines.Text() + "\n")
		if fields := strings.Fields(lines.Text()); len(fields) == 2 && fields[0] == "gateway" {
			gateway = fields[1]
		}
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		for lines.Scan() {
			said.WriteString(lines.Text() + "\n")
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("mayfly up ended with %v:\n%s", err, said.String())
		}
		late.Stop()
		ours.Close()
	})
	if gateway == "" {
		t.Fatalf("mayfly up does not say where it is:\n%s", said.String())
	}
	for line := range strings.Lines(shown) {
		want := number.ReplaceAllString(regexp.QuoteMeta(strings.TrimSpace(line)), "[0-9]+")
		if !regexp.MustCompile("(?m)^" + want + "$").MatchString(said.String()) {
			t.Errorf("mayfly up does not print %q:\n%s", line, said.String())
		}
	}
	return gateway
}

// Who operates a node looks for what the page names.
func TestPageOfOperatorsNamesSettingsAndMetricsThatAreThere(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := os.ReadFile("../../internal/node/testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	var settings []string
	for _, key := range config.Keys() {
		settings = append(settings, key.Name)
	}
	found := 0
	for _, m := range regexp.MustCompile("`(?:--)?((?:gateway|bus|admin|log|tls)\\.[a-z]+)\\b").FindAllStringSubmatch(string(page), -1) {
		found++
		if !slices.Contains(settings, m[1]) {
			t.Errorf("no node has the setting %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`(mayfly_[a-z_]+)[`{]").FindAllStringSubmatch(string(page), -1) {
		found++
		if !strings.Contains(string(metrics), "# HELP "+m[1]+" ") {
			t.Errorf("no node has the metric %s", m[1])
		}
	}
	if found < 30 {
		t.Errorf("the page names only %d settings and metrics", found)
	}
}
