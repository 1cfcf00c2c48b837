package runner

import (
	"context"
	"time"
)

// A trial is an instance that is started only to see whether it starts. It belongs to no
// pool, gets no calls, and gives way to an instance that does.
type trial struct {
	slot *slot
	done chan struct{} // closed when nothing is left of it
}

// giveWay ends a trial, if there is one, and returns when it has ended: it may hold a port
// or a file that its successor needs. The caller holds the unit's mu.
func (t *trial) giveWay() <-chan struct{} {
	if t == nil {
		return nil
	}
	t.slot.stop()
	return t.done
}

// check is Runner.Check.
func (u *unit) check(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t := u.begin(stop)
	if t == nil {
		return nil
	}
	defer u.runner.lives[u.kind].Done()
	defer u.runner.forget(u)
	defer u.runner.options.Ended(string(u.name), t.slot.id)
	instance, err := u.start(ctx, t.slot)
	if err == nil {
		u.started(t.slot, instance)
		grace, cancel := context.WithTimeout(ctx, u.runner.options.Grace)
		defer cancel()
		instance.Stop(grace)
	}
	return u.finish(ctx, t, err)
}

// begin returns a new trial, or nil if none is needed.
func (u *unit) begin(stop context.CancelFunc) *trial {
	u.mu.Lock()
	defer u.mu.Unlock()
	v := u.now
	if v == nil || u.trial != nil || v.pool.proven || v.pool.alive() {
		return nil
	}
	u.trial = &trial{done: make(chan struct{})}
	u.trial.slot = &slot{generation: v.pool.generation, life: life{id: newID(), revision: v, began: time.Now(), stop: stop, trial: true}}
	u.count.Starts++
	u.runner.lives[u.kind].Add(1) // the runner is not closed: that would have ended the unit
	return u.trial
}

// finish ends a trial, and returns why the program did not start.
func (u *unit) finish(ctx context.Context, t *trial, err error) error {
	u.mu.Lock()
	u.trial = nil
	if ctx.Err() != nil { // given up, or it gave way: that says nothing
		t.slot.phase, err = stopping, nil
	}
	u.mu.Unlock()
	if err != nil {
		u.failed(t.slot, err)
	} else {
		u.stopped(t.slot)
	}
	close(t.done)
	return err
}
