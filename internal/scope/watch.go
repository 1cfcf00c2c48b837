package scope

import "context"

// A Watch runs a function when a context ends, as context.AfterFunc does. If that is a
// Context, it costs no memory. The zero value is ready; one that was stopped may start
// again.
type Watch struct {
	f     func()
	below *Context    // to end instead of running f
	stop  func() bool // by the standard library; nil where at is set

	at         *Context // the context, which guards the rest
	prev, next *Watch
	linked     bool
}

// Start has f run in a goroutine of its own when ctx ends, at once if it has.
func (w *Watch) Start(ctx context.Context, f func()) {
	w.f = f
	if !w.start(ctx) {
		go f()
	}
}

// start reports whether ctx is still going on.
func (w *Watch) start(ctx context.Context) bool {
	w.at, w.stop = scopeOf(ctx), nil
	if w.at == nil {
		w.after(ctx)
		return true
	}
	c := w.at
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.follow(); c.err != nil {
		return false
	}
	w.prev, w.next, w.linked = nil, c.first, true
	if c.first != nil {
		c.first.prev = w
	}
	c.first = w
	return true
}

// after starts it on a context of the standard library.
func (w *Watch) after(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	f := w.f
	if c := w.below; c != nil {
		f = func() { c.end(ctx.Err(), context.Cause(ctx)) }
	}
	w.stop = context.AfterFunc(ctx, f)
}

// Stop stops waiting. It reports false if the function runs already, or has run.
func (w *Watch) Stop() bool {
	if w.at == nil {
		return w.stop == nil || w.stop()
	}
	w.at.mu.Lock()
	defer w.at.mu.Unlock()
	return w.unlink()
}

// unlink reports whether it was linked. at's mu is held.
func (w *Watch) unlink() bool {
	if !w.linked {
		return false
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		w.at.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.linked = nil, nil, false
	return true
}

// run does what a Watch waited for.
func run(f func(), below *Context, err, cause error) {
	if below != nil {
		below.end(err, cause)
	} else {
		go f()
	}
}
