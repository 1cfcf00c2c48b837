package examples_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds every wait for an event, far above what it takes: a compiler with
// cold caches on a busy machine included.
const patience = 2 * time.Minute

// TestMain removes what the tests have built.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if folder, err := workshop(); err == nil {
			os.RemoveAll(folder)
		}
		os.Exit(code)
	}))
}

// workshop is the folder that mayfly is built in, made when it is first asked for.
var workshop = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "mayfly-examples-") })

// build compiles mayfly, once for all tests.
var build = sync.OnceValues(func() (string, error) {
	folder, err := workshop()
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "mayfly")
	if said, err := exec.Command("go", "build", "-o", path, "../cmd/mayfly").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build mayfly: %w\n%s", err, said)
	}
	return path, nil
})

// A node is mayfly up in a process of its own, as a user would start it.
type node struct {
	t     *testing.T
	url   string // of the gateway
	data  string // folder of its state
	cmd   *exec.Cmd
	leash *os.File       // ends when no process holds its other end: the node, or what it started
	said  sync.WaitGroup // its output is read to the end

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed, and replaced, when a line comes
	ended bool          // no line will come
}

// up runs mayfly up PATH in folder and returns when it has said that it is ready.
// At the end of the test it must stop when it is told to, without an error, and
// leave no process behind.
func up(t *testing.T, folder, path string, flags ...string) *node {
	t.Helper()
	mayfly, err := build()
	if err != nil {
		t.Fatal(err)
	}
	settings := filepath.Join(t.TempDir(), "config.yaml") // not those of whoever runs the tests
	if err := os.WriteFile(settings, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, data: filepath.Join(t.TempDir(), "data"), more: make(chan struct{})}
	n.cmd = exec.Command(mayfly, append([]string{
		"up", "--config", settings, "--data", n.data,
		"--bus.addr", "127.0.0.1:0", "--gateway.addr", "127.0.0.1:0", "--admin.addr", "127.0.0.1:0",
		"--log.format", "text", path, // as on a terminal
	}, flags...)...)
	n.cmd.Dir = folder
	n.cmd.Env = environment()
	output := pipe(t, func(theirs *os.File) { n.cmd.Stdout, n.cmd.Stderr = theirs, theirs })
	n.leash = pipe(t, func(theirs *os.File) { n.cmd.ExtraFiles = append(n.cmd.ExtraFiles, theirs) })
	err = n.cmd.Start()
	n.cmd.Stdout.(*os.File).Close()
	n.cmd.ExtraFiles[0].Close()
	if err != nil {
		t.Fatal(err)
	}
	n.said.Go(func() { n.read(output) })
	t.Cleanup(n.stop)
	n.url = strings.Fields(n.await(`^  gateway +http://\S+$`))[1]
	n.await(`^  try `)
	return n
}

// environment is this process's without what would change how a node runs.
func environment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "MAYFLY_") && !strings.HasPrefix(entry, "NATS_") {
			env = append(env, entry)
		}
	}
	return env
}

// pipe gives away the end of a pipe that is written to and returns the other.
func pipe(t *testing.T, give func(*os.File)) *os.File {
	t.Helper()
	ours, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	give(theirs)
	return ours
}

func (n *node) read(output io.Reader) {
	add := func(line string, ended bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.ended = ended; !ended {
			n.lines = append(n.lines, line)
		}
		close(n.more)
		n.more = make(chan struct{})
	}
	for lines := bufio.NewScanner(output); lines.Scan(); {
		add(lines.Text(), false)
	}
	add("", true)
}

// stop is Ctrl-C, and what must follow.
func (n *node) stop() {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Errorf("stop: %v", err)
	}
	late := time.AfterFunc(patience, func() { _ = n.cmd.Process.Kill() }) // its reaper ends the rest
	defer late.Stop()
	if err := n.cmd.Wait(); err != nil {
		n.t.Errorf("mayfly up ended with %v:\n%s", err, n.output())
	}
	if err := n.leash.SetReadDeadline(time.Now().Add(patience)); err != nil {
		n.t.Error(err)
	}
	if _, err := n.leash.Read(make([]byte, 1)); err != io.EOF {
		n.t.Errorf("a process outlives its node: %v", err)
	}
	n.said.Wait()
	if strings.Contains(n.output(), " ERROR ") {
		n.t.Errorf("the node had trouble:\n%s", n.output())
	}
}

func (n *node) output() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lines, "\n")
}

// await returns the first line that matches, once there is one.
func (n *node) await(pattern string) string {
	n.t.Helper()
	return n.awaitAfter(0, pattern)
}

// awaitAfter is await for the lines that follow the first seen ones.
func (n *node) awaitAfter(seen int, pattern string) string {
	n.t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(patience)
	for {
		n.mu.Lock()
		lines, more, ended := n.lines[seen:], n.more, n.ended
		n.mu.Unlock()
		for _, line := range lines {
			if re.MatchString(line) {
				return line
			}
		}
		seen += len(lines)
		if ended {
			n.t.Fatalf("mayfly up ended without a line that matches %s:\n%s", pattern, n.output())
		}
		select {
		case <-more:
		case <-late:
			n.t.Fatalf("no line matches %s:\n%s", pattern, n.output())
		}
	}
}

// seen returns how many lines there are.
func (n *node) seen() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.lines)
}
