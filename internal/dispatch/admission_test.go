package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly"
)

// A queue is a service as NATS shows it: calls wait in line, for ever, also those
// whose caller has left.
type queue struct {
	line   chan *waiting
	frozen atomic.Pointer[chan struct{}] // closed when the workers go on; nil if they work
	most   atomic.Int64                  // in line at once
	stop   func()
}

type waiting struct{ done chan struct{} }

// newQueue starts workers that take that long for each call.
func newQueue(workers int, work func() time.Duration) *queue {
	q := &queue{line: make(chan *waiting, 1<<20)}
	end := make(chan struct{})
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				select {
				case w := <-q.line:
					if frozen := q.frozen.Load(); frozen != nil {
						<-*frozen
					}
					time.Sleep(work()) // in a bubble: it costs nothing
					close(w.done)
				case <-end:
					return
				}
			}
		})
	}
	q.stop = func() { close(end); all.Wait() }
	return q
}

// Call implements Caller.
func (q *queue) Call(ctx context.Context, c mayfly.Call) (mayfly.Reply, error) {
	w := &waiting{make(chan struct{})}
	q.line <- w
	q.most.Store(max(q.most.Load(), int64(len(q.line))))
	late := time.NewTimer(time.Until(c.Deadline))
	defer late.Stop()
	select {
	case <-w.done:
		return mayfly.Reply{Status: 200}, nil
	case <-late.C:
		return mayfly.Reply{}, mayfly.Errorf(mayfly.Timeout, "no reply")
	case <-ctx.Done():
		return mayfly.Reply{}, mayfly.Errorf(mayfly.Timeout, "left: %w", ctx.Err())
	}
}

func (q *queue) Send(context.Context, mayfly.Call) error { return nil }
func (q *queue) MaxPayload() int64                       { return 1 << 20 }
func (q *queue) Ready() error                            { return nil }

// A tally counts what became of calls.
type tally struct {
	answered, refused, lost atomic.Int64
	slowest                 atomic.Int64 // refusal, in nanoseconds
}

func (n *tally) call(a *admission, q *queue, timeout time.Duration) {
	began := time.Now()
	_, err := a.call(context.Background(), q, "s", mayfly.Call{Deadline: began.Add(timeout)})
	switch {
	case err == nil:
		n.answered.Add(1)
	case mayfly.CodeOf(err) == mayfly.Exhausted:
		n.refused.Add(1)
		n.slowest.Store(max(n.slowest.Load(), int64(time.Since(began))))
	default:
		n.lost.Add(1)
	}
}

// openLoop makes that many calls a second for d and returns when all are over.
func (n *tally) openLoop(a *admission, q *queue, timeout time.Duration, rate int, d time.Duration) {
	var all sync.WaitGroup
	for range int(d.Seconds() * float64(rate)) {
		all.Go(func() { n.call(a, q, timeout) })
		time.Sleep(time.Second / time.Duration(rate))
	}
	all.Wait()
}

// closedLoop lets that many clients make one call after the other for d.
func (n *tally) closedLoop(a *admission, q *queue, timeout time.Duration, clients int, d time.Duration) {
	end := time.Now().Add(d)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for time.Now().Before(end) {
				n.call(a, q, timeout)
				time.Sleep(time.Microsecond) // so that refusals take time, too
			}
		})
	}
	all.Wait()
}

