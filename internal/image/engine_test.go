//go:build engine

package image_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/natstest"
)

// TestOnAnEngine builds the images with a real Docker engine and runs them. Nothing is
// pulled: what the images stand on is made from this machine's Go, Node.js and Python.
// The engine is the test's own. Whatever it leaves, it leaves in namespaces and a folder
// that end with it.
//
//	go test -tags engine -run TestOnAnEngine -v ./internal/image
func TestOnAnEngine(t *testing.T) {
	e := startEngine(t)
	e.importGo()
	e.importLanguages() // without BuildKit each stage is built, also for other targets
	e.checkout()
	if !t.Run("compose", func(t *testing.T) { e.in(t).runsCompose() }) {
		t.FailNow() // the next image holds the same binary
	}
	t.Run("languages", func(t *testing.T) { e.in(t).runsFunctions() })
	e.isEmpty()
}

// runsCompose shows what compose.yaml promises: both workers answer, then four; one is
// killed, Mayfly restarts, and every call is answered or told that nobody can.
func (e *engine) runsCompose() {
	e.compose(12*time.Minute, "build")
	e.compose(2*time.Minute, "up", "-d", "--no-build")
	if workers := e.workers(2); len(workers) != 2 {
		e.t.Errorf("%d workers answer, want 2", len(workers))
	}
	e.compose(time.Minute, "up", "-d", "--no-build", "--scale", "worker=4")
	if workers := e.workers(4); len(workers) != 4 {
		e.t.Errorf("%d workers answer, want 4", len(workers))
	}
	killed := strings.Fields(e.compose(time.Minute, "ps", "-q", "worker"))[0]
	e.docker(time.Minute, "kill", killed)
	e.answers("with a worker killed")

	e.restart()
	e.answers("after a restart")
	if workers := e.workers(3); len(workers) != 3 {
		e.t.Errorf("%d workers answer after a restart, want 3", len(workers))
	}

	e.compose(2*time.Minute, "stop", "worker")
	began := time.Now()
	if r := e.createTask(); r.status != 503 || time.Since(began) > 3*time.Second {
		e.t.Errorf("without workers: %v after %v", r, time.Since(began))
	}
	logs := e.compose(time.Minute, "logs", "--no-color")
	for _, want := range []string{"task answered", `"path":"/createTask"`} {
		if !strings.Contains(logs, want) {
			e.t.Errorf("the logs lack %s:\n%s", want, logs)
		}
	}
	e.compose(2*time.Minute, "down", "-v")
}

// answers calls twenty times. None may be lost.
func (e *engine) answers(when string) {
	e.t.Helper()
	for range 20 {
		if r := e.createTask(); r.status != 200 {
			e.t.Errorf("%s: %v", when, r)
		}
	}
}

// restart restarts Mayfly under calls. A call is answered or refused, by Mayfly or, where
// that is not there, by the port; it never hangs or gets another error.
func (e *engine) restart() {
	e.t.Helper()
	up := make(chan error, 1)
	go func() { up <- e.composed(e.t.Context(), "restart", "-t", "30", "mayfly").Run() }()
	// Afterwards there is a minute for the workers to connect again.
	var end <-chan time.Time
	for {
		r := e.createTask()
		if !slices.Contains([]int{0, 200, 503}, r.status) || r.took > 10*time.Second {
			e.t.Errorf("while Mayfly restarts: %v", r)
		}
		select {
		case err := <-up:
			if err != nil {
				e.t.Fatalf("docker-compose restart: %v", err)
			}
			end = time.After(time.Minute)
		case <-end:
			e.t.Fatalf("a minute after the restart: %v", r)
		default:
		}
		if end != nil && r.status == 200 {
			return
		}
	}
}

