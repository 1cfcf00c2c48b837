package project

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
)

// tools are the programs that builds and functions need, and how to install them.
var tools = map[string]string{
	"node":    "install Node.js 18 or newer: https://nodejs.org",
	"npm":     "install Node.js, which brings it: https://nodejs.org",
	"python3": "install Python 3.9 or newer: https://www.python.org",
	"go":      "install Go: https://go.dev/dl",
}

// need returns an error with code Unavailable unless a tool is installed.
func need(tool, user string) error {
	if _, err := exec.LookPath(tool); err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "%s needs %s, which is not in PATH", user, tool).WithHint("%s", tools[tool])
	}
	return nil
}

// A command is where to run a command, and the error message if it fails.
type command struct {
	dir    string
	failed string // such as "npm ci failed"
}

// run runs a command in the user's environment. The end of its output goes into
// the error if it fails.
func (b *builder) run(ctx context.Context, c command, name string, args ...string) error {
	said := &tail{most: 64 << 10}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, said, said
	cmd.WaitDelay = 2 * time.Second // do not wait for a grandchild that holds the pipe
	killGroup(cmd)
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return nil
	}
	text := strings.ReplaceAll(said.String(), c.dir+"/", "")
	if strings.TrimSpace(text) == "" {
		text = err.Error()
	}
	return &mayfly.Error{Code: mayfly.Invalid, Message: c.failed, Err: mayfly.Trace(text)}
}

// A tail keeps the end of what is written.
type tail struct {
	most int

	mu   sync.Mutex // stdout and stderr are one writer, but WaitDelay may leave it in use
	kept []byte
	cut  bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - t.most; over > 0 {
		t.kept, t.cut = append(t.kept[:0], t.kept[over:]...), true
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut {
		return "...\n" + string(t.kept)
	}
	return string(t.kept)
}
