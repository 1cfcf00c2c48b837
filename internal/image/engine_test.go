//go:build engine

package image_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/natstest"
)

// TestComposeOnAnEngine builds the two images of compose.yaml with a real Docker engine
// and runs them: both workers answer, four do, one is killed, Mayfly restarts, and no
// call is lost once it is back. The engine is the test's own, with its own data folder,
// in a network namespace of its own. Nothing is pulled: the image of Go is made from
// this machine's.
//
//	go test -tags engine -run TestComposeOnAnEngine ./internal/image
func TestComposeOnAnEngine(t *testing.T) {
	e := startEngine(t)
	e.importGo()
	e.checkout()
	e.compose(8*time.Minute, "build")
	e.compose(2*time.Minute, "up", "-d", "--no-build")
	t.Cleanup(func() { e.compose(2*time.Minute, "down", "-v") })

	if workers := e.workers(2); len(workers) != 2 {
		t.Errorf("%d workers answer, want 2", len(workers))
	}
	e.compose(time.Minute, "up", "-d", "--no-build", "--scale", "worker=4")
	if workers := e.workers(4); len(workers) != 4 {
		t.Errorf("%d workers answer, want 4", len(workers))
	}
	killed := strings.Fields(e.compose(time.Minute, "ps", "-q", "worker"))[0]
	e.docker(time.Minute, "kill", killed)
	for range 20 {
		if status, _, body := e.call(); status != "200" {
			t.Errorf("with a worker killed: %s %s", status, body)
		}
	}

	// While Mayfly restarts, calls wait or are told so. Afterwards none is lost.
	e.compose(2*time.Minute, "restart", "-t", "30", "mayfly")
	e.workers(1)
	for range 20 {
		if status, _, body := e.call(); status != "200" {
			t.Errorf("after a restart: %s %s", status, body)
		}
	}
	e.compose(time.Minute, "stop", "worker")
	began := time.Now()
	if status, _, body := e.call(); status != "503" || time.Since(began) > 3*time.Second {
		t.Errorf("without workers: %s after %v: %s", status, time.Since(began), body)
	}
	logs := e.compose(time.Minute, "logs", "--no-color")
	for _, want := range []string{"task answered", `"path":"/createTask"`} {
		if !strings.Contains(logs, want) {
			t.Errorf("the logs lack %s:\n%s", want, logs)
		}
	}
}

// An engine is a Docker engine that only this test uses.
type engine struct {
	t                       *testing.T
	folder, client, address string
	old                     bool // Compose 1, and an engine without BuildKit's mounts
	pid                     int
}

// startEngine starts dockerd, and ends it by its pid.
func startEngine(t *testing.T) *engine {
	t.Helper()
	daemon, missing := exec.LookPath("dockerd")
	for _, tool := range []string{"docker-compose", "busybox", "unshare", "nsenter", "ip", "curl"} {
		if _, err := exec.LookPath(tool); missing == nil {
			missing = err
		}
	}
	if missing == nil && os.Getuid() != 0 {
		missing = errors.New("it must run as root")
	}
	natstest.Require(t, "docker", missing, "apt-get install docker.io docker-compose busybox-static iproute2 curl")

	folder, err := os.MkdirTemp("", "engine") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	e := &engine{t: t, folder: folder, client: "docker", address: "unix://" + folder + "/sock"}
	if beside := "/usr/bin/docker"; isFile(beside) { // the one that came with the engine
		e.client = beside
	}
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("unshare", "-n", "sh", "-c", `ip link set lo up; exec "$@"`, "sh", daemon, "--data-root", folder+"/data",
		"--exec-root", folder+"/exec", "--pidfile", folder+"/pid", "--host", e.address)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for exec.Command(e.client, "-H", e.address, "version").Run() != nil {
		if ctx.Err() != nil {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("the engine does not start:\n%s", text)
		}
	}
	e.old = strings.Contains(e.run(time.Minute, nil, "docker-compose", "version"), "version 1.")
	return e
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// importGo makes a stand-in for the image of Go: its folder, a shell, and the modules
// that this machine has.
func (e *engine) importGo() {
	e.t.Helper()
	image := regexp.MustCompile(`golang:\S+`).FindString(readFile(e.t, "Dockerfile"))
	goroot := strings.TrimSpace(e.run(time.Minute, nil, "go", "env", "GOROOT"))
	modules := strings.TrimSpace(e.run(time.Minute, nil, "go", "env", "GOMODCACHE"))
	e.run(5*time.Minute, nil, "go", "mod", "download")
	tree := filepath.Join(e.folder, "go-image")
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		e.t.Fatal(err)
	}
	e.run(5*time.Minute, nil, "sh", "-ec", `
		mkdir -p "$1/bin" "$1/usr/local" "$1/tmp" "$1/root"
		cp "$2" "$1/bin/busybox"; ln -s busybox "$1/bin/sh"; ln -s busybox "$1/bin/mkdir"
		cp -rL "$3" "$1/usr/local/go"; cp -r "$4/cache/download" "$1/modules"
		tar -C "$1" -cf "$1.tar" .`, "sh", tree, busybox, goroot, modules)
	e.docker(5*time.Minute, "import", "--change", "ENV PATH=/usr/local/go/bin:/bin GOPATH=/go GOPROXY=file:///modules GONOSUMDB=* GOTOOLCHAIN=local GOOS="+runtime.GOOS,
		tree+".tar", image)
}

