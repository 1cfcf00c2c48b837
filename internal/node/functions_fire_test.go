//go:build fire && unix

package node_test

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
)

// The promise: a node grows by less than 64 MB for 1 GB either way.
func TestFireLongBodiesAreNeverHeldWhole(t *testing.T) {
	measured(t, func() []string { return passLongBodies(t, 1<<30, 64<<20) })
}

// The promise: 1,000 functions that nobody calls cost a node less than 150 MB,
// answer a list in 100 ms, are back 2 s after a start and gone 3 s after SIGTERM.
func TestFireIdleFunctionsCostLittle(t *testing.T) {
	const functions = 1000
	folder := t.TempDir()
	n := startNode(t, folder)
	s := openShelf(t, n.NATS, t.TempDir())
	began := time.Now()
	deployAll(t, s, functions)
	nc := connect(t, n.NATS)
	eventually(t, "all functions are there", func() bool { return gather(t, nc, "INFO", functions) > 0 })
	t.Logf("deployed and there after %v", time.Since(began).Round(time.Millisecond))
	awaitStatus(t, n.Gateway+"/fn/f999/nothing", 204)
	t.Logf("memory %d MB, at most %d MB", n.memory(t, "VmRSS:")>>20, n.peak(t)>>20)
	stopped := n.end(t, syscall.SIGTERM)

	measured(t, func() (faults []string) {
		n := startNode(t, folder)
		if a := ask(t, "GET", n.Gateway+"/fn/f500/nothing", nil); a.StatusCode != 204 {
			t.Errorf("the first call after a restart: %v", a)
		}
		nc := connect(t, n.NATS)
		info, ping := gather(t, nc, "INFO", functions), gather(t, nc, "PING", functions)
		quiet := cpuOf(t, n, 5*time.Second)
		resident, peak := n.memory(t, "VmRSS:"), n.peak(t)
		stopped = max(stopped, n.end(t, syscall.SIGTERM))
		t.Logf("ready after %v; memory %d MB, at most %d MB; INFO of all in %v, PING in %v; %.1f %% of a core while nothing happens; stopped in %v",
			n.took, resident>>20, peak>>20, info, ping, 100*quiet, stopped)
		fault := func(bad bool, format string, args ...any) {
			if bad {
				faults = append(faults, fmt.Sprintf(format, args...))
			}
		}
		fault(peak > 150<<20, "%d MB of memory", peak>>20)
		fault(info == 0 || info > 100*time.Millisecond, "INFO of all in %v (0 is never)", info)
		fault(ping == 0 || ping > 100*time.Millisecond, "PING of all in %v (0 is never)", ping)
		fault(n.took > 2*time.Second, "ready after %v", n.took)
		fault(stopped > 3*time.Second, "stopped in %v", stopped)
		fault(quiet > 0.05, "%.1f %% of a core while nothing happens", 100*quiet)
		return faults
	})
}

// deployAll deploys functions f0, f1 and so on of one bundle.
func deployAll(t *testing.T, s *shelf, functions int) {
	t.Helper()
	var all sync.WaitGroup
	next := make(chan int)
	for range 8 {
		all.Go(func() {
			for i := range next {
				s.deploy(t, web(mayfly.Name(fmt.Sprintf("f%d", i))))
			}
		})
	}
	for i := range functions {
		next <- i
	}
	close(next)
	all.Wait()
}

// gather asks all micro services and returns how long it took until so many had
// answered, or 0 if they did not within a second.
func gather(t *testing.T, nc *nats.Conn, verb string, want int) time.Duration {
	t.Helper()
	inbox := nats.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	began := time.Now()
	if err := nc.PublishRequest(mayfly.SubjectMicro+"."+verb, inbox, nil); err != nil {
		t.Fatal(err)
	}
	for range want {
		if _, err := sub.NextMsg(time.Until(began.Add(time.Second))); err != nil {
			return 0
		}
	}
	return time.Since(began)
}

// cpuOf returns how much of a core the node's process takes, looked at for d.
func cpuOf(t *testing.T, n *started, d time.Duration) float64 {
	t.Helper()
	before := n.cpu(t)
	<-time.After(d)
	return (n.cpu(t) - before).Seconds() / d.Seconds()
}

// cpu returns the processor time that the node's process has used, as Linux shows
// it.
func (n *started) cpu(t *testing.T) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.process.Process.Pid))
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// The promise: with twice the clients that a function has places for, the excess is
// refused within 50 ms and the function does at least 80 % of what it can.
func TestFireOverloadedFunctionStaysUseful(t *testing.T) {
	work := 20 * time.Millisecond
	if raceDetector {
		work *= 5
	}
	n := start(t, options(t))
	const places = 16 // half of them in the queue
	set(t, n, web("busy", func(f *mayfly.Unit) {
		f.Concurrency, f.Wait, f.Instances = places/2, places/2, mayfly.Instances{Max: 1}
	}), t.TempDir())
	l := load{url: n.Gateway + "/fn/busy/wait/" + work.String(), client: newClient(t)}
	measured(t, func() (faults []string) {
		const d = 3 * time.Second
		l.clients(places, time.Second, 5*time.Millisecond) // warm
		at := l.clients(places, d, 5*time.Millisecond)
		peak := float64(len(at)-count(at, failed)) / d.Seconds()
		if n := count(at, failed); n > 0 {
			faults = append(faults, fmt.Sprintf("%d calls failed with a place for each: %v", n, tally(at)))
		}
		twice := l.clients(2*places, d, 5*time.Millisecond)
		good := float64(len(twice)-count(twice, failed)) / d.Seconds()
		refused := filter(twice, func(o outcome) bool { return o.status == http.StatusTooManyRequests })
		t.Logf("peak %.0f/s; with twice the clients %.0f/s (%.0f %%) and %v; refused p50 %v, p99 %v",
			peak, good, 100*good/peak, tally(twice), quantile(refused, 0.5), quantile(refused, 0.99))
		if good < 0.8*peak {
			faults = append(faults, fmt.Sprintf("answered %.0f/s of %.0f/s, want 80 %%", good, peak))
		}
		if p99 := quantile(refused, 0.99); len(refused) == 0 || p99 > 50*time.Millisecond {
			faults = append(faults, fmt.Sprintf("%d refused, p99 after %v, want 50 ms", len(refused), p99))
		}
		if rest := count(twice, failed) - len(refused); rest > 0 {
			faults = append(faults, fmt.Sprintf("%d calls were neither answered nor refused: %v", rest, tally(twice)))
		}
		return faults
	})
}
