package runner

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/scope"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// Call passes a call to an instance of a function, starting one if none is free, and
// returns its reply. Errors: NotFound, Exhausted if the queue is full, Timeout, Crashed,
// Unavailable when the runner is stopping, and the engine's. A reply's Stream must be
// closed: until then the call holds its place in the instance, and ctx ends it.
func (r *Runner) Call(ctx context.Context, name mayfly.Name, c *mayfly.Call) (mayfly.Reply, error) {
	r.mu.RLock()
	u := r.units[name]
	ended := r.closed
	r.mu.RUnlock()
	switch {
	case ended:
		return mayfly.Reply{}, r.unavailable()
	case u == nil || u.kind == mayfly.KindService: // which is called on the bus
		return mayfly.Reply{}, unknown(name)
	}
	return u.call(ctx, c)
}

// A delivery is one call to a function, from admission to the end of its reply,
// stream included. It is the context of the engine's work on it.
type delivery struct {
	scope.Context
	unit     *unit
	id       string // of the call
	began    time.Time
	slot     *slot
	timeout  time.Duration
	deadline time.Time // of the call; zero if none

	late           time.Time // when its time is over
	waits          bool      // in the unit's deadlines
	before, behind *delivery // there
}

func (u *unit) call(ctx context.Context, c *mayfly.Call) (mayfly.Reply, error) {
	x := &delivery{unit: u, id: c.ID, began: time.Now(), deadline: c.Deadline}
	x.Begin(ctx)
	waits, err := u.admit(x)
	if err != nil {
		return mayfly.Reply{}, err
	}
	if waits != nil {
		if err := u.wait(x, waits); err != nil {
			return mayfly.Reply{}, x.fail(err)
		}
	}
	if c.Stream != nil {
		c = x.follow(c)
	}
	reply, err := x.ask(c)
	if (err != nil || reply.Stream != nil) && x.isLate(c, err) {
		x.End(errLate)
		if reply.Stream != nil {
			_ = reply.Stream.Close() // its work was canceled
		}
		return mayfly.Reply{}, x.fail(x.Cause())
	}
	if err != nil {
		return mayfly.Reply{}, x.fail(err)
	}
	failure := ""
	if reply.Status >= http.StatusInternalServerError {
		reply.Error = cmp.Or(reply.Error, http.StatusText(reply.Status), "status "+strconv.Itoa(reply.Status))
		failure = reply.Error
	}
	if reply.Stream != nil {
		reply.Stream = &replyBody{ReadCloser: reply.Stream, delivery: x, failure: failure}
		return reply, nil
	}
	x.finish(failure)
	return reply, nil
}

// admit finds a place for a call in an instance, or else queues it and returns a
// ticket.
func (u *unit) admit(x *delivery) (*ticket, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now == nil {
		if u.ended != nil {
			return nil, u.ended
		}
		return nil, unknown(u.name) // at most prepared
	}
	v := u.route(x.began)
	x.timeout = time.Duration(v.limits.Timeout)
	if x.left(x.began) <= 0 {
		err := mayfly.Errorf(mayfly.Timeout, "the call to %s arrived after its deadline", u.name)
		u.count.add(0, err.Error())
		return nil, err
	}
	for s := v.pool.take(x.began); s != nil; s = v.pool.take(x.began) {
		if !s.dead() {
			x.slot = s
			u.count.InFlight++
			if s.calls > v.pool.crowd {
				u.carry(v, v.pool.relieve(s, x.began))
			}
			u.expect(x, x.began)
			return nil, nil
		}
		s.calls--
		u.bury(s)
	}
	t, o, err := v.pool.join(x.began)
	u.carry(v, o)
	u.plan()
	switch {
	case errors.Is(err, errFull):
		u.count.Rejected++
		return nil, mayfly.Errorf(mayfly.Exhausted, "%s is full: %d calls wait", v.value, v.pool.waiting.Len()).
			WithHint("try again later; raise instances.max, concurrency or wait")
	case err != nil:
		u.count.add(0, err.Error())
		return nil, err
	}
	u.count.Waiting++
	u.expect(x, x.began)
	return t, nil
}

// route returns the revision that takes a call: the current one, or the previous one
// while the current one fails to start. In that case a call also retries the current
// one, once its rest is over.
func (u *unit) route(now time.Time) *revision {
	if len(u.before) == 0 || u.now.pool.crashes == 0 {
		return u.now
	}
	u.carry(u.now, u.now.pool.probe(now))
	return u.before[0]
}

// dead reports whether the instance ended by itself, which its watcher may not have
// noticed yet.
func (l *life) dead() bool { return closed(l.instance.Done()) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// wait waits until a ticket is answered or the delivery ends.
func (u *unit) wait(x *delivery, t *ticket) error {
	select {
	case <-t.done:
	case <-x.Done():
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count.Waiting--
	switch {
	case t.slot != nil:
		x.slot = t.slot // even if x has ended: finish gives it back
		u.count.InFlight++
		return x.Err()
	case t.err != nil:
		return t.err
	}
	t.pool.quit(t)
	return x.Err()
}

// ask calls the instance. A panic in an engine costs one call.
func (x *delivery) ask(c *mayfly.Call) (reply mayfly.Reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			u := x.unit
			u.runner.options.Log.Error("engine panicked", telemetry.KeyFunction, x.slot.revision.value.String(),
				telemetry.KeyCall, c.ID, telemetry.KeyErr, p, "stack", string(debug.Stack()))
			reply, err = mayfly.Reply{}, mayfly.Errorf(mayfly.Internal, "call %s: its engine panicked", u.name)
		}
	}()
	return x.slot.instance.Call(x, c)
}

