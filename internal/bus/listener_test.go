package bus_test

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go"
)

func TestListenerKeepsWhatItWasToldWithoutAConnection(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	l, err := b.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	old, added := bus.Interest{Subject: "old", Queue: "q"}, bus.Interest{Subject: "added", Queue: "q"}
	if err := l.Change([]bus.Interest{old}, nil); err != nil {
		t.Fatal(err)
	}
	l.Cut()
	if err := l.Change([]bus.Interest{added}, []bus.Interest{old}); err != nil {
		t.Errorf("change without a connection: %v", err)
	}
	heard := func(subject mayfly.Subject) bool {
		_, err := b.Call(t.Context(), mayfly.Call{Subject: subject})
		return err == nil
	}
	go func() {
		for {
			in, ok := l.Next(t.Context())
			if !ok {
				return
			}
			_ = in.Respond(nil)
		}
	}()
	eventually(t, "the subject that was added is heard", func() bool { return heard("added") })
	if heard("old") {
		t.Error("the subject that was dropped is heard")
	}
}

// A node that stops drops its interest while calls are on their way to it.
func TestDroppedInterestLosesNoCall(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	interest := bus.Interest{Subject: "fn.echo", Queue: "q"}
	answer := func(ctx context.Context, l *bus.Listener) {
		for {
			in, ok := l.Next(ctx)
			if !ok {
				return
			}
			_ = in.Respond(nil)
		}
	}
	listen := func() *bus.Listener {
		l, err := b.Listen(t.Context(), interest)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var answering, calling sync.WaitGroup
	stays, stop := context.WithCancel(context.Background())
	other := listen()
	answering.Go(func() { answer(stays, other) })
	var calls, lost atomic.Int64
	done := make(chan struct{})
	for range 16 {
		calling.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				calls.Add(1)
				if _, err := b.Call(t.Context(), mayfly.Call{Subject: "fn.echo", Deadline: time.Now().Add(5 * time.Second)}); err != nil {
					lost.Add(1)
				}
			}
		})
	}
	for range 40 { // each takes half of the calls, then leaves
		l := listen()
		ctx, leave := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			answer(ctx, l)
		}()
		for goal := calls.Load() + 50; calls.Load() < goal && lost.Load() == 0; {
			runtime.Gosched()
		}
		if err := l.Change(nil, []bus.Interest{interest}); err != nil {
			t.Error(err)
		}
		leave()
		<-ended
		l.Close()
	}
	close(done)
	calling.Wait()
	stop()
	answering.Wait()
	other.Close()
	if lost.Load() > 0 {
		t.Errorf("%d of %d calls were lost", lost.Load(), calls.Load())
	}
}

// The clocks of two nodes may differ by more than a call's timeout.
func TestTimeoutCountsByTheReceiversClock(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	l, err := b.Listen(t.Context(), bus.Interest{Subject: "fn.echo"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	nc := natstest.Connect(t, b)
	past := strconv.FormatInt(time.Now().Add(-time.Hour).UnixMilli(), 10)
	for _, tt := range []struct {
		name, timeout, deadline string
		left                    time.Duration // about; 0 if there is no deadline
	}{
		{"a clock that is behind", "30000", past, 30 * time.Second},
		{"a caller that knows no timeout", "", past, -time.Hour},
		{"neither", "", "", 0},
		{"nothing left", "-5", past, -5 * time.Millisecond},
		{"less than nothing", "-9223372036854775808", past, -time.Millisecond},
		{"no number", "soon", "", 0},
		{"beyond all time", "9223372036854775807", past, 365 * 24 * time.Hour},
	} {
		m := nats.NewMsg("fn.echo")
		for name, value := range map[string]string{mayfly.HeaderTimeout: tt.timeout, mayfly.HeaderDeadline: tt.deadline} {
			if value != "" {
				m.Header.Set(name, value)
			}
		}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		in, _ := l.Next(t.Context())
		deadline := in.Call().Deadline
		if deadline.IsZero() != (tt.left == 0) || tt.left != 0 && (time.Until(deadline)-tt.left).Abs() > 10*time.Second {
			t.Errorf("%s: deadline %v, want %v from now", tt.name, deadline, tt.left)
		}
	}
}

// A path without its slash is another one than the root to who serves files.
func TestListenerKeepsThePath(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	l, err := b.Listen(t.Context(), bus.Interest{Subject: "fn.site", Queue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var sent sync.WaitGroup
	defer sent.Wait()
	for _, tt := range []struct{ method, path, want string }{{"GET", "/", "/"}, {"GET", "", ""}, {"GET", "/a", "/a"}, {"", "", "/"}} {
		sent.Go(func() {
			if _, err := b.Call(t.Context(), mayfly.Call{Subject: "fn.site", Method: tt.method, Path: tt.path}); err != nil {
				t.Error(err)
			}
		})
		in, ok := l.Next(t.Context())
		if !ok {
			t.Fatal("no call")
		}
		if got := in.Call().Path; got != tt.want {
			t.Errorf("%s %q arrives with the path %q", tt.method, tt.path, got)
		}
		if err := in.Respond(nil); err != nil {
			t.Error(err)
		}
	}
}
