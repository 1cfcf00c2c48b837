package runner

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"pgregory.net/rapid"
)

// Whatever happens in whatever order: there are never more instances than Max, or one
// more while they are replaced, nor more calls in one than Concurrency, calls are served as they came, none is lost
// or served twice, and nothing starts while the pool rests.
func TestPoolKeepsItsRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &poolModel{now: time.Unix(1e9, 0), limits: mayfly.Limits{
			Concurrency: rapid.IntRange(1, 3).Draw(t, "concurrency"),
			Wait:        rapid.IntRange(-1, 4).Draw(t, "wait"),
			Instances:   drawInstances(t),
		}}
		m.pool = newPool(m.limits)
		m.pool.crowd = rapid.IntRange(1, 3).Draw(t, "crowd")
		m.carry(t, m.pool.settle(m.now))
		for range 4 { // for some meetings the 30 steps of one Repeat are too few
			t.Repeat(map[string]func(*rapid.T){
				"":             m.check,
				"call comes":   m.comes,
				"another":      m.comes,
				"call ends":    m.ends,
				"caller tires": m.tires,
				"starts":       m.starts,
				"starts too":   m.starts,
				"fails":        m.fails,
				"dies":         m.dies,
				"stops":        m.stops,
				"time passes":  m.passes,
				"more time":    m.passes,
				"is scaled":    m.scales,
				"probe":        m.probes,
				"renewal":      m.renews,
			})
		}
		m.drain(t)
	})
}

// A poolModel is what a pool must know, found out in the simplest way.
type poolModel struct {
	pool   *pool
	limits mayfly.Limits
	now    time.Time

	slots   []*slot   // whose order to start was carried out
	told    []*slot   // of them: that were told to stop
	waiting []*ticket // in the order in which they came
	calls   []*slot   // the slot of each call under way; dead ones included
}

func drawInstances(t *rapid.T) mayfly.Instances {
	least := rapid.IntRange(0, 2).Draw(t, "min")
	return mayfly.Instances{
		Min: least, Max: rapid.IntRange(max(least, 1), 3).Draw(t, "max"),
		Idle: mayfly.Duration(time.Second),
	}
}

// carry carries out orders, as a function does.
func (m *poolModel) carry(t *rapid.T, o orders) {
	for _, s := range o.start {
		if m.now.Before(m.pool.rested) {
			t.Fatalf("an instance starts %v too early", m.pool.rested.Sub(m.now))
		}
		m.slots = append(m.slots, s)
		if n := len(m.slots) - m.pool.count(retiring); n > m.pool.most() {
			t.Fatalf("%d instances, want at most %d", n, m.pool.most())
		}
	}
	if m.pool.crashes > 0 && !m.pool.well && len(o.start) > 1 {
		t.Fatalf("%d instances start at once after a crash, want one", len(o.start))
	}
	for _, s := range o.stop {
		if s.calls > 0 {
			t.Fatal("an instance is stopped in a call")
		}
		m.told = append(m.told, s)
	}
	m.answered(t)
}

// answered takes the calls out of the queue that have their answer.
func (m *poolModel) answered(t *rapid.T) {
	for i, ticket := range m.waiting {
		if !closed(ticket.done) {
			for _, later := range m.waiting[i:] {
				if closed(later.done) {
					t.Fatal("a call was answered before one that came earlier")
				}
			}
			m.waiting = m.waiting[i:]
			return
		}
		if (ticket.slot == nil) == (ticket.err == nil) {
			t.Fatalf("a call got the slot %v and the error %v", ticket.slot, ticket.err)
		}
		if ticket.slot != nil {
			m.calls = append(m.calls, ticket.slot)
		}
	}
	m.waiting = nil
}

func (m *poolModel) check(t *rapid.T) {
	p := m.pool
	m.answered(t)
	if p.waiting.Len() != len(m.waiting) {
		t.Fatalf("%d calls wait, want %d", p.waiting.Len(), len(m.waiting))
	}
	for _, s := range m.slots {
		n := 0
		for _, in := range m.calls {
			if in == s {
				n++
			}
		}
		if s.calls != n || n > m.limits.Concurrency {
			t.Fatalf("an instance has %d calls, want %d and at most %d", s.calls, n, m.limits.Concurrency)
		}
		if s.phase == ready && n < m.limits.Concurrency && len(m.waiting) > 0 {
			t.Fatal("a call waits while an instance is free")
		}
	}
	if len(m.slots) != len(p.slots) {
		t.Fatalf("the pool has %d slots, want %d", len(p.slots), len(m.slots))
	}
	if len(m.waiting) > 0 && !p.alive() && p.count(stopping) < p.instances.Max {
		t.Fatal("calls wait for an instance that nobody starts")
	}
	if live := p.count(starting) + p.count(ready); live < p.instances.Min && p.due(m.now).IsZero() &&
		p.count(starting) == 0 && len(p.slots) < p.instances.Max {
		t.Fatalf("%d instances are kept warm, want %d", live, p.instances.Min)
	}
}

