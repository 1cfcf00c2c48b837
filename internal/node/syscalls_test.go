//go:build linux

package node_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
)

// Reads and writes are most of what a call costs the kernel, and unlike times they are the same on
// a busy machine. The bounds have a margin above what was counted, of about one: a call that
// reads or writes twice more than it did exceeds them.
func TestCallsMakeFewSystemCalls(t *testing.T) {
	missing := exec.Command("strace", "-f", "-o", filepath.Join(t.TempDir(), "trial"), "true").Run()
	natstest.Require(t, "strace", missing, "install it, and allow tracing")
	n := startNode(t, t.TempDir())
	s := openShelf(t, n.NATS, t.TempDir())
	for _, tt := range []struct {
		name mayfly.Name
		part string
		most float64 // per call
	}{
		{"frames", partFrames, 5},   // counted: 3.5
		{"http", partFunction, 7.5}, // counted: 6.3
	} {
		t.Run(string(tt.name), func(t *testing.T) {
			const callers, calls = 64, 40
			s.deploy(t, web(tt.name, func(f *mayfly.Unit) {
				f.Env[partVariable] = tt.part
				f.Instances.Max, f.Wait = 1, callers
			}))
			url := n.Gateway + "/fn/" + string(tt.name) + "/reply"
			callAtOnce(t, url, callers, 1) // the instance starts
			counted, text := n.countIO(t, func() { callAtOnce(t, url, callers, calls) })
			per := float64(counted) / (callers * calls)
			t.Logf("%.2f per call", per)
			if per > tt.most || per < 2 { // one for the request and one for the reply at least, or not all were counted
				t.Errorf("%.2f reads and writes per call, want 2 to %.1f:\n%s", per, tt.most, text)
			}
		})
	}
}

// callAtOnce makes calls from so many callers at a time, each one after the other.
func callAtOnce(t *testing.T, url string, callers, calls int) {
	t.Helper()
	client, body := newClient(t), bytes.Repeat([]byte("x"), 128)
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range calls {
				if status, err := call(client, url, body); status != http.StatusOK {
					t.Errorf("status %d, %v", status, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// countIO counts the reads and writes of the node's process while work runs. Those that found
// nothing to read count too.
func (n *started) countIO(t *testing.T, work func()) (calls int, text string) {
	t.Helper()
	summary := filepath.Join(t.TempDir(), "summary")
	trace := exec.Command("strace", "-c", "-f", "-o", summary, "-p", strconv.Itoa(n.process.Process.Pid),
		"-e", "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg")
	said, err := trace.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := trace.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = trace.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewReader(said)
	line, err := lines.ReadString('\n')
	if err != nil || !strings.Contains(line, "attached") {
		t.Fatalf("strace does not attach: %s %v", line, err)
	}
	work()
	if err := trace.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, lines)
	if err := trace.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) { // it dies of our signal
		t.Fatal(err)
	}
	data, err := os.ReadFile(summary)
	if err != nil {
		t.Fatal(err)
	}
	// % time, seconds, usecs/call, calls, errors if any, the system call
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[len(fields)-1] != "total" {
			continue
		}
		if calls, err = strconv.Atoi(fields[3]); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return calls, string(data)
}
