package front

import (
	"sync"
	"time"
)

// A deadline is the read or write deadline of a connection. Setting one costs as much
// as parsing a small request, so a wanted deadline is only noted, and set when
// something is waiting or about to wait.
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

// bound moves the deadline to t if none is wanted.
func (d *deadline) bound(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wanted.IsZero() {
		d.wanted = t
	}
}

// about moves the deadline to between the given while and an eighth more from now: it
// keeps the current one if that fits, so a busy connection rarely sets it. No while
// means never.
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

// begin marks the start of a wait, until end.
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

// settle sets the wanted deadline. The caller holds mu.
func (d *deadline) settle() {
	if d.set != d.wanted { // including the monotonic clock
		d.set = d.wanted
		_ = d.apply(d.wanted) // some connections have no deadlines
	}
}
