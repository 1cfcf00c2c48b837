package gateway

import (
	"context"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
)

// An admission bounds how many calls are on their way to each target, so that one
// with more to do than it can refuses the rest at once. Without it the calls wait
// in the service's own client, which has room for half a million: each of them
// times out, the service works for callers that have left, and nobody is served.
//
// NATS tells nothing of that queue. What a gateway sees is how many calls are on
// their way, how long replies take, and which never come. From these a limit is
// kept for each target:
//
//	limit = replies per second * time that a reply may take        (Little's law)
//
// The time is an eighth of the call's timeout, or four times what a reply takes
// while few calls are on their way, whichever is longer: a service that is slow by
// nature and works at many calls at once is not refused for it. While replies keep
// within that time the limit only grows. These are the rules:
//
//   - Two windows in a row must be bad before anything is refused, so a pause of
//     the service, or of the network, costs nobody an answer.
//   - Slow replies alone never bring the limit below admitFew, and not for long: if
//     replies are as slow with fewer calls, the service has become slow by nature.
//   - Where a fifth of the calls is lost, which is proof, admitLeast is the least
//     limit: these few find out when the target is back. Half the timeout is then
//     the longest that a reply may take, and for a minute after.
//   - A target whose replies are quick again has its limit back in the next
//     window, or a few after it.
type admission struct {
	most    int64 // gateway.inflight: no limit is above
	started time.Time
	targets atomic.Pointer[map[string]*target] // replaced whole, so that calls take no lock
	adding  sync.Mutex
}

const (
	admitFew   = 32 // calls that a target need not answer quickly; half as many tell how long one takes
	admitLeast = 4

	windowLeast = 100 * time.Millisecond
	windowMost  = 500 * time.Millisecond

	// rememberLoss is how long a target that lost calls is held to half its timeout:
	// how long its service still works for callers that have left, nobody can see.
	rememberLoss = time.Minute

	// forgetAfter is how long a target without calls is remembered.
	forgetAfter = 10 * time.Minute
)

func newAdmission(most int) *admission {
	a := &admission{most: int64(most), started: time.Now()}
	a.targets.Store(&map[string]*target{})
	return a
}

// A target is what calls by one subject, or subject with wildcards, have shown of
// whoever answers there.
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
	usual   time.Duration // what a reply takes while few calls are on their way; 0 if unknown
	bad     int           // windows in a row, but for those at whose end fewer calls were on their way

	inFlightBefore int64 // at the end of the last slow window

	grown  time.Duration // when the limit last took a small step up
	lostAt time.Duration // when calls were last lost; 0 if never
	cut    cut
}

// A cut is an experiment: with fewer calls on their way replies must be faster, if
// it was the queue that made them slow.
type cut struct {
	from  int64         // calls on their way before; 0 if no experiment is under way
	took  time.Duration // the longest that replies took then
	since time.Duration // when no more than the new limit were on their way
}

// call makes a call by way of caller, if its target has room for it. An error
// besides those of caller has the code Exhausted.
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
// Exhausted. A call that entered must leave.
func (t *target) enter(name string) error {
	if limit := t.limit.Load(); t.inFlight.Add(1) > limit {
		t.inFlight.Add(-1)
		return mayfly.Errorf(mayfly.Exhausted, "%q has all the calls it can answer in time: %d are on their way", name, limit).
			WithHint("try again later; more instances of the service answer more, gateway.inflight is the most at once")
	}
	return nil
}

// leave counts the end of a call that entered: after took of its timeout there
// was a reply, or err. Only a reply and a timeout tell of the target; where nobody
// is there, or the client left, nothing was learned.
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

// lift takes the limit away: nobody waits any more, so there is no queue. It stays
// for a while if calls were lost, because the service may be at work on those.
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
			return limit // what the last step did is not seen yet
		}
		t.grown = w.ended
		return min(t.most, limit+limit/8+1)
	}
	before := t.inFlightBefore
	t.inFlightBefore = w.inFlight
	if w.inFlight < before-before/16 {
		return limit // it is getting over it
	}
	t.bad++
	fits = max(fits, least)
	if t.bad < 2 || fits >= limit || t.cut.from > 0 && !losing {
		return limit
	}
	t.cut = cut{from: min(w.inFlight, limit), took: w.took, since: w.ended}
	return fits
}

// learn takes what a reply took into what it usually takes. It does so slowly,
// both ways, since a window may hold but one call, which need not be like the
// others. With many calls on their way what takes longer is the queue, unless a
// cut has shown that it is not.
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
