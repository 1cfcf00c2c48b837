package bus_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go"
)

// A service answers in any order, some twice, some never and some only when the
// caller has given up.
func TestRepliesReachTheirCalls(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)

	const callers, each, kinds = 64, 40, 4
	const (
		once = iota
		twice
		never
		late
	)
	var mu sync.Mutex
	held := map[string]*nats.Msg{} // late ones, until their caller has left
	var batch []*nats.Msg
	natstest.Serve(t, nc, "chaos", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		switch m.Data[0] - '0' {
		case never:
			return
		case late:
			held[string(m.Data)] = m
			return
		case twice:
			batch = append(batch, m, m)
		default:
			batch = append(batch, m)
		}
		if len(batch) < 8 {
			return
		}
		rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
		for _, m := range batch {
			m.Respond(m.Data)
		}
		batch = batch[:0]
	})
	// What waits for a batch to fill is pushed out by calls of nobody's concern.
	pushed := make(chan struct{})
	var pushing sync.WaitGroup
	pushing.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-pushed:
				return
			case <-tick.C:
				nc.PublishRequest("chaos", "nowhere", []byte("0 push"))
			}
		}
	})

	var calls sync.WaitGroup
	for i := range callers {
		calls.Go(func() {
			for j := range each {
				kind := (i + j) % kinds
				body := fmt.Sprintf("%d %d %d", kind, i, j)
				c := call("chaos", body)
				if kind == never || kind == late {
					c.Deadline = time.Now().Add(20 * time.Millisecond)
				}
				reply, err := b.Call(t.Context(), c)
				switch {
				case kind == never || kind == late:
					if mayfly.CodeOf(err) != mayfly.Timeout || err == nil {
						t.Errorf("call %q: reply %q, error %v, want Timeout", body, reply.Body, err)
					}
				case err != nil:
					t.Errorf("call %q: %v", body, err)
				case string(reply.Body) != body:
					t.Errorf("call %q got the reply to %q", body, reply.Body)
				}
				if kind == late { // now, into the middle of the others' calls
					mu.Lock()
					if m := held[body]; m != nil {
						m.Respond([]byte("late " + body))
					}
					mu.Unlock()
				}
			}
		})
	}
	calls.Wait()
	close(pushed)
	pushing.Wait()
	eventually(t, "nobody waits any more", func() bool { return b.Stats().Waiting == 0 })
	if n := b.Stats().Inboxes; n != 0 {
		t.Errorf("%d listeners left", n)
	}
	// A late reply and a second one find nobody. The twice-answered are certain;
	// a late call may be lost before the service is held.
	eventually(t, "late replies are counted", func() bool { return b.Stats().Late >= callers*each/kinds })
}
