package runner

import (
	"cmp"
	"container/list"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly"
)

const (
	restFirst = 100 * time.Millisecond
	restMost  = 30 * time.Second

	// healthyAfter is how long an instance must live before its crash counts as the
	// first again.
	healthyAfter = 10 * time.Second

	// waking is what it costs to wake an idle instance: two switches of processes, cold caches,
	// and a connection that carries one call where it could carry many.
	waking = time.Millisecond

	// crowded is how many calls an instance has before another starts beside it, although it
	// would take more: a program that waits for others bears many, one that computes does not.
	crowded = 16
)

// rest returns the pause in starts after the nth crash in a row, from 1. It doubles, so
// that code broken for a night is tried three thousand times, not three million.
func rest(n int) time.Duration {
	if n < 1 {
		return 0
	}
	return min(restFirst<<min(n-1, 20), restMost)
}

// A pool decides for one revision which instance takes a call, which call waits,
// and when instances start and stop. It does nothing itself: it does not lock, start
// anything or read a clock, so that every order of events can be tested. It returns
// what to do as orders.
//
//	take ──► a slot is free ──► relieve ───────► call ──► leave ─┐
//	  └────► join ──► waiting ──► serve ──────────▲              │
//	               settle ◄── started, failed, died, time ◄─────┘
//	                 └──► orders: start these, stop those
type pool struct {
	concurrency int
	crowd       int // calls in each instance from which another starts, if they are slow
	wait        int // calls that may wait beyond those that starting instances will take
	forgiven    int // crashes in a row that cost no rest
	instances   mayfly.Instances

	slots   []*slot   // starting, ready or stopping: all of them use memory
	waiting list.List // of *ticket, first come first
	leaving bool      // takes no calls; a slot stops when its calls are over

	crashes    int       // in a row
	generation int       // grows with each crash that counts
	rested     time.Time // nothing starts before; zero if the last crash cost no rest
	well       bool      // a slot that was started after the last crash was ready
	failure    error     // of the last crash; nil after a slot was ready
	proven     bool      // a slot was ready once
	renewal    *renewal  // under way while there are stale slots; may be nil
}

// A phase is where a slot is in its life.
type phase int

const (
	starting phase = iota
	ready
	retiring // was replaced: it finishes its calls, and takes none
	stopping
	gone
)

// A slot is an instance as the pool sees it.
type slot struct {
	phase      phase
	calls      int           // that it works at
	ready      time.Time     // since when it is
	idle       time.Time     // since when it works at no call
	since      time.Time     // of the last reply, or of the call that woke it
	pace       time.Duration // from one reply to the next while it is awake, lately
	generation int           // of the pool, at its start
	stale      bool          // to be replaced

	life // nothing of the pool's
}

// A ticket is a call waiting for a slot. When done is closed it has a slot or an error.
type ticket struct {
	slot *slot
	err  error
	done chan struct{}

	pool  *pool         // in which it waits
	place *list.Element // in the pool's queue; nil if no longer waiting
}

// Orders are what a pool wants done.
type orders struct {
	start, stop []*slot
}

func newPool(l mayfly.Limits) *pool {
	p := &pool{concurrency: l.Concurrency, crowd: crowded, wait: max(l.Wait, 0), forgiven: 1, instances: l.Instances}
	p.waiting.Init()
	return p
}

// take gives a call a slot: the first that is awake and will soon have answered the calls it
// has, else the one that fell idle last, else the least busy. It returns nil if all are full.
func (p *pool) take(now time.Time) *slot {
	var idle, busy *slot
	for _, s := range p.slots {
		switch {
		case s.phase != ready || s.calls >= p.concurrency:
		case s.calls == 0:
			if idle == nil || s.idle.After(idle.idle) {
				idle = s
			}
		case s.soon(now):
			return s.begin(now)
		case busy == nil || s.calls < busy.calls:
			busy = s
		}
	}
	if s := cmp.Or(idle, busy); s != nil {
		return s.begin(now)
	}
	return nil
}

// relieve starts another instance if the slot that take has just returned has too many
// calls, which all others then have too.
func (p *pool) relieve(s *slot, now time.Time) orders {
	if s.calls <= p.crowd || s.soon(now) || p.count(starting) > 0 || len(p.slots) >= p.most() || now.Before(p.rested) {
		return orders{}
	}
	return orders{start: []*slot{p.add()}}
}