func (m *poolModel) comes(t *rapid.T) {
	if s := m.pool.take(m.now); s != nil {
		if len(m.waiting) > 0 {
			t.Fatal("a call was served before those that wait")
		}
		m.calls = append(m.calls, s)
		m.carry(t, m.pool.relieve(s, m.now))
		return
	}
	ticket, o, err := m.pool.join(m.now)
	if ticket != nil {
		m.waiting = append(m.waiting, ticket)
	}
	m.carry(t, o)
	switch room := max(m.limits.Wait, 0) + m.limits.Concurrency*m.coming(); {
	case err == nil && len(m.waiting) > room:
		t.Fatalf("%d calls wait, want at most %d", len(m.waiting), room)
	case errors.Is(err, errFull) && len(m.waiting) < room:
		t.Fatalf("a call was refused with %d waiting, where %d may", len(m.waiting), room)
	case err != nil && !errors.Is(err, errFull) && (m.pool.alive() || !m.now.Before(m.pool.rested)):
		t.Fatalf("a call got the old error %v", err)
	}
}

// coming returns how many instances will be there besides those that are ready.
func (m *poolModel) coming() (n int) {
	for _, s := range m.slots {
		if s.phase != ready && s.phase != retiring {
			n++
		}
	}
	return min(n, m.pool.instances.Max-m.pool.count(ready)) // one may be a replacement
}

func (m *poolModel) ends(t *rapid.T) {
	if len(m.calls) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.calls)-1).Draw(t, "call")
	s := m.calls[i]
	m.calls = slices.Delete(m.calls, i, i+1)
	m.carry(t, m.pool.leave(s, m.now))
}

func (m *poolModel) tires(t *rapid.T) {
	if len(m.waiting) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.waiting)-1).Draw(t, "waiting")
	m.pool.quit(m.waiting[i])
	m.waiting = slices.Delete(m.waiting, i, i+1)
}

// draw returns one of the slots in a phase, or nil.
func (m *poolModel) draw(t *rapid.T, in phase) *slot {
	var some []*slot
	for _, s := range m.slots {
		if s.phase == in {
			some = append(some, s)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return rapid.SampledFrom(some).Draw(t, "slot")
}

func (m *poolModel) drop(s *slot) {
	m.slots = slices.DeleteFunc(m.slots, func(other *slot) bool { return other == s })
}

func (m *poolModel) starts(t *rapid.T) {
	s := m.draw(t, starting)
	if s == nil {
		return
	}
	o, ok := m.pool.started(s, m.now)
	if !ok {
		t.Fatal("a starting slot cannot become ready")
	}
	m.carry(t, o)
}

func (m *poolModel) fails(t *rapid.T) {
	s := m.draw(t, starting)
	if s == nil {
		return
	}
	m.drop(s)
	m.carry(t, m.pool.failed(s, errors.New("failed"), m.now))
}

func (m *poolModel) dies(t *rapid.T) {
	s := m.draw(t, ready)
	if s == nil {
		return
	}
	m.drop(s)
	m.carry(t, m.pool.died(s, errors.New("died"), m.now))
}

func (m *poolModel) stops(t *rapid.T) {
	s := m.draw(t, stopping)
	if s == nil {
		return
	}
	if !slices.Contains(m.told, s) {
		t.Fatal("a slot stops that nobody told so")
	}
	m.drop(s)
	m.carry(t, m.pool.stopped(s, m.now))
}

func (m *poolModel) passes(t *rapid.T) {
	m.now = m.now.Add(rapid.SampledFrom([]time.Duration{
		time.Millisecond, restFirst, time.Second, healthyAfter, restMost,
	}).Draw(t, "time"))
	m.carry(t, m.pool.settle(m.now))
	if due := m.pool.due(m.now); !due.IsZero() && !due.After(m.now) {
		t.Fatal("what was due is due again")
	}
}

func (m *poolModel) scales(t *rapid.T) {
	n := drawInstances(t)
	if n.Max < len(m.slots) {
		n.Max = len(m.slots) // below that more are there for a while: TestScaleStopsWhatIsTooMuch
	}
	m.pool.instances = n
	m.carry(t, m.pool.settle(m.now))
}

func (m *poolModel) renews(t *rapid.T) {
	r, o := m.pool.renew(m.now)
	m.carry(t, o)
	if closed(r.done) != (m.pool.renewal == nil) {
		t.Fatal("a renewal ends without those that wait for it")
	}
}

func (m *poolModel) probes(t *rapid.T) {
	if len(m.waiting) > 0 {
		return
	}
	m.carry(t, m.pool.probe(m.now))
}

// drain retires the pool: the calls that wait go over to another one, the rest end,
// and nothing is left.
func (m *poolModel) drain(t *rapid.T) {
	next := newPool(m.limits)
	next.adopt(m.pool)
	for e := next.waiting.Front(); e != nil; e = e.Next() {
		if e.Value.(*ticket) != m.waiting[0] {
			t.Fatal("calls that moved are in another order")
		}
		m.waiting = m.waiting[1:]
	}
	m.pool.leaving = true
	m.carry(t, m.pool.settle(m.now))
	for _, s := range m.calls {
		m.carry(t, m.pool.leave(s, m.now))
	}
	for _, s := range slices.Clone(m.told) {
		if s.phase == stopping {
			m.drop(s)
			m.carry(t, m.pool.stopped(s, m.now))
		}
	}
	if len(m.pool.slots) != 0 || len(m.waiting) != 0 {
		t.Fatalf("%d instances and %d calls are left", len(m.pool.slots), len(m.waiting))
	}
}

func TestRestDoubles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		n    int
		want time.Duration
	}{
		{"before any crash", 0, 0},
		{"the first", 1, 100 * time.Millisecond},
		{"the second", 2, 200 * time.Millisecond},
		{"the ninth", 9, 25600 * time.Millisecond},
		{"the tenth", 10, 30 * time.Second},
		{"a night's", 1 << 40, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := rest(tt.n); got != tt.want {
				t.Errorf("rest(%d) = %v, want %v", tt.n, got, tt.want)
			}
		})
	}
}

