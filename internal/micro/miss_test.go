package micro

import (
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go"
)

// An instance that is busy answers nobody and is still there; one that is gone the
// server knows of.
func TestSilentInstanceIsKeptWhileItIsSubscribed(t *testing.T) {
	t.Parallel()
	b, err := bus.Open(t.Context(), bus.Options{Server: &bus.ServerOptions{Store: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	nc, err := nats.Connect(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	asked, err := nc.SubscribeSync("$SRV.PING.busy.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}

	busy, left, fresh := key{"busy", "1"}, key{"left", "2"}, key{"fresh", "3"}
	known := map[key]*instance{
		busy:  {service: mayfly.Service{Name: "busy", ID: "1"}, round: 1},
		left:  {service: mayfly.Service{Name: "left", ID: "2"}, round: 1},
		fresh: {service: mayfly.Service{Name: "fresh", ID: "3"}, round: 5},
	}
	d := &Directory{bus: b, gone: make(chan key, maxChecks)} // its goroutine is this test
	if d.miss(known, 6) || len(known) != 3 {
		t.Errorf("silence alone has changed the picture: %v", known)
	}
	if at := <-d.gone; at != left {
		t.Errorf("%v is gone, want %v", at, left)
	}
	if _, err := asked.NextMsg(10 * time.Second); err != nil {
		t.Errorf("the busy instance was not asked: %v", err)
	}
	// Whatever the server said of the other two has come before this: replies keep
	// their order.
	if answers, err := b.Gather(t.Context(), "nobody.here"); err != nil || len(answers) != 0 {
		t.Fatalf("%d answers, error %v", len(answers), err)
	}
	if len(d.gone) != 0 {
		t.Errorf("%v is gone too", <-d.gone)
	}
	if !d.miss(known, 5+missedRounds) || known[busy] != nil || known[fresh] == nil {
		t.Errorf("after %d silent rounds: %v", missedRounds, known)
	}
}

// What is known of a frozen node keeps calls away from it until NATS drops it.
func TestFunctionOfASilentNodeIsKept(t *testing.T) {
	t.Parallel()
	at := key{"hello", "a-hello-1"}
	known := map[key]*instance{at: {node: &node{silent: true}, round: 1}}
	b, err := bus.Open(t.Context(), bus.Options{Server: &bus.ServerOptions{Store: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	d := &Directory{bus: b, gone: make(chan key, 1)}
	if d.miss(known, 10*missedRounds) || known[at] == nil {
		t.Error("it is forgotten, though it may be subscribed")
	}
	if gone := <-d.gone; gone != at { // it is not: the server says so
		t.Errorf("%v is gone, want %v", gone, at)
	}
}
