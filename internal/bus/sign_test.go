package bus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go"
)

// A node that dies or freezes takes a call and says nothing more.
func TestSilentCallFailsSoon(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	natstest.Serve(t, nc, "fn.frozen", func(*nats.Msg) {})
	natstest.Serve(t, nc, "frozen", func(*nats.Msg) {})
	natstest.Serve(t, nc, "fn.died", func(m *nats.Msg) {
		m.RespondMsg(&nats.Msg{Header: nats.Header{mayfly.HeaderWorking: {"node-a"}}})
	})
	const timeout = 5 * time.Second
	for _, tt := range []struct {
		name, subject string
		signs         bool // all who can take it send signs
		code          mayfly.Code
		message       string
		most          time.Duration
	}{
		{"after a sign", "fn.died", false, mayfly.Crashed, "node-a stopped answering", 3 * time.Second},
		{"without a sign, where all send some", "fn.frozen", true, mayfly.Unavailable, "does not answer", 3 * time.Second},
		{"without a sign, where some may not", "fn.frozen", false, mayfly.Timeout, "in time", timeout + time.Second},
		{"no function", "frozen", true, mayfly.Timeout, "in time", timeout + time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			_, err := b.Call(t.Context(), mayfly.Call{Subject: mayfly.Subject(tt.subject), Signs: tt.signs, Deadline: began.Add(timeout)})
			took := time.Since(began)
			if err == nil || mayfly.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.message) || mayfly.HintOf(err) == "" {
				t.Errorf("error %v (%v), want %v with %q", err, mayfly.CodeOf(err), tt.code, tt.message)
			}
			if took > tt.most || tt.code == mayfly.Timeout && took < timeout {
				t.Errorf("it failed after %v, want %v at most", took, tt.most)
			}
			if n := b.Stats().Waiting; n > 3 { // the other tests' calls
				t.Errorf("%d calls wait", n)
			}
		})
	}
}

// listen returns a Listener that works on each call for that long.
func listen(t *testing.T, b *bus.Bus, subject string, work time.Duration) {
	t.Helper()
	l, err := b.Listen(t.Context(), bus.Interest{Subject: subject, Queue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, ok := l.Next(t.Context())
			if !ok {
				return
			}
			go func() {
				defer in.Signs("node-a").Stop()
				select {
				case <-time.After(work):
				case <-t.Context().Done():
				}
				_ = in.Respond([]byte("done"))
			}()
		}
	}()
}

func TestCallOfAWorkingNodeIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	listen(t, b, "fn.slow", 2*bus.SilenceLimit)
	c := call("fn.slow", "")
	c.Signs = true
	reply, err := b.Call(t.Context(), c)
	if err != nil || string(reply.Body) != "done" || reply.Header.Get(mayfly.HeaderWorking) != "" {
		t.Errorf("reply %+v, error %v", reply, err)
	}
	if s := b.Stats(); s.Waiting != 0 || s.Late != 0 {
		t.Errorf("%d calls wait, %d late replies", s.Waiting, s.Late)
	}
}

// Signs that were lost on their way to the caller say nothing about the node.
func TestSilenceOfALostConnectionIsNoProof(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	natstest.Serve(t, natstest.Connect(t, b), "fn.slow", func(m *nats.Msg) {
		time.AfterFunc(bus.SilenceLimit+bus.SilenceLimit/2, func() { m.Respond([]byte("done")) })
	})
	b.Deafen()
	c := call("fn.slow", "")
	c.Signs = true
	if reply, err := b.Call(t.Context(), c); err != nil || string(reply.Body) != "done" {
		t.Errorf("reply %+v, error %v", reply, err)
	}
}

// A program that knows no signs takes the first message for the reply.
func TestOnlyThoseWhoAskGetSigns(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	listen(t, b, "fn.slow", 600*time.Millisecond)
	for _, asks := range []bool{false, true} {
		m := nats.NewMsg("fn.slow")
		if asks {
			m.Header.Set(mayfly.HeaderSigns, "1")
		}
		first, err := nc.RequestMsg(m, soonIn)
		if err != nil || (string(first.Data) == "done") == asks || (first.Header.Get(mayfly.HeaderWorking) == "node-a") != asks {
			t.Errorf("asked for signs: %v; first message %+v, error %v", asks, first, err)
		}
	}
}

// A call asks only if its timeout is longer than what signs shorten.
func TestOnlyLongCallsOfFunctionsAskForSigns(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	for _, subject := range []string{"fn.hello", "hello"} {
		natstest.Serve(t, nc, subject, func(m *nats.Msg) { m.Respond([]byte(m.Header.Get(mayfly.HeaderSigns))) })
	}
	for _, tt := range []struct {
		subject string
		timeout time.Duration // 0 for none
		want    string
	}{
		{"fn.hello", 30 * time.Second, "1"},
		{"fn.hello", 0, "1"},
		{"fn.hello", 2 * time.Second, ""},
		{"hello", 30 * time.Second, ""},
	} {
		c := mayfly.Call{Subject: mayfly.Subject(tt.subject), Signs: true}
		if tt.timeout > 0 {
			c.Deadline = time.Now().Add(tt.timeout)
		}
		if reply, err := b.Call(t.Context(), c); err != nil || string(reply.Body) != tt.want {
			t.Errorf("%s within %v: asked %q, error %v, want %q", tt.subject, tt.timeout, reply.Body, err, tt.want)
		}
	}
}

// A quick call ends before its first sign is due, which then costs next to nothing.
func TestQuickCallAllocatesNoSigns(t *testing.T) {
	b := natstest.New(t)
	l, err := b.Listen(t.Context(), bus.Interest{Subject: "fn.quick"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	nc := natstest.Connect(t, b)
	m := &nats.Msg{Subject: "fn.quick", Reply: nc.NewInbox(), Header: nats.Header{mayfly.HeaderSigns: {"1"}}}
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	in, _ := l.Next(t.Context())
	if n := testing.AllocsPerRun(1000, func() { in.Signs("node-a").Stop() }); n > 1 { // the race detector empties pools
		t.Errorf("%v allocations for each call", n)
	}
}