func always(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

func between(least, most time.Duration) func() time.Duration {
	return func() time.Duration { return least + rand.N(most-least) }
}

// Twice what a service can do, for longer than its timeout: it must stay as busy
// as ever with calls that somebody still waits for.
func TestAdmissionKeepsAnOverloadedServiceUseful(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		workers int
		work    time.Duration
		timeout time.Duration
		times   int // its capacity
		most    int // calls on their way, ever
	}{
		// Each call costs this machine some 20 us, so the services are slower than some.
		{"4 workers of 5 ms", 4, 5 * time.Millisecond, 5 * time.Second, 2, 10_000},
		{"ten times too much", 4, 8 * time.Millisecond, 5 * time.Second, 10, 2_500},
		{"a short timeout", 4, 5 * time.Millisecond, time.Second, 2, 10_000},
		{"a long timeout", 4, 5 * time.Millisecond, 30 * time.Second, 2, 10_000},
		{"1 worker of 10 ms", 1, 10 * time.Millisecond, 5 * time.Second, 2, 10_000},
		{"1 worker of 50 ms", 1, 50 * time.Millisecond, 5 * time.Second, 2, 10_000},
		{"100 workers of 100 ms", 100, 100 * time.Millisecond, 5 * time.Second, 2, 10_000},
		{"100 workers of 1 s", 100, time.Second, 20 * time.Second, 2, 10_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, q, n := newAdmission(tt.most), newQueue(tt.workers, always(tt.work)), &tally{}
				defer q.stop()
				d := min(2*tt.timeout, 20*time.Second)
				capacity := float64(tt.workers) / tt.work.Seconds()
				n.openLoop(a, q, tt.timeout, int(capacity)*tt.times, d)
				useful := float64(n.answered.Load()) / (capacity * d.Seconds())
				t.Logf("answered %.0f %% of capacity, %d refused, %d lost, %d in line at most, limit %d", 100*useful, n.refused.Load(), n.lost.Load(), q.most.Load(), a.of("s").limit.Load())
				if useful < 0.8 {
					t.Errorf("answered %.0f %% of what the service can do, want 80", 100*useful)
				}
				if n.refused.Load() == 0 || n.slowest.Load() > 0 {
					t.Errorf("%d refused, the slowest after %s: want many, at once", n.refused.Load(), time.Duration(n.slowest.Load()))
				}
				again := &tally{}
				again.openLoop(a, q, tt.timeout, max(1, int(capacity/2)), 2*time.Second)
				if again.refused.Load() > 0 || again.lost.Load() > 0 {
					t.Errorf("with half of what it can do %d calls are refused and %d lost", again.refused.Load(), again.lost.Load())
				}
			})
		})
	}
}

func TestAdmissionRefusesNothingInNormalUse(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Second
	for _, tt := range []struct {
		name    string
		workers int
		work    func() time.Duration
		use     func(*tally, *admission, *queue)
	}{
		{"256 clients of a fast service", 1, always(100 * time.Microsecond), func(n *tally, a *admission, q *queue) {
			n.closedLoop(a, q, timeout, 256, 3*time.Second)
		}},
		{"64 clients of a service of 1 to 5 s with workers for all", 1000, between(time.Second, 5*time.Second), func(n *tally, a *admission, q *queue) {
			n.closedLoop(a, q, timeout, 64, 40*time.Second)
		}},
		{"500 clients of it", 1000, between(time.Second, 5*time.Second), func(n *tally, a *admission, q *queue) {
			n.closedLoop(a, q, timeout, 500, 40*time.Second)
		}},
		{"the same after a pause", 1000, between(time.Second, 5*time.Second), func(n *tally, a *admission, q *queue) {
			n.closedLoop(a, q, timeout, 500, 20*time.Second)
			time.Sleep(time.Minute)
			n.closedLoop(a, q, timeout, 500, 20*time.Second)
		}},
		{"a service that stops for 2 s", 4, always(time.Millisecond), func(n *tally, a *admission, q *queue) {
			n.closedLoop(a, q, timeout, 200, time.Second)
			goOn := make(chan struct{})
			q.frozen.Store(&goOn)
			time.AfterFunc(2*time.Second, func() {
				q.frozen.Store(nil)
				close(goOn)
			})
			n.closedLoop(a, q, timeout, 200, 4*time.Second)
		}},
		{"a burst of 1,000 at once, now and then", 4, always(2 * time.Millisecond), func(n *tally, a *admission, q *queue) {
			for range 5 {
				var all sync.WaitGroup
				for range 1000 {
					all.Go(func() { n.call(a, q, timeout) })
				}
				all.Wait()
				time.Sleep(3 * time.Second)
			}
		}},
		{"few clients of a service that answers one at a time", 1, always(400 * time.Millisecond), func(n *tally, a *admission, q *queue) {
			n.closedLoop(a, q, timeout, 20, 30*time.Second)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, q, n := newAdmission(10_000), newQueue(tt.workers, tt.work), &tally{}
				defer q.stop()
				tt.use(n, a, q)
				if n.refused.Load() > 0 || n.lost.Load() > 0 || n.answered.Load() < 50 {
					t.Errorf("%d answered, %d refused, %d lost; want none but answered", n.answered.Load(), n.refused.Load(), n.lost.Load())
				}
			})
		})
	}
}