// runsFunctions calls a function in JavaScript and one in Python, in the image that has
// both.
func (e *engine) runsFunctions() {
	e.docker(5*time.Minute, "build", "--target", "languages", "--tag", "languages", e.folder+"/checkout")
	e.docker(time.Minute, "run", "-d", "--name", "languages", "--publish", "127.0.0.1:9090:8080", "--volume", e.folder+"/checkout/examples:/examples:ro",
		"languages", "up", "/examples/hello-js", "/examples/hello-py", "--data", "/data", "--gateway.addr=0.0.0.0:8080", "--gateway.open")
	for _, name := range []string{"hello-js", "hello-py"} {
		var r reply
		for end := time.Now().Add(time.Minute); r.status != 200 && time.Now().Before(end); {
			r = e.curl("http://127.0.0.1:9090/fn/" + name + "?name=Ada")
		}
		if r.status != 200 || !strings.Contains(r.body, "Ada") {
			e.t.Errorf("%s: %v\n%s", name, r, e.docker(time.Minute, "logs", "languages"))
		}
	}
	e.docker(time.Minute, "stop", "-t", "30", "languages")
	if code := e.docker(time.Minute, "inspect", "--format", "{{.State.ExitCode}}", "languages"); strings.TrimSpace(code) != "0" {
		e.t.Errorf("stopped, it exits with %s", code)
	}
	e.docker(time.Minute, "rm", "-v", "languages")
}

// isEmpty checks that what was taken down is gone.
func (e *engine) isEmpty() {
	e.t.Helper()
	for _, list := range [][]string{
		{"ps", "--all", "--quiet"},
		{"volume", "ls", "--quiet"},
		{"network", "ls", "--quiet", "--filter", "type=custom"},
	} {
		if left := e.docker(time.Minute, list...); left != "" {
			e.t.Errorf("docker %s: %s", strings.Join(list, " "), left)
		}
	}
}

// An engine is a Docker engine that only this test uses.
type engine struct {
	t              *testing.T
	folder, client string
	pid            int
	old            bool // no start_interval: an older engine, or Compose 1, which knows no name either
}

// in returns the engine for a subtest.
func (e *engine) in(t *testing.T) *engine {
	sub := *e
	sub.t = t
	return &sub
}

// startEngine starts dockerd in namespaces of its own, as their first process: when it
// ends, also by the end of this test's process, its containers, mounts, bridges and
// firewall rules are gone.
func startEngine(t *testing.T) *engine {
	t.Helper()
	_, missing := exec.LookPath("dockerd")
	for _, tool := range []string{"docker-compose", "busybox", "nsenter", "ip", "iptables", "curl"} {
		if _, err := exec.LookPath(tool); missing == nil {
			missing = err
		}
	}
	if probe := exec.Command("true"); missing == nil {
		probe.SysProcAttr = ownNamespaces()
		if err := probe.Run(); err != nil {
			missing = fmt.Errorf("namespaces: %w", err) // not root, or root of a container
		}
	}
	natstest.Require(t, "docker", missing, "as root: apt-get install docker.io docker-compose busybox-static iproute2 iptables curl")

	folder, err := os.MkdirTemp("", "engine") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(mounts), folder) {
			t.Errorf("the engine leaves mounts behind, %v:\n%s", err, mounts)
			return
		}
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	e := &engine{t: t, folder: folder, client: "docker"}
	if beside := "/usr/bin/docker"; isFile(beside) { // the one that came with the engine
		e.client = beside
	}
	if err := e.start(); err != nil {
		t.Fatalf("the engine does not start: %v", err)
	}
	major, _, _ := strings.Cut(e.docker(time.Minute, "version", "--format", "{{.Server.Version}}"), ".")
	number, _ := strconv.Atoi(major)
	e.old = number < 25 || strings.Contains(e.run(time.Minute, "docker-compose", "version"), "version 1.")
	return e
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// start starts dockerd and returns when it answers. Its error is the end of its log.
func (e *engine) start() error {
	log, err := os.Create(filepath.Join(e.folder, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	settings := filepath.Join(e.folder, "settings") // not those of this machine
	if err := os.WriteFile(settings, []byte("{}"), 0o600); err != nil {
		return err
	}
	cmd := exec.Command("sh", "-c",
		`mount -t proc proc /proc && ip link set lo up && exec dockerd "$@"`, "sh", "--config-file", settings, "--data-root", e.folder+"/data",
		"--exec-root", e.folder+"/exec", "--pidfile", e.folder+"/pid", "--host", e.address())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = ownNamespaces()
	ended, err := startBound(cmd)
	if err != nil {
		return err
	}
	tail := func() string {
		text, _ := os.ReadFile(log.Name())
		lines := strings.SplitAfter(string(text), "\n")
		return strings.Join(lines[max(0, len(lines)-30):], "")
	}
	timeout := time.After(2 * time.Minute)
	for e.command(e.t.Context(), e.client, "version").Run() != nil {
		select {
		case err := <-ended:
			return fmt.Errorf("%w\n%s", err, tail())
		case <-timeout:
			_ = cmd.Process.Kill()
			return fmt.Errorf("no answer: %w\n%s", <-ended, tail())
		case <-time.After(100 * time.Millisecond):
		}
	}
	e.pid = cmd.Process.Pid
	e.t.Cleanup(func() {
		if e.t.Failed() {
			e.t.Logf("the engine's log ends with:\n%s", tail())
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			e.t.Errorf("SIGTERM does not end the engine: %v", <-ended)
		}
	})
	return nil
}

// ownNamespaces gives a process its own processes, mounts and network, and has it end with
// the thread that started it.
func ownNamespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Setpgid:      true, // Ctrl-C is for the test alone
		Pdeathsig:    syscall.SIGKILL,
		Cloneflags:   syscall.CLONE_NEWPID,
		Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
	}
}

