//go:build unix

package node_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
)

// An instance that is killed takes its calls with it, at once, and no other.
func TestKilledInstanceCostsItsCallAlone(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	pipe := newPipe(t)
	set(t, n, web("fragile", pipe.on), t.TempDir())
	url := n.Gateway + "/fn/fragile"
	pid := pidOf(t, url)
	type result struct {
		answer
		err error
	}
	held := make(chan result, 1)
	go func() {
		a, err := tryAsk(context.Background(), "GET", url+"/hang", nil)
		held <- result{a, err}
	}()
	pipe.awaitOpen(t)
	began := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r := <-held
	if r.err != nil || r.StatusCode != 502 || !strings.Contains(string(r.body), "killed") {
		t.Errorf("the call of a killed instance: %v %v, want 502 that says so", r.answer, r.err)
	}
	took := time.Since(began)
	t.Logf("answered %v after the kill", took)
	if took > time.Second {
		t.Errorf("it was answered %v after the kill", took)
	}
	if next := pidOf(t, url); next == pid {
		t.Error("the killed instance answers")
	}
}

// pidOf returns the process that answers.
func pidOf(t *testing.T, url string) int {
	t.Helper()
	a := ask(t, "GET", url+"/pid", nil)
	pid, err := strconv.Atoi(string(a.body))
	if a.StatusCode != 200 || err != nil {
		t.Fatalf("GET %s/pid: %v", url, a)
	}
	return pid
}

// Nothing that a function started outlives a node that is killed: not the instance,
// not its children, not those of them that took a session of their own. What was
// deployed is there when the node is.
func TestKilledNodeLeavesNoProcessOfAFunction(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	n := startNode(t, folder)
	s := openShelf(t, n.NATS, t.TempDir())
	parent, child := newPipe(t), newPipe(t)
	s.deploy(t, web("parent", parent.on))
	s.deploy(t, shell("child", holding, child.on))
	if a := awaitStatus(t, n.Gateway+"/fn/parent/grandchild", 200); string(a.body) != "<nil>" {
		t.Fatalf("no grandchild: %v", a)
	}
	parent.awaitOpen(t)
	var hung sync.WaitGroup
	for _, path := range []string{"/fn/parent/hang", "/fn/child"} {
		hung.Go(func() { _, _ = tryAsk(context.Background(), "GET", n.Gateway+path, nil) })
	}
	parent.awaitOpen(t) // by the instance itself
	child.awaitOpen(t)
	began := time.Now()
	if err := n.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.awaitClosed(t)
	child.awaitClosed(t)
	took := time.Since(began)
	t.Logf("no process is left after %v", took)
	if took > time.Second {
		t.Errorf("a process of the function was there for %v", took)
	}
	hung.Wait()
	<-n.exited
	n = startNode(t, folder)
	if a := ask(t, "GET", n.Gateway+"/fn/parent/nothing", nil); a.StatusCode != 204 {
		t.Errorf("the first call after the restart: %v", a)
	}
	n.end(t, syscall.SIGTERM)
}

// A body of any length passes through a node, and is never there whole.
func TestLongBodiesAreNeverHeldWhole(t *testing.T) {
	t.Parallel()
	if faults := passLongBodies(t, 64<<20, 24<<20); len(faults) > 0 {
		t.Error(strings.Join(faults, "\n"))
	}
}

// passLongBodies uploads and downloads that many bytes through a node, which may
// grow by most.
func passLongBodies(t *testing.T, size, most int64) (faults []string) {
	t.Helper()
	n := startNode(t, t.TempDir())
	s := openShelf(t, n.NATS, t.TempDir())
	s.deploy(t, web("large", func(f *mayfly.Unit) { f.Body = 4 << 30 }))
	awaitStatus(t, n.Gateway+"/fn/large/nothing", 204)
	want := sha256.New()
	_, _ = io.CopyN(want, &pattern{}, size)
	digest := hex.EncodeToString(want.Sum(nil))
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	before := n.peak(t)

	began := time.Now()
	resp, err := client.Post(n.Gateway+"/fn/large/sum", "application/octet-stream", io.LimitReader(&pattern{}, size))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if got, wanted := string(body), fmt.Sprintf("%d %s <nil>\n", size, digest); err != nil || resp.StatusCode != 200 || got != wanted {
		faults = append(faults, fmt.Sprintf("upload: %d %.300q %v, want %q", resp.StatusCode, got, err, wanted))
	}
	up := time.Since(began)

	began = time.Now()
	if resp, err = client.Get(n.Gateway + "/fn/large/large/" + strconv.FormatInt(size, 10)); err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	length, err := io.Copy(sum, resp.Body)
	resp.Body.Close()
	if got := hex.EncodeToString(sum.Sum(nil)); err != nil || length != size || got != digest {
		faults = append(faults, fmt.Sprintf("download: %d bytes with digest %s, %v; want %d with %s", length, got, err, size, digest))
	}
	down := time.Since(began)
	grown := n.peak(t) - before
	t.Logf("%d MB up in %v, down in %v; the node grew by %d MB to %d MB", size>>20, up.Round(time.Millisecond), down.Round(time.Millisecond), grown>>20, n.peak(t)>>20)
	if grown > most {
		faults = append(faults, fmt.Sprintf("the node grew by %d MB", grown>>20))
	}
	return faults
}

// peak returns the most memory that the node's process ever had resident.
func (n *started) peak(t *testing.T) int64 { return n.memory(t, "VmHWM:") }

// memory reads a line of the process's status. Elsewhere than on Linux there is
// none, and what needs it is 0.
func (n *started) memory(t *testing.T, name string) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.process.Process.Pid))
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, name); ok {
			var kb int64
			if _, err := fmt.Sscan(text, &kb); err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatalf("no %s in\n%s", name, status)
	return 0
}