// A machine that is busy with something else now and then makes a queue look like
// a service that is slow by nature. That must not undo the limit.
func TestAdmissionHoldsWhenTheServiceSlowsDown(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{700 * time.Millisecond, 3 * time.Second, 7 * time.Second} {
		t.Run(every.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				a, n := newAdmission(10_000), &tally{}
				q := newQueue(4, func() time.Duration {
					if time.Since(began)/every%2 == 1 {
						return 10 * time.Millisecond
					}
					return 4 * time.Millisecond
				})
				defer q.stop()
				const rate, d = 1500, 30 * time.Second
				n.openLoop(a, q, 5*time.Second, rate, d)
				t.Logf("%d answered, %d refused, %d lost, %d in line at most, usual %v", n.answered.Load(), n.refused.Load(), n.lost.Load(), q.most.Load(), a.of("s").usual)
				calls, capacity := rate*d.Seconds(), (4/0.004+4/0.010)/2*d.Seconds()
				if lost := float64(n.lost.Load()); lost > calls/20 {
					t.Errorf("%.0f of %.0f calls are lost", lost, calls)
				}
				if answered := float64(n.answered.Load()); answered < 0.8*capacity {
					t.Errorf("%.0f calls are answered, the service can %.0f", answered, capacity)
				}
			})
		})
	}
}

// An endpoint whose calls suddenly take long for a reason of their own is taken
// for overloaded at first. That must not last.
func TestAdmissionLearnsThatAServiceBecameSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var work atomic.Int64
		work.Store(int64(4 * time.Millisecond))
		a, q := newAdmission(10_000), newQueue(1000, func() time.Duration { return time.Duration(work.Load()) })
		defer q.stop()
		(&tally{}).closedLoop(a, q, 5*time.Second, 20, 3*time.Second)
		work.Store(int64(2 * time.Second))
		first, later := &tally{}, &tally{}
		first.openLoop(a, q, 5*time.Second, 200, 15*time.Second)
		later.openLoop(a, q, 5*time.Second, 200, 15*time.Second)
		t.Logf("%d refused in the first 15 s", first.refused.Load())
		if later.refused.Load() > 0 {
			t.Errorf("%d of %d calls are still refused", later.refused.Load(), 15*200)
		}
	})
}

// A hung service costs a few callers their time, not all of them, and is found to
// be back when the first of these few is answered.
func TestAdmissionFindsAHungServiceBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const timeout = 2 * time.Second
		a, q := newAdmission(10_000), newQueue(4, always(time.Millisecond))
		defer q.stop()
		(&tally{}).openLoop(a, q, timeout, 500, 2*time.Second)
		goOn := make(chan struct{})
		q.frozen.Store(&goOn)
		hung := &tally{}
		hung.openLoop(a, q, timeout, 500, 20*time.Second)
		t.Logf("hung: %d refused, %d lost", hung.refused.Load(), hung.lost.Load())
		if hung.answered.Load() > 0 || hung.lost.Load() > 500*4 {
			t.Errorf("%d answered, %d of 10,000 waited in vain", hung.answered.Load(), hung.lost.Load())
		}
		q.frozen.Store(nil)
		close(goOn)
		(&tally{}).openLoop(a, q, timeout, 500, 3*time.Second) // the timeout and what a window takes
		back := &tally{}
		back.openLoop(a, q, timeout, 500, 2*time.Second)
		if back.answered.Load() != 1000 {
			t.Errorf("%d of 1,000 answered after the service is back", back.answered.Load())
		}
	})
}