// checkout copies what Docker is given, and leaves out what an old engine does not know.
func (e *engine) checkout() {
	e.t.Helper()
	to := filepath.Join(e.folder, "checkout")
	if err := os.CopyFS(to, sources{os.DirFS(root)}); err != nil {
		e.t.Fatal(err)
	}
	for name, cut := range map[string][]string{
		"Dockerfile":   {`(?m)^# syntax=.*\n`, `--mount=\S+ `},
		"compose.yaml": {`(?m)^name: .*\n`, `(?m)^ *start_interval: .*\n`},
	} {
		text := readFile(e.t, name)
		for _, pattern := range cut {
			if name == "Dockerfile" || e.old {
				text = regexp.MustCompile(pattern).ReplaceAllString(text, "")
			}
		}
		if err := os.WriteFile(filepath.Join(to, name), []byte(text), 0o644); err != nil {
			e.t.Fatal(err)
		}
	}
}

// sources hides what is not part of a build from a copy.
type sources struct{ fs.FS }

func (s sources) ReadDir(name string) (entries []fs.DirEntry, err error) {
	all, err := fs.ReadDir(s.FS, name)
	for _, entry := range all {
		if n := entry.Name(); n != ".git" && n != "node_modules" && n != "bin" {
			entries = append(entries, entry)
		}
	}
	return entries, err
}

// workers calls until that many workers have answered, or a minute is over.
func (e *engine) workers(want int) map[string]bool {
	e.t.Helper()
	found := map[string]bool{}
	for end := time.Now().Add(time.Minute); len(found) < want && time.Now().Before(end); {
		if status, worker, _ := e.call(); status == "200" {
			found[worker] = true
		}
	}
	return found
}

// call makes one call of /createTask from the engine's network.
func (e *engine) call() (status, worker, body string) {
	e.t.Helper()
	out, err := exec.CommandContext(e.t.Context(), "nsenter", "-t", fmt.Sprint(e.pid), "-n", "curl", "-s", "-m", "20", "-i",
		"-X", "POST", "-d", "help", "http://127.0.0.1:8080/createTask").CombinedOutput()
	if err != nil {
		return "0", "", err.Error() // no gateway there now
	}
	head, body, _ := strings.Cut(string(out), "\r\n\r\n")
	status, _, _ = strings.Cut(strings.TrimPrefix(head, "HTTP/1.1 "), " ")
	worker = regexp.MustCompile(`(?mi)^worker-id: (\S+)`).FindString(head)
	return status, worker, body
}

func (e *engine) docker(within time.Duration, args ...string) string {
	e.t.Helper()
	return e.run(within, nil, e.client, append([]string{"-H", e.address}, args...)...)
}

func (e *engine) compose(within time.Duration, args ...string) string {
	e.t.Helper()
	folder := filepath.Join(e.folder, "checkout")
	return e.run(within, []string{"DOCKER_HOST=" + e.address, "DOCKER_BUILDKIT=0"}, "docker-compose",
		append([]string{"--project-name", "createtask", "--project-directory", folder, "--file", folder + "/compose.yaml"}, args...)...)
}

// run runs a command in the module's folder and returns what it prints.
func (e *engine) run(within time.Duration, env []string, name string, args ...string) string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.t.Context()), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		e.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &out, &said)
	}
	return out.String()
}
