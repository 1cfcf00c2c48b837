package dispatch

import (
	"context"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
)

// An admission limits the calls in flight to each target, so that an overloaded one
// rejects the excess at once. Without it calls queue in the service's own client,
// which has room for half a million: every one times out, and the service works for
// callers that have left.
//
// NATS does not show that queue. A gateway sees how many calls are in flight, how
// long replies take, and which never arrive. The limit follows from these:
//
//	limit = replies per second * time that a reply may take        (Little's law)
//
// That time is an eighth of the call's timeout, or four times what a reply takes
// under light load if that is longer: a service that is slow by nature and works on
// many calls at once is not limited for it. While replies keep within it, the limit
// only grows. The rules:
//
//   - Nothing is rejected before two bad windows in a row, so a pause of the service
//     or of the network costs no answers.
//   - Slow replies alone never bring the limit below admitFew, and not for long: if
//     replies are as slow with fewer calls, the service has become slow by nature.
//   - Where a fifth of the calls is lost, which is proof, admitLeast is the lowest
//     limit: these few find out when the target is back. Replies may then take at
//     most half the timeout, and for a minute after.
//   - A target whose replies are fast again has its limit back in the next window,
//     or a few windows later.
type admission struct {
	most    int64 // gateway.inflight: no limit is above
	started time.Time
	targets atomic.Pointer[map[string]*target] // replaced whole, so that calls take no lock
	adding  sync.Mutex
}

const (
	admitFew   = 32 // calls that are always allowed, however slow; half of it counts as light load
	admitLeast = 4

	windowLeast = 100 * time.Millisecond
	windowMost  = 500 * time.Millisecond

	// rememberLoss is how long a target that lost calls is held to half its timeout:
	// it is invisible how long its service still works for callers that have left.
	rememberLoss = time.Minute

	// forgetAfter is how long a target without calls is remembered.
	forgetAfter = 10 * time.Minute
)

func newAdmission(most int) *admission {
	a := &admission{most: int64(most), started: time.Now()}
	a.targets.Store(&map[string]*target{})
	return a
}

// A target is what calls have shown of the responders on one subject, or subject
// with wildcards.
type target struct {
	most     int64
	inFlight atomic.Int64
	limit    atomic.Int64

	// Of the present window.
	end     atomic.Int64 // when it is over, as time since the admission's start
	replies atomic.Int64
	waited  atomic.Int64 // for these replies, in all
	lost    atomic.Int64 // calls that timed out
	timeout atomic.Int64 // the shortest of them all

	turning sync.Mutex // held by the one call that ends the window; guards the rest
	began   time.Duration
	usual   time.Duration // what a reply takes under light load; 0 if unknown
	bad     int           // windows in a row, except those that ended with fewer calls in flight

	inFlightBefore int64 // at the end of the last slow window

	grown  time.Duration // when the limit last took a small step up
	lostAt time.Duration // when calls were last lost; 0 if never
	cut    cut
}

// A cut is an experiment: with fewer calls in flight replies must get faster, if it
// was the queue that made them slow.
type cut struct {
	from  int64         // calls in flight before; 0 if no experiment is running
	took  time.Duration // the longest that replies took then
	since time.Duration // when no more than the new limit were in flight
}

// call makes a call through caller if its target has room for it. Errors: those of
// caller, and Exhausted.
func (a *admission) call(ctx context.Context, caller Caller, name string, c mayfly.Call) (_ mayfly.Reply, err error) {
	t := a.of(name)
	if err := t.enter(name); err != nil {
		return mayfly.Reply{}, err
	}
	entered := time.Now()
	defer func() { // also if the caller panics: the place is free again
		now := time.Now()
		t.leave(now.Sub(a.started), now.Sub(entered), c.Deadline.Sub(entered), err)
	}()
	return caller.Call(ctx, c)
}

// of returns the target with that name, which is new if calls went to it never or
// long ago.
func (a *admission) of(name string) *target {
	if t := (*a.targets.Load())[name]; t != nil {
		return t
	}
	a.adding.Lock()
	defer a.adding.Unlock()
	if t := (*a.targets.Load())[name]; t != nil {
		return t
	}
	now := time.Since(a.started)
	all := maps.Clone(*a.targets.Load())
	maps.DeleteFunc(all, func(_ string, t *target) bool {
		return t.inFlight.Load() == 0 && now-time.Duration(t.end.Load()) > forgetAfter
	})
	t := &target{most: a.most, began: now}
	t.limit.Store(a.most)
	t.end.Store(int64(now + windowLeast))
	t.timeout.Store(math.MaxInt64)
	all[name] = t
	a.targets.Store(&all)
	return t
}

// enter counts a call that is about to go to t, or refuses it with the code
// Exhausted. Every enter needs a leave.
func (t *target) enter(name string) error {
	if limit := t.limit.Load(); t.inFlight.Add(1) > limit {
		t.inFlight.Add(-1)
		return mayfly.Errorf(mayfly.Exhausted, "%q is overloaded: %d calls are in flight, as many as it can answer in time", name, limit).
			WithHint("retry later, or run more instances of the service; gateway.inflight caps the limit")
	}
	return nil
}

