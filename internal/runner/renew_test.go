package runner

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
)

// renewable returns a pool with n ready instances.
func renewable(n int, now time.Time) *pool {
	p := newPool(mayfly.Limits{Concurrency: 1, Instances: mayfly.Instances{Min: n, Max: n, Idle: mayfly.Duration(time.Minute)}})
	for _, s := range p.settle(now).start {
		p.started(s, now)
	}
	return p
}

func TestRenewalReplacesOneByOne(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	p := renewable(3, now)
	busy := p.take(now)
	r, o := p.renew(now)
	for i := range 3 {
		if len(o.start) != 1 || len(o.stop) != 0 || p.count(ready) != 3 {
			t.Fatalf("replacement %d: %d start, %d stop, %d are ready", i, len(o.start), len(o.stop), p.count(ready))
		}
		fresh := o.start[0]
		o, _ = p.started(fresh, now)
		if i < 2 && (len(o.stop) != 1 || o.stop[0] == busy) {
			t.Fatalf("replacement %d: idle instances go first: %v", i, o.stop)
		}
		for _, s := range o.stop {
			after := p.stopped(s, now)
			o.start = append(o.start, after.start...)
		}
		o.stop = nil
	}
	if !closed(r.done) || r.err != nil {
		t.Fatal("the renewal has not ended", r.err)
	}
	if busy.phase != retiring {
		t.Fatalf("the busy instance is %v", busy.phase)
	}
	if o := p.leave(busy, now); len(o.stop) != 1 || o.stop[0] != busy {
		t.Fatal("it does not stop after its call")
	}
}

func TestRenewalKeepsTheOldWhileTheNewFails(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	p := renewable(1, now)
	r, o := p.renew(now)
	broken := errors.New("broken")
	p.failed(o.start[0], broken, now)
	if !closed(r.done) || !errors.Is(r.err, broken) {
		t.Fatal("nobody learns of the failure:", r.err)
	}
	if p.take(now) == nil {
		t.Fatal("the old instance takes no calls")
	}
}

// A restart that failed is not tried again once nobody calls the function.
func TestFailedRenewalRests(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	p := newPool(mayfly.Limits{Concurrency: 1, Instances: mayfly.Instances{Max: 1, Idle: mayfly.Duration(time.Minute)}})
	_, o, _ := p.join(now)
	old := o.start[0]
	p.started(old, now)
	p.leave(old, now)
	_, o = p.renew(now)
	for until := now.Add(time.Minute); now.Before(until); {
		for len(o.start) > 0 {
			o = p.failed(o.start[0], errors.New("broken"), now)
		}
		due := p.due(now)
		if due.IsZero() {
			t.Fatal("nothing is due while the old instance is idle")
		}
		now = due
		o = p.settle(now)
	}
	if len(o.start) != 0 || len(o.stop) != 1 || o.stop[0] != old {
		t.Fatalf("after Idle %d start, and %d stop, want the old one alone", len(o.start), len(o.stop))
	}
	if o = p.stopped(old, now.Add(time.Hour)); len(o.start) != 0 || !p.due(now.Add(time.Hour)).IsZero() {
		t.Fatal("it does not rest")
	}

	// What is to be kept warm stays, and is tried again.
	p = renewable(1, now)
	_, o = p.renew(now)
	for len(o.start) > 0 { // the first crash is forgiven
		o = p.failed(o.start[0], errors.New("broken"), now)
	}
	now = now.Add(time.Hour)
	if o = p.settle(now); len(o.start) != 1 || len(o.stop) != 0 {
		t.Fatalf("%d start and %d stop, want 1 and 0", len(o.start), len(o.stop))
	}
}

func TestRenewalStartsWhatFailed(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	p := newPool(mayfly.Limits{Concurrency: 1, Instances: mayfly.Instances{Max: 1}})
	_, o, _ := p.join(now)
	o = p.failed(o.start[0], errors.New("no secret"), now)
	for len(o.start) > 0 { // the first crash is forgiven
		o = p.failed(o.start[0], errors.New("no secret"), now)
	}
	r, o := p.renew(now)
	if len(o.start) != 1 || closed(r.done) {
		t.Fatalf("%d start, want 1", len(o.start))
	}
	p.started(o.start[0], now)
	if !closed(r.done) || r.err != nil || p.failure != nil {
		t.Fatal(r.err, p.failure)
	}
}

func TestRestartGivesNewInstancesAndKeepsOldOnes(t *testing.T) {
	t.Parallel()
	var refuse atomic.Bool
	r := run(t, &program{call: says, start: func(context.Context, Spec) error {
		if refuse.Load() {
			return errors.New("no more")
		}
		return nil
	}})
	set(t, r, hello(1, func(u *mayfly.Unit) { u.Instances.Min = 1 }))
	call := func() string {
		t.Helper()
		reply, err := r.Call(t.Context(), "hello", &mayfly.Call{})
		if err != nil {
			t.Fatal(err)
		}
		return string(reply.Body)
	}
	call()
	before := state(t, r, "hello").Instances[0].ID
	if n, err := r.Restart(t.Context(), "hello"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	call()
	for _, in := range state(t, r, "hello").Instances {
		if in.ID == before && in.Phase == "ready" {
			t.Error("the old instance still takes calls")
		}
	}
	refuse.Store(true)
	if _, err := r.Restart(t.Context(), "hello"); err == nil {
		t.Error("a restart that cannot start is no error")
	}
	call()
	if _, err := r.Restart(t.Context(), "nobody"); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Error(err)
	}
}