func TestAdmissionNeverPassesTheCeiling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, q, n := newAdmission(7), newQueue(100, always(time.Second)), &tally{}
		defer q.stop()
		n.closedLoop(a, q, 5*time.Second, 7, 10*time.Second)
		if n.refused.Load() > 0 {
			t.Errorf("%d of 7 at once are refused", n.refused.Load())
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { n.call(a, q, 5*time.Second) })
		}
		all.Wait()
		if n.refused.Load() != 3 {
			t.Errorf("%d of 10 at once are refused, want 3", n.refused.Load())
		}
	})
}

// What says nothing of the target must not count against it, or for it.
func TestAdmissionLearnsFromRepliesAndTimeoutsAlone(t *testing.T) {
	t.Parallel()
	left, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name          string
		err           error
		took          time.Duration
		replies, lost int64
	}{
		{"reply", nil, time.Millisecond, 1, 0},
		{"reply that breaks the protocol", mayfly.Errorf(mayfly.Crashed, "x"), time.Millisecond, 1, 0},
		{"timeout", mayfly.Errorf(mayfly.Timeout, "x"), time.Second, 0, 1},
		{"client that left", mayfly.Errorf(mayfly.Timeout, "x: %w", left.Err()), time.Millisecond, 0, 0},
		{"nobody there", mayfly.Errorf(mayfly.Unavailable, "x: %w", mayfly.ErrNobody), time.Millisecond, 0, 0},
		{"no server", mayfly.Errorf(mayfly.Unavailable, "x"), time.Millisecond, 0, 0},
		{"too large", mayfly.Errorf(mayfly.Invalid, "x: %w", mayfly.ErrTooLarge), time.Millisecond, 0, 0},
		{"foreign", errors.New("x"), time.Millisecond, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			target := newAdmission(1).of("s")
			if err := target.enter("s"); err != nil {
				t.Fatal(err)
			}
			target.leave(0, tt.took, time.Second, tt.err)
			if target.replies.Load() != tt.replies || target.lost.Load() != tt.lost || target.inFlight.Load() != 0 {
				t.Errorf("counted %d replies, %d lost, %d on their way", target.replies.Load(), target.lost.Load(), target.inFlight.Load())
			}
		})
	}
}

func TestAdmissionForgetsTargetsWithoutCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(10)
		if err := a.of("busy").enter("busy"); err != nil {
			t.Fatal(err)
		}
		busy, idle := a.of("busy"), a.of("idle")
		time.Sleep(2 * forgetAfter)
		a.of("new")
		if a.of("busy") != busy {
			t.Error("a target with a call on its way is forgotten")
		}
		if a.of("idle") == idle {
			t.Error("a target without calls is remembered")
		}
	})
}

func TestAdmissionFreesThePlaceOfACallThatPanicked(t *testing.T) {
	t.Parallel()
	a := newAdmission(1)
	func() {
		defer func() { _ = recover() }()
		_, _ = a.call(t.Context(), nil, "s", mayfly.Call{})
	}()
	if n := a.of("s").inFlight.Load(); n != 0 {
		t.Errorf("%d calls on their way", n)
	}
}

func BenchmarkAdmission(b *testing.B) {
	a := newAdmission(10_000)
	c := mayfly.Call{Deadline: time.Now().Add(time.Hour)}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := a.call(b.Context(), answers{}, "s", c); err != nil {
				b.Error(err)
			}
		}
	})
}

// answers is a Caller that answers at once.
type answers struct{ *queue }

func (answers) Call(context.Context, mayfly.Call) (mayfly.Reply, error) {
	return mayfly.Reply{Status: 200}, nil
}