// begin adds a call.
func (s *slot) begin(now time.Time) *slot {
	if s.calls == 0 {
		s.since = now
	}
	s.calls++
	return s
}

// soon reports whether a call that waits for those before it loses less than by waking an
// idle instance. An instance that gave no reply for as long may be stuck in a call.
func (s *slot) soon(now time.Time) bool {
	return time.Duration(s.calls)*s.pace < waking && now.Sub(s.since) < waking
}

// end ends a call.
func (s *slot) end(now time.Time) {
	if took := now.Sub(s.since); took < s.pace {
		s.pace = (s.pace + took) / 2
	} else {
		s.pace += min(took-s.pace, s.pace) / 8 // a machine that is busy elsewhere delays some
	}
	s.since = now
	if s.calls--; s.calls == 0 {
		s.idle = now
	}
}

// join queues a call that found no slot, or returns why it cannot: the error of the last
// crash while nothing is alive or may start, or errFull. The limit excludes calls that
// coming instances will take, so that a function whose calls may not wait can start.
func (p *pool) join(now time.Time) (*ticket, orders, error) {
	if !p.alive() && now.Before(p.rested) {
		return nil, orders{}, p.tired(now)
	}
	t := &ticket{done: make(chan struct{})}
	p.push(t)
	o := p.settle(now)
	if p.waiting.Len() > p.wait+p.concurrency*p.coming() {
		p.quit(t)
		return nil, o, errFull
	}
	return t, o, nil
}

func (p *pool) push(t *ticket) {
	t.pool, t.place = p, p.waiting.PushBack(t)
}

// quit removes a call that gave up from the queue.
func (p *pool) quit(t *ticket) {
	p.waiting.Remove(t.place)
	t.place = nil
}

// pop answers the first call in the queue with a slot or an error.
func (p *pool) pop(s *slot, err error) {
	t := p.waiting.Front().Value.(*ticket)
	p.quit(t)
	t.slot, t.err = s, err
	close(t.done)
}

// serve gives free slots to waiting calls.
func (p *pool) serve(now time.Time) {
	for p.waiting.Len() > 0 {
		s := p.take(now)
		if s == nil {
			return
		}
		p.pop(s, nil)
	}
}

// refuse fails every waiting call.
func (p *pool) refuse(err error) {
	for p.waiting.Len() > 0 {
		p.pop(nil, err)
	}
}

// adopt takes over the waiting calls of another pool.
func (p *pool) adopt(other *pool) {
	for e := other.waiting.Front(); e != nil; e = other.waiting.Front() {
		t := e.Value.(*ticket)
		other.quit(t)
		p.push(t)
	}
}

// leave ends a call in a slot.
func (p *pool) leave(s *slot, now time.Time) orders {
	s.end(now)
	if p.waiting.Len() == 0 && !p.leaving && s.phase == ready && len(p.slots) <= p.instances.Max {
		return orders{} // as nearly always
	}
	return p.settle(now)
}

// started says that a slot is ready. It reports false if the slot was told to stop
// meanwhile.
func (p *pool) started(s *slot, now time.Time) (orders, bool) {
	if s.phase != starting {
		return orders{}, false
	}
	s.phase, s.ready, s.idle = ready, now, now
	if s.generation == p.generation {
		p.well = true
	}
	p.failure, p.proven = nil, true
	p.replaced(s)
	return p.settle(now), true
}

// failed says that a slot did not start. Unless another instance can take them, waiting
// calls do not wait for the next try, which would most likely fail too.
func (p *pool) failed(s *slot, err error, now time.Time) orders {
	p.crashed(s, err, now)
	if !p.alive() {
		p.refuse(err)
	}
	return p.settle(now)
}

// died says that a slot ended by itself. Its calls leave it as usual.
func (p *pool) died(s *slot, err error, now time.Time) orders {
	p.crashed(s, err, now)
	return p.settle(now)
}

// stopped says that a slot that was told to stop has ended.
func (p *pool) stopped(s *slot, now time.Time) orders {
	p.drop(s)
	return p.settle(now)
}