// leave counts the end of a call that entered: after took of its timeout there
// was a reply, or err. Only replies and timeouts say something about the target, not
// missing responders or clients that left.
func (t *target) leave(now, took, timeout time.Duration, err error) {
	if t.inFlight.Add(-1) == 0 && err == nil && t.limit.Load() < t.most {
		t.lift(now)
	}
	switch {
	case err == nil || mayfly.CodeOf(err) == mayfly.Crashed:
		t.replies.Add(1)
		t.waited.Add(int64(took))
	case mayfly.CodeOf(err) == mayfly.Timeout && took >= timeout:
		t.lost.Add(1)
	default:
		return
	}
	if int64(timeout) < t.timeout.Load() {
		t.timeout.Store(int64(timeout)) // of two at once either will do
	}
	if int64(now) >= t.end.Load() && t.turning.TryLock() {
		if int64(now) >= t.end.Load() {
			t.turn(now)
		}
		t.turning.Unlock()
	}
}

// lift removes the limit: no call is in flight, so there is no queue. After lost
// calls it stays for a while, because the service may still work on those.
func (t *target) lift(now time.Duration) {
	if !t.turning.TryLock() {
		return
	}
	defer t.turning.Unlock()
	if t.lostAt == 0 || now-t.lostAt >= rememberLoss {
		t.bad, t.cut = 0, cut{}
		t.limit.Store(t.most)
	}
}

// turn ends a window: it judges what was seen and begins the next.
func (t *target) turn(now time.Duration) {
	w := window{
		began:    t.began,
		ended:    now,
		replies:  t.replies.Swap(0),
		lost:     t.lost.Swap(0),
		timeout:  time.Duration(t.timeout.Swap(math.MaxInt64)),
		inFlight: t.inFlight.Load(),
	}
	w.took = w.timeout // of calls that are all lost
	if waited := t.waited.Swap(0); w.replies > 0 {
		w.took = time.Duration(waited / w.replies)
	}
	t.limit.Store(t.judge(w))
	t.began = now
	t.end.Store(int64(now + min(max(w.timeout/16, windowLeast), windowMost)))
}

// A window is what was seen of a target for a while.
type window struct {
	began, ended time.Duration // since the admission's start
	replies      int64
	took         time.Duration // a reply, on average
	lost         int64
	timeout      time.Duration
	inFlight     int64 // at the end
}

// judge returns the limit that follows from a window.
func (t *target) judge(w window) int64 {
	if w.replies > 0 {
		t.learn(w)
	}
	limit, least := t.limit.Load(), int64(admitFew)
	longest := max(w.timeout/8, windowLeast, 4*t.usual)
	losing := 4*w.lost > w.replies
	if losing {
		t.lostAt, least = w.ended, admitLeast
	}
	if t.lostAt > 0 && w.ended-t.lostAt < rememberLoss {
		longest = min(longest, w.timeout/2)
	}
	fits := int64(float64(w.replies) * longest.Seconds() / max(w.ended-w.began, time.Millisecond).Seconds())
	switch {
	case w.took <= max(longest/2, t.usual+t.usual/2):
		t.bad = 0
		return min(t.most, max(2*limit, fits))
	case w.took <= longest:
		t.bad = 0
		if w.ended-t.grown < w.took {
			return limit // the effect of the last step is not visible yet
		}
		t.grown = w.ended
		return min(t.most, limit+limit/8+1)
	}
	before := t.inFlightBefore
	t.inFlightBefore = w.inFlight
	if w.inFlight < before-before/16 {
		return limit // it is recovering
	}
	t.bad++
	fits = max(fits, least)
	if t.bad < 2 || fits >= limit || t.cut.from > 0 && !losing {
		return limit
	}
	t.cut = cut{from: min(w.inFlight, limit), took: w.took, since: w.ended}
	return fits
}

// learn updates what a reply usually takes, slowly in both directions, since a
// window may hold one call that is unlike the others. With many calls in flight,
// slowness is the queue's, unless a cut has shown that it is not.
func (t *target) learn(w window) {
	switch {
	case t.usual == 0:
		t.usual = w.took
	case w.took < t.usual:
		t.usual -= (t.usual - w.took) / 4
	case w.inFlight <= admitFew/2:
		t.usual += (w.took - t.usual) / 8
	}
	if t.cut.from == 0 {
		return
	}
	limit := t.limit.Load()
	if w.inFlight > limit+limit/8 { // those from before the cut are still queueing
		t.cut.since, t.cut.took = w.ended, max(t.cut.took, w.took)
		return
	}
	if w.began-t.cut.since < w.took {
		return // these calls may have entered before
	}
	if 2*limit <= t.cut.from && 10*w.took >= 9*t.cut.took {
		// Half the calls, and replies no faster: there is no queue. But a service may
		// have slowed down at the wrong moment, so this alone must not let calls get
		// lost.
		t.usual = max(t.usual, min(w.took, max(w.timeout/16, w.took*3/8)))
	}
	t.cut = cut{}
}
