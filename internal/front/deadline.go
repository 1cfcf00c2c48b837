package front

import (
	"sync"
	"time"
)

// A deadline is that of a connection's reads, or of its writes. To set one costs
// as much as to parse a small request, so what is wanted is noted at once and set
// only where somebody is about to wait, or waits already.
type deadline struct {
	mu      sync.Mutex
	wanted  time.Time
	set     time.Time
	waiting bool
	apply   func(time.Time) error // of the connection
}

// want moves the deadline to t; the zero time is never.
func (d *deadline) want(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wanted = t
	if d.waiting {
		d.settle()
	}
}

// bound moves the deadline to t if there is none.
func (d *deadline) bound(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wanted.IsZero() {
		d.wanted = t
	}
}

// about moves the deadline to a time that comes after the given while, or an eighth
// later: the one that is set, if it will do. No while is never. So a busy connection sets its deadlines once in a while
// instead of with each request.
func (d *deadline) about(now time.Time, while time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slack := while / 8
	switch left := d.set.Sub(now); {
	case while <= 0:
		d.wanted = time.Time{}
	case left < while || left > while+slack:
		d.wanted = now.Add(while + slack)
	default:
		d.wanted = d.set
	}
}

// begin says that somebody is about to wait, until end.
func (d *deadline) begin() {
	d.mu.Lock()
	d.waiting = true
	d.settle()
	d.mu.Unlock()
}

func (d *deadline) end() {
	d.mu.Lock()
	d.waiting = false
	d.mu.Unlock()
}

// impose sets the deadline to t now, whatever is wanted, until the next begin.
func (d *deadline) impose(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set = t
	_ = d.apply(t)
}

// settle sets what is wanted. The caller holds mu.
func (d *deadline) settle() {
	if d.set != d.wanted { // the same reading of the clock, not only the same time
		d.set = d.wanted
		_ = d.apply(d.wanted) // not every connection has deadlines
	}
}
