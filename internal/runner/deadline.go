package runner

import "time"

// deadlines are the deliveries that wait for their replies, those that are late first at the
// front. They share a timer, which is set only for an earlier deadline than it waits for: one
// for each call would be set and stopped as often, and hardly ever run out.
type deadlines struct {
	first, last *delivery
	timer       *time.Timer // of unit.expire; nil until it is needed
	due         time.Time   // when it runs out; zero if it does not run
}

// add puts a delivery at its place, which is the end for nearly all.
func (d *deadlines) add(x *delivery) {
	after := d.last
	for after != nil && x.late.Before(after.late) {
		after = after.before
	}
	x.waits, x.before = true, after
	if after == nil {
		x.behind, d.first = d.first, x
	} else {
		x.behind, after.behind = after.behind, x
	}
	if x.behind == nil {
		d.last = x
	} else {
		x.behind.before = x
	}
}

// drop reports whether the delivery was there: it is not late.
func (d *deadlines) drop(x *delivery) bool {
	if !x.waits {
		return false
	}
	if x.before == nil {
		d.first = x.behind
	} else {
		x.before.behind = x.behind
	}
	if x.behind == nil {
		d.last = x.before
	} else {
		x.behind.before = x.before
	}
	x.waits, x.before, x.behind = false, nil, nil
	return true
}

// expect ends the work on a delivery when its time is over, unless it is dropped before.
func (u *unit) expect(x *delivery, now time.Time) {
	x.late = now.Add(x.left(now))
	u.deadlines.add(x)
	u.alarm(now)
}

// alarm sets the timer for the first deadline.
func (u *unit) alarm(now time.Time) {
	d := &u.deadlines
	switch {
	case d.first == nil || !d.due.IsZero() && !d.first.late.Before(d.due):
		return
	case d.timer == nil:
		d.timer = time.AfterFunc(d.first.late.Sub(now), u.expire)
	default:
		d.timer.Reset(d.first.late.Sub(now))
	}
	d.due = d.first.late
}

// expire ends the work on what is late.
func (u *unit) expire() {
	u.mu.Lock()
	defer u.mu.Unlock()
	d, now := &u.deadlines, time.Now()
	d.due = time.Time{}
	for x := d.first; x != nil && !now.Before(x.late); x = d.first {
		d.drop(x)
		x.End(errLate)
	}
	u.alarm(now)
}