// crashed drops a slot and delays the next start, unless the crash is forgiven. Slots
// started before the last crash do not count: they may have been killed together.
func (p *pool) crashed(s *slot, err error, now time.Time) {
	was := s.phase
	p.drop(s)
	if was == retiring {
		return // its replacement works
	}
	p.failure = err
	if !s.stale && p.renewal != nil {
		p.renewed(err)
	}
	if s.generation != p.generation && (p.forgiven > 0 || !p.well) {
		return
	}
	if !s.ready.IsZero() && now.Sub(s.ready) >= healthyAfter {
		p.crashes = 0
	}
	p.crashes++
	p.generation++
	p.well, p.rested = false, time.Time{}
	if d := rest(p.crashes - p.forgiven); d > 0 {
		p.rested = now.Add(d)
	}
}

func (p *pool) drop(s *slot) {
	s.phase = gone
	p.slots = slices.DeleteFunc(p.slots, func(other *slot) bool { return other == s })
}

// probe starts one instance without a waiting call, if none is alive and one may start.
func (p *pool) probe(now time.Time) orders {
	if p.leaving || p.alive() || len(p.slots) >= p.instances.Max || now.Before(p.rested) {
		return orders{}
	}
	return orders{start: []*slot{p.add()}}
}

// settle updates the pool after any change: waiting calls get free slots, missing
// instances start, surplus ones stop.
func (p *pool) settle(now time.Time) (o orders) {
	p.serve(now)
	o.stop = append(p.retired(), p.unused(now)...)
	for range p.missing(now) {
		o.start = append(o.start, p.add())
	}
	if p.waiting.Len() > 0 && !p.alive() && now.Before(p.rested) {
		p.refuse(p.tired(now))
	}
	live := p.count(starting) + p.count(ready)
	for i := len(p.slots) - 1; i >= 0; i-- { // the last ones are the least used
		s := p.slots[i]
		if s.calls > 0 || s.phase > ready {
			continue
		}
		expired := s.phase == ready && !s.stale && !now.Before(p.expiry(s))
		if p.leaving || live > p.most() || live > p.least() && expired {
			s.phase = stopping
			o.stop = append(o.stop, s)
			live--
		}
	}
	if p.renewal != nil && (p.leaving || p.stale() == 0 && !p.replacing()) {
		p.renewed(nil)
	}
	return o
}

// missing returns how many slots must start now: as many as the waiting calls fill, or
// Min. After a crash only one starts first, as a test.
func (p *pool) missing(now time.Time) int {
	if p.leaving || now.Before(p.rested) {
		return 0
	}
	starts := p.count(starting)
	want := (p.waiting.Len() + p.concurrency - 1) / p.concurrency
	want = max(want-starts, p.instances.Min-starts-p.count(ready))
	if p.stale() > 0 && !p.replacing() {
		want = max(want, 1)
	}
	most := p.most() + p.count(retiring) - len(p.slots)
	if p.crashes > 0 && !p.well {
		most = min(most, 1-starts)
	}
	return max(0, min(want, most))
}

func (p *pool) add() *slot {
	s := &slot{generation: p.generation, pace: waking} // until it has shown that it is faster
	p.slots = append(p.slots, s)
	return s
}

func (p *pool) expiry(s *slot) time.Time { return s.idle.Add(time.Duration(p.instances.Idle)) }

// due returns when settle has something to do if nothing else happens; zero if
// never.
func (p *pool) due(now time.Time) time.Time {
	live := p.count(starting) + p.count(ready)
	var due time.Time
	if !p.leaving && now.Before(p.rested) && (p.waiting.Len() > 0 || live < p.instances.Min || p.stale() > 0 && !p.replacing()) {
		due = p.rested
	}
	if live <= p.instances.Min {
		return due
	}
	for _, s := range p.slots {
		expires := s.phase == ready && s.calls == 0 && (!s.stale && live > p.least() || s.stale && p.count(ready) > p.instances.Min)
		if at := p.expiry(s); expires && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	return due
}

// coming returns how many slots will take calls soon: those starting, and those that
// start once a stopping one has ended.
func (p *pool) coming() int {
	return min(p.count(starting)+p.count(stopping), p.instances.Max-p.count(ready))
}

// tired returns what calls get during the rest after a crash.
func (p *pool) tired(now time.Time) error {
	left := max(p.rested.Sub(now), time.Millisecond)
	return mayfly.Errorf(mayfly.CodeOf(p.failure), "%w; retrying in %s", p.failure, round(left))
}

// alive reports whether an instance is there for calls, now or soon.
func (p *pool) alive() bool { return p.count(starting)+p.count(ready) > 0 }

func (p *pool) count(in phase) (n int) {
	for _, s := range p.slots {
		if s.phase == in {
			n++
		}
	}
	return n
}