var errLate = errors.New("no reply in time")

// left returns how long the reply may take from now.
func (x *delivery) left(now time.Time) time.Duration {
	if x.deadline.IsZero() {
		return x.timeout
	}
	return min(x.timeout, x.deadline.Sub(now))
}

// follow restarts the timeout with each piece of the request that the instance reads, so
// that it finally runs from the request's end, and an instance that stops reading
// without a reply does not hold the call forever.
func (x *delivery) follow(c *mayfly.Call) *mayfly.Call {
	own := *c
	own.Stream = &requestBody{Reader: c.Stream, delivery: x}
	return &own
}

// A requestBody is a request's streamed body.
type requestBody struct {
	io.Reader
	delivery *delivery
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	x := b.delivery
	x.unit.mu.Lock()
	defer x.unit.mu.Unlock()
	if now := time.Now(); x.inTime(now) {
		x.unit.expect(x, now)
	}
	return n, err
}

// isLate stops the timeout and reports whether the reply to c came too late. An engine that
// knows the deadline may time out a moment before we do.
func (x *delivery) isLate(c *mayfly.Call, err error) bool {
	x.unit.mu.Lock()
	defer x.unit.mu.Unlock()
	return !x.inTime(time.Now()) || c.Stream == nil && err != nil && mayfly.CodeOf(err) == mayfly.Timeout
}

// inTime stops the timeout unless the call is late or has been replied to.
func (x *delivery) inTime(now time.Time) bool {
	return now.Before(x.late) && x.unit.deadlines.drop(x)
}

// fail ends a delivery that has no reply, and returns why.
func (x *delivery) fail(err error) error {
	u := x.unit
	name := string(u.name)
	if x.slot != nil {
		name = x.slot.revision.value.String()
	}
	switch cause := x.Cause(); {
	case cause == nil:
		if _, ok := errors.AsType[*mayfly.Error](err); !ok {
			err = mayfly.Errorf(mayfly.Internal, "call %s: %w", name, err)
		}
		if mayfly.CodeOf(err) == mayfly.Crashed && mayfly.HintOf(err) == "" {
			err = mayfly.Errorf(mayfly.Crashed, "%w", err).WithHint("%s", x.logs())
		}
	case !errors.Is(cause, errLate):
		err = mayfly.Errorf(mayfly.Timeout, "call %s: %w", name, cause)
	case x.slot == nil:
		err = mayfly.Errorf(mayfly.Timeout, "no instance of %s was free in time", name).
			WithHint("try again later, or raise instances.max or concurrency")
	case x.timeout <= x.left(x.began):
		err = mayfly.Errorf(mayfly.Timeout, "%s gave no reply in %s", name, x.timeout).
			WithHint("raise `timeout:` of %s in mayfly.yaml (now %s)", x.slot.revision.value.Name, x.timeout)
	default:
		err = mayfly.Errorf(mayfly.Timeout, "%s gave no reply before the caller's deadline", name)
	}
	x.finish(err.Error())
	return err
}

// logs is the command that shows what the function wrote in the call.
func (x *delivery) logs() string {
	if x.id == "" {
		return "mayfly logs " + string(x.unit.name)
	}
	return "mayfly logs " + string(x.unit.name) + " --call " + x.id
}

// finish ends a delivery: it frees its place and counts it. failure is "" for success.
func (x *delivery) finish(failure string) {
	x.End(nil)
	now := time.Now()
	u := x.unit
	u.mu.Lock()
	defer u.mu.Unlock()
	u.deadlines.drop(x)
	u.count.add(now.Sub(x.began), failure)
	s := x.slot
	if s == nil {
		return // it left the queue
	}
	u.count.InFlight--
	if s.dead() {
		u.bury(s) // before another call gets this one's place
	}
	v := s.revision
	u.carry(v, v.pool.leave(s, now))
	if s.calls == 0 && u.due.IsZero() {
		u.plan()
	}
}

// A replyBody is a reply's streamed body.
type replyBody struct {
	io.ReadCloser
	delivery *delivery

	mu      sync.Mutex
	failure string
	closed  bool
}

func (b *replyBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if b.delivery.Err() == nil { // else the caller has left: it is not the function's fault
		b.mu.Lock()
		b.failure = err.Error()
		b.mu.Unlock()
	}
	return n, err
}

// Close ends the call.
func (b *replyBody) Close() error {
	b.mu.Lock()
	again := b.closed
	b.closed = true
	failure := b.failure
	b.mu.Unlock()
	if again {
		return nil
	}
	err := b.ReadCloser.Close()
	b.delivery.finish(failure)
	return err
}