// twoReady returns a pool with two idle instances, of which the first has answered calls,
// one at a time and each in the given time.
func twoReady(t *testing.T, took time.Duration) (p *pool, now time.Time) {
	t.Helper()
	p, now = newPool(mayfly.Limits{Concurrency: 64, Instances: mayfly.Exactly(2)}), time.Unix(1e9, 0)
	for _, s := range p.settle(now).start {
		p.started(s, now)
	}
	for range 20 {
		if s := p.take(now); s != p.slots[0] {
			t.Fatal("a call alone went to another instance than the last")
		}
		now = now.Add(took)
		p.leave(p.slots[0], now)
	}
	return p, now
}

func TestQuickCallsShareAnInstance(t *testing.T) {
	t.Parallel()
	p, now := twoReady(t, 100*time.Microsecond)
	first, second := p.slots[0], p.slots[1]
	for n := range 10 {
		if s := p.take(now); s != first {
			t.Fatalf("call %d woke another instance", n+1)
		}
	}
	if s := p.take(now); s != second {
		t.Error("the eleventh call, which would wait a millisecond, went to the instance with ten")
	}
	p.leave(second, now.Add(100*time.Microsecond))

	// One call of them is stuck.
	now = now.Add(waking)
	if s := p.take(now); s != second {
		t.Error("a call went to an instance that does not reply")
	}
	if p.take(now.Add(waking)); second.calls != 2 {
		t.Error("where none is idle, the least busy gets the call")
	}
}

func TestSlowCallsUseAllInstances(t *testing.T) {
	t.Parallel()
	for _, took := range []time.Duration{waking, 5 * time.Millisecond, time.Minute} {
		p, now := twoReady(t, took)
		for range 6 {
			p.take(now)
		}
		if a, b := p.slots[0].calls, p.slots[1].calls; a != 3 || b != 3 {
			t.Errorf("calls of %v: %d and %d, want 3 each", took, a, b)
		}
		// They end one by one, and others come at once.
		for range 100 {
			now = now.Add(took / 2)
			p.leave(p.slots[0], now)
			p.take(now)
			p.leave(p.slots[1], now)
			p.take(now)
		}
		if a, b := p.slots[0].calls, p.slots[1].calls; a != 3 || b != 3 {
			t.Errorf("calls of %v: then %d and %d, want 3 each", took, a, b)
		}
	}
}

// An instance with many calls gets company before it is full, unless it is quick.
func TestCrowdedInstanceIsRelieved(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]int{time.Microsecond: 1, 5 * time.Millisecond: 3} {
		p, now := newPool(mayfly.Limits{Concurrency: 64, Instances: mayfly.Instances{Min: 1, Max: 3, Idle: mayfly.Duration(time.Hour)}}), time.Unix(1e9, 0)
		p.started(p.settle(now).start[0], now)
		for range 100 { // it shows how quick it is
			s := p.take(now)
			now = now.Add(took)
			p.leave(s, now)
		}
		for n := range 60 {
			s := p.take(now)
			for _, s := range p.relieve(s, now).start {
				if n < crowded*(len(p.slots)-1) {
					t.Errorf("calls of %v: %d start at call %d", took, len(p.slots), n+1)
				}
				p.started(s, now)
			}
		}
		if len(p.slots) != want {
			t.Errorf("60 calls of %v: %d instances, want %d", took, len(p.slots), want)
		}
	}
}

// A delay now and then, as on a busy machine, does not count for much.
func TestPaceForgivesADelay(t *testing.T) {
	t.Parallel()
	p, now := twoReady(t, 100*time.Microsecond)
	for range 5 {
		p.take(now)
		now = now.Add(50 * time.Millisecond)
		p.leave(p.slots[0], now)
		for range 3 {
			p.take(now)
			now = now.Add(100 * time.Microsecond)
			p.leave(p.slots[0], now)
		}
	}
	p.take(now)
	if s := p.take(now); s != p.slots[0] {
		t.Errorf("it woke another instance: the pace is %v", p.slots[0].pace)
	}
}