// startBound starts a command on a thread that stays as long as the command runs, and
// returns how it ends.
func startBound(cmd *exec.Cmd) (ended <-chan error, err error) {
	started, end := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		end <- cmd.Wait()
	}()
	return end, <-started
}

func (e *engine) address() string { return "unix://" + e.folder + "/sock" }

// workers calls until that many workers have answered, or a minute is over.
func (e *engine) workers(want int) map[string]bool {
	e.t.Helper()
	found := map[string]bool{}
	for end := time.Now().Add(time.Minute); len(found) < want && time.Now().Before(end); {
		if r := e.createTask(); r.status == 200 {
			found[r.worker] = true
		}
	}
	return found
}

// A reply is what curl got: the status 0 if nobody answered.
type reply struct {
	status       int
	worker, body string
	took         time.Duration
}

func (r reply) String() string { return fmt.Sprintf("%d in %v: %s", r.status, r.took, r.body) }

func (e *engine) createTask() reply {
	return e.curl("http://127.0.0.1:8080/createTask", "-X", "POST", "-d", "help")
}

// curl makes a call from the engine's network.
func (e *engine) curl(url string, args ...string) (r reply) {
	began := time.Now()
	out, err := exec.CommandContext(e.t.Context(), "nsenter", append([]string{
		"-t", strconv.Itoa(e.pid), "-n", "curl", "-s", "-m", "20", "-i", url,
	}, args...)...).CombinedOutput()
	r.took = time.Since(began)
	if err != nil {
		r.body = err.Error() // no gateway there now
		return r
	}
	head, body, _ := strings.Cut(string(out), "\r\n\r\n")
	status, _, _ := strings.Cut(strings.TrimPrefix(head, "HTTP/1.1 "), " ")
	r.status, _ = strconv.Atoi(status)
	r.worker = regexp.MustCompile(`(?mi)^worker-id: (\S+)`).FindString(head)
	r.body = body
	return r
}

func (e *engine) docker(within time.Duration, args ...string) string {
	e.t.Helper()
	return e.run(within, e.client, args...)
}

func (e *engine) compose(within time.Duration, args ...string) string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), within)
	defer cancel()
	return e.output(e.composed(ctx, args...))
}

// composed returns a command of Compose for the checkout.
func (e *engine) composed(ctx context.Context, args ...string) *exec.Cmd {
	folder := filepath.Join(e.folder, "checkout")
	return e.command(ctx, "docker-compose",
		append([]string{"--project-name", "createtask", "--project-directory", folder, "--file", folder + "/compose.yaml"}, args...)...)
}

// run runs a command in the module's folder and returns what it prints.
func (e *engine) run(within time.Duration, name string, args ...string) string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), within)
	defer cancel()
	return e.output(e.command(ctx, name, args...))
}

func (e *engine) output(cmd *exec.Cmd) string {
	e.t.Helper()
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		e.t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, &out, &said)
	}
	return out.String()
}

// command returns a command that speaks with this engine, whatever the user set up.
func (e *engine) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.address(), "DOCKER_CONFIG="+e.folder, "DOCKER_CONTEXT=", "DOCKER_BUILDKIT=0")
	return cmd
}
