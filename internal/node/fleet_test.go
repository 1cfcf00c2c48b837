//go:build unix

package node_test

import (
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
)

// A fleet is a gateway and three nodes on its NATS that run the function hello, each a
// process of its own.
type fleet struct {
	gateway *started
	nodes   [3]*started
	folders [3]string
}

func startFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{gateway: startNode(t, t.TempDir())}
	s := openShelf(t, f.gateway.NATS, t.TempDir())
	s.deploy(t, web("hello", func(u *mayfly.Unit) {
		u.Labels = map[string]string{"runs": "functions"}
		u.Instances.Min = 1
	}))
	for i := range f.nodes {
		f.folders[i] = t.TempDir()
		f.start(t, i)
	}
	awaitStatus(t, f.url("revision"), http.StatusOK)
	return f
}

// start starts a node, and returns when it answers.
func (f *fleet) start(t *testing.T, i int) {
	t.Helper()
	f.nodes[i] = startNode(t, f.folders[i], func(p *nodePart) {
		p.NATS, p.Labels = f.gateway.NATS, []string{"runs=functions"}
	})
	awaitStatus(t, f.nodes[i].Gateway+"/fn/hello/revision", http.StatusOK)
}

// url returns the address of a call by way of the gateway.
func (f *fleet) url(path string) string { return f.gateway.Gateway + "/fn/hello/" + path }

// Nodes that stop and start again one after the other cost nobody a call.
func TestRollingRestartFailsNoCall(t *testing.T) {
	t.Parallel()
	rollNodes(t, 100, 6)
}

// rollNodes sends that many SIGTERMs to nodes that get that many calls a second.
func rollNodes(t *testing.T, rate, signals int) {
	t.Helper()
	f := startFleet(t)
	stop := make(chan struct{})
	var (
		loading  sync.WaitGroup
		outcomes []outcome
	)
	l := load{url: f.url("revision"), rate: rate, client: newClient(t)}
	loading.Go(func() { outcomes = l.run(t, patience*time.Duration(signals), stop) })
	for i := range signals {
		which := i % len(f.nodes)
		f.nodes[which].end(t, syscall.SIGTERM)
		f.start(t, which)
	}
	close(stop)
	loading.Wait()
	lost := filter(outcomes, failed)
	t.Logf("%d calls over %d restarts: %v; p99 %v, slowest %v", len(outcomes), signals, tally(outcomes), quantile(outcomes, 0.99), quantile(outcomes, 1))
	if len(lost) > 0 {
		t.Errorf("%d calls failed, the first %+v", len(lost), lost[0])
	}
}

// A node that is killed, or freezes, takes only the calls with it that it had in hand,
// and those fail within seconds.
func TestDeadNodeCostsItsCallsAlone(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Run(s.String(), func(t *testing.T) {
			for _, fault := range loseNode(t, s, 50) {
				t.Error(fault)
			}
		})
	}
}

// noticed is how long a dead node may hold calls.
const noticed = 3 * time.Second

// loseNode sends a signal that ends one node's answers while the nodes get that many quick
// calls a second, and some that take long. It returns what is wrong.
func loseNode(t *testing.T, s syscall.Signal, rate int) (faults []string) {
	t.Helper()
	const (
		last = 10 * time.Second // the load
		when = 4 * time.Second  // the signal
	)
	f := startFleet(t)
	dead := f.nodes[0].process.Process
	var (
		loading     sync.WaitGroup
		quick, slow []outcome
	)
	client := newClient(t)
	began := time.Now()
	loading.Go(func() { quick = load{url: f.url("revision"), rate: rate, client: client}.run(t, last, nil) })
	loading.Go(func() { slow = load{url: f.url("wait/4s"), rate: 8, client: client}.run(t, last, nil) })
	<-time.After(when)
	at := time.Since(began)
	if err := dead.Signal(s); err != nil {
		t.Fatal(err)
	}
	loading.Wait()

	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	inHand := count(slow, func(o outcome) bool { return o.due < at && o.due+4*time.Second > at })
	lost := append(filter(quick, failed), filter(slow, failed)...)
	var longest time.Duration
	for _, o := range lost {
		held := o.due + o.took - max(o.due, at)
		longest = max(longest, held)
		if o.status != http.StatusBadGateway && o.status != http.StatusServiceUnavailable || held > noticed {
			fault("a call ended with %d %v after the node was gone: %+v", o.status, held, o)
		}
		// NATS drops a dead node at once, and a frozen one after minutes.
		until := at + 250*time.Millisecond
		if s == syscall.SIGSTOP {
			until = at + noticed
		}
		if o.due > until {
			fault("a call failed that began %v after the node was gone: %+v", o.due-at, o)
		}
	}
	t.Logf("%v: quick %v; long %v, %d of them in hand; the longest was held for %v", s, tally(quick), tally(slow), inHand, longest)
	if n := count(slow, failed); n == 0 {
		fault("no call was in hand")
	}
	if n := count(slow, func(o outcome) bool { return failed(o) && o.due < at }); n >= inHand {
		fault("%d of %d long calls failed: those of other nodes too", n, inHand)
	}
	if s != syscall.SIGSTOP {
		return faults
	}
	if err := dead.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, f.nodes[0].Gateway+"/fn/hello/revision", http.StatusOK)
	if outcomes := (load{url: f.url("revision"), rate: rate, client: client}).run(t, 2*time.Second, nil); count(outcomes, failed) > 0 {
		fault("after it thawed: %v", tally(outcomes))
	}
	return faults
}
