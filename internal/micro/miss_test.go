package micro

import (
	"log/slog"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
)

// An instance that is busy answers nobody and is still there; one that is gone the
// server knows of.
func TestSilentInstanceIsKeptWhileItIsSubscribed(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
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
	d := &Directory{bus: natstest.New(t), gone: make(chan key, 1)}
	if d.miss(known, silentRounds) || known[at] == nil {
		t.Error("it is forgotten, though it may be subscribed")
	}
	if gone := <-d.gone; gone != at { // it is not: the server says so
		t.Errorf("%v is gone, want %v", gone, at)
	}
}

// While anybody subscribes to everything, the server takes each instance for subscribed. One
// of an old revision is forgotten all the same, and its silence is not its node's.
func TestReplacedInstanceIsForgottenWithoutTheServer(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	if _, err := nc.SubscribeSync(">"); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	old, current, other := key{"hello", "a-hello-1"}, key{"hello", "a-hello-2"}, key{"hello", "c-hello-2"}
	a, c := &node{id: "a", at: old, asked: true}, &node{id: "c", at: other}
	known := map[key]*instance{old: {node: a, round: 1}, current: {node: a, round: 2}, other: {node: c, round: 2}}
	d := &Directory{
		bus: b, log: slog.New(slog.DiscardHandler), gone: make(chan key, 9), answers: make(chan []byte, 9),
		nodes: map[string]*node{"a": a, "c": c},
	}
	if d.beat(known) || a.silent || a.at != current {
		t.Errorf("the silence of an old instance counts for its node, asked at %v", a.at)
	}
	if !d.beat(known) || !a.silent {
		t.Error("the silence of the new one does not count")
	}
	if d.miss(known, 3) || known[old] == nil {
		t.Error("the old instance is forgotten after one round")
	}
	if !d.miss(known, 4) || known[old] != nil || known[current] == nil || known[other] == nil {
		t.Errorf("after %d rounds: %v", replacedRounds, known)
	}
	if !d.miss(known, silentRounds+4) || len(known) != 0 {
		t.Errorf("after %d rounds: %v", silentRounds, known)
	}
}
