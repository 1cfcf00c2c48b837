package scope

import (
	"context"
	"sync"
	"time"
)

// A Context is a context.Context to embed. Begin it before use, and End it when the work is
// over. It must not be copied.
type Context struct {
	parent context.Context

	mu    sync.Mutex // taken before that of a parent
	err   error      // nil until it has ended
	cause error
	done  chan struct{} // nil until somebody asks for it
	first *Watch        // of those that wait for its end
	above Watch         // waits for the parent's end, once follows is set

	follows bool
}

// Begin starts the context of a piece of work below parent.
func (c *Context) Begin(parent context.Context) { c.parent = parent }

// End ends it with the error context.Canceled. Cause returns the cause, here and in a Context
// below, but context.Cause does not: it knows only the standard library's. Only the first End
// counts.
func (c *Context) End(cause error) {
	if cause == nil {
		cause = context.Canceled
	}
	_ = c.Err() // the parent's end came first
	c.end(context.Canceled, cause)
}

func (c *Context) end(err, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if c.follows {
		c.above.Stop()
	}
	c.over(err, cause)
	for w := c.first; w != nil; w = c.first {
		w.unlink()
		f, below := w.f, w.below // the owner may use it again from here on
		c.mu.Unlock()
		run(f, below, err, cause)
		c.mu.Lock()
	}
}

// over notes the end. mu is held.
func (c *Context) over(err, cause error) {
	c.err, c.cause, c.follows = err, cause, true
	if c.done != nil {
		close(c.done)
	}
}

// Cause returns why it ended, or nil.
func (c *Context) Cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return c.cause
}

// Err implements context.Context.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return c.err
}

// look notices the end of a parent that it does not follow: so far nothing waits for it. mu is
// held.
func (c *Context) look() {
	if c.follows {
		return
	}
	if err := c.parent.Err(); err != nil {
		c.over(err, causeOf(c.parent))
	}
}

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.follow()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// follow ends c with its parent from now on. mu is held.
func (c *Context) follow() {
	if c.look(); !c.follows {
		c.follows, c.above.below = true, c
		if !c.above.start(c.parent) {
			c.over(c.parent.Err(), causeOf(c.parent))
		}
	}
}

// Deadline implements context.Context.
func (c *Context) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Value implements context.Context.
func (c *Context) Value(key any) any { return c.parent.Value(key) }

// AfterFunc is a method that the standard library looks for: without it, each context made
// from this one would need a goroutine.
func (c *Context) AfterFunc(f func()) (stop func() bool) {
	w := &Watch{}
	w.Start(c, f)
	return w.Stop
}

func (c *Context) scope() *Context { return c }

// scopeOf returns the Context that ctx is or embeds, or nil.
func scopeOf(ctx context.Context) *Context {
	if s, ok := ctx.(interface{ scope() *Context }); ok {
		return s.scope()
	}
	return nil
}

func causeOf(ctx context.Context) error {
	if c := scopeOf(ctx); c != nil {
		return c.Cause()
	}
	return context.Cause(ctx)
}
