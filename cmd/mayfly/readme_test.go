package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/natstest"
)

// The README's functions are what most people try first. They are taken from its
// fences as they stand, and its terminal shows what must come.

var (
	// fence is a function: its file's name, and the code in the block that follows.
	fence = regexp.MustCompile("(?s)\n[A-Z]\\w+, `(\\w+\\.\\w+)`:[^\n]*\n\n```\\w+\n(.*?)```\n")

	// terminal is the block that runs them.
	terminal = regexp.MustCompile("(?s)```console\n(\\$ mayfly up .*?)```\n")
)

func TestFunctionsOfTheReadmeAnswer(t *testing.T) {
	t.Parallel()
	for tool, remedy := range map[string]string{
		"node": "install Node.js 18 or newer", "python3": "install Python 3.9 or newer", "curl": "install curl", "go": "install Go",
	} {
		_, err := exec.LookPath(tool)
		natstest.Require(t, tool, err, remedy)
	}
	text, err := os.ReadFile("../../README.md")
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
	block := terminal.FindStringSubmatch(string(text))
	if len(files) != 5 || block == nil {
		t.Fatalf("the README has %d functions and the terminal %q", len(files), block)
	}

	// The first command is the node's; each of the others is followed by what it prints.
	commands := strings.Split(strings.TrimPrefix(block[1], "$ "), "\n$ ")
	up, _, _ := strings.Cut(commands[0], "\n")
	url := startUp(t, folder, strings.Fields(up)[1:])
	for _, c := range commands[1:] {
		command, want, _ := strings.Cut(c, "\n")
		here := strings.NewReplacer("localhost:8080", strings.TrimPrefix(url, "http://"), "curl ", "curl -sS ").Replace(command)
		got, err := exec.CommandContext(t.Context(), "sh", "-c", here).CombinedOutput()
		if err != nil || strings.TrimSpace(string(got)) != strings.TrimSpace(want) {
			t.Errorf("%s\nprints %q, %v\nnot    %q", command, got, err, want)
		}
	}
}

// startUp runs mayfly up on free ports and returns the gateway's URL once it is
// ready. At the end of the test it must stop without an error.
func startUp(t *testing.T, folder string, args []string) (url string) {
	t.Helper()
	settings := filepath.Join(t.TempDir(), "config.yaml") // not those of whoever runs the tests
	if err := os.WriteFile(settings, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("mayfly", append(args, "--config", settings, "--data", filepath.Join(t.TempDir(), "data"),
		"--bus.addr", "127.0.0.1:0", "--gateway.addr", "127.0.0.1:0", "--admin.addr", "off")...)
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
			url = fields[1]
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
	if url == "" {
		t.Fatalf("mayfly up says no gateway:\n%s", said.String())
	}
	return url
}
