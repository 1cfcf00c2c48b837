package runner

import "time"

// A renewal replaces all instances of a pool that were there when it began, one by one:
// a new instance is ready before an old one takes no more calls. So there is one more
// than Max for a moment. While new ones fail to start, the old ones stay.
type renewal struct {
	done chan struct{} // closed when all have been replaced, or a new one did not start
	err  error         // why that failed
}

// renew has every slot replaced. It forgets crashes: what has changed may be their cause.
func (p *pool) renew(now time.Time) (*renewal, orders) {
	for _, s := range p.slots {
		s.stale = s.stale || s.phase == starting || s.phase == ready
	}
	failed := p.failure != nil
	p.crashes, p.rested, p.failure = 0, time.Time{}, nil
	p.generation++
	if p.renewal == nil {
		p.renewal = &renewal{done: make(chan struct{})}
	}
	r := p.renewal
	var o orders
	if failed {
		o = p.probe(now) // its end is that of the renewal
	}
	more := p.settle(now)
	return r, orders{start: append(o.start, more.start...), stop: more.stop}
}

// replaced takes the least busy stale slot out of service, for s that is ready.
func (p *pool) replaced(s *slot) {
	var old *slot
	for _, o := range p.slots {
		if o.stale && (o.phase == starting || o.phase == ready) && (old == nil || o.calls < old.calls) {
			old = o
		}
	}
	if old != nil && !s.stale {
		old.phase = retiring
	}
}

// renewed ends the renewal for those that wait for it. After an error it goes on: the
// next start is another try.
func (p *pool) renewed(err error) {
	p.renewal.err = err
	close(p.renewal.done)
	p.renewal = nil
}

// stale returns how many slots are to be replaced.
func (p *pool) stale() (n int) {
	for _, s := range p.slots {
		if s.stale && (s.phase == starting || s.phase == ready) {
			n++
		}
	}
	return n
}

// replacing reports whether a replacement is starting.
func (p *pool) replacing() bool {
	for _, s := range p.slots {
		if s.phase == starting && !s.stale {
			return true
		}
	}
	return false
}

// retired stops the slots that have been replaced and have no calls left.
func (p *pool) retired() (all []*slot) {
	for _, s := range p.slots {
		if s.phase == retiring && s.calls == 0 {
			s.phase = stopping
			all = append(all, s)
		}
	}
	return all
}

// unused stops the stale slots that nobody has called for Idle, as if nothing replaced them:
// a pool whose new instances fail would otherwise try again for ever. Min of those that are
// ready stay.
func (p *pool) unused(now time.Time) (all []*slot) {
	for _, s := range p.slots {
		if s.stale && s.phase == ready && s.calls == 0 && !now.Before(p.expiry(s)) && p.count(ready) > p.instances.Min {
			s.phase = stopping
			all = append(all, s)
		}
	}
	return all
}

// least returns how many slots do not expire: one replacement comes on top.
func (p *pool) least() int {
	if p.stale() > 0 {
		return p.instances.Min + 1
	}
	return p.instances.Min
}

// most returns how many slots there may be, except those that retire.
func (p *pool) most() int {
	if p.instances.Max > 0 && p.stale() > 0 {
		return p.instances.Max + 1
	}
	return p.instances.Max
}
