package bus

import (
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
)

// A node that dies or freezes closes no call: its callers would wait for their timeouts.
// So the caller of a function asks for signs of life, and the node that works on the
// call sends some once it takes a while:
//
//	caller ──► fn.hello, Mayfly-Signs ──► node
//	       ◄── Mayfly-Working            after signFirst, then every signEvery
//	       ◄── reply
//
// A quick call costs one header. Silence is proof only if whoever took the call is
// known to send signs: it sent one before, or all who can take the call do.
const (
	signFirst = 250 * time.Millisecond
	signEvery = time.Second

	// silenceLimit is how long a call may be silent. Two signs may be late.
	silenceLimit = 2500 * time.Millisecond

	// overslept is how late the caller may wake and still trust what it did not hear.
	overslept = 500 * time.Millisecond
)

// signsWanted is the value of Mayfly-Signs. It is shared, and never changed.
var signsWanted = []string{"1"}

// A meaning is what silence means for a call.
type meaning byte

const (
	meaningless meaning = iota
	hopeful             // the call is lost, if there was a sign before
	certain             // the call is lost
)

// meaningOf returns what silence means for a call that has that much time left: functions
// send signs, and calls that end before silence is noticed need none.
func meaningOf(c mayfly.Call, left time.Duration) meaning {
	switch {
	case !strings.HasPrefix(string(c.Subject), mayfly.SubjectFunctions+"."):
		return meaningless
	case left <= silenceLimit:
		return meaningless
	case c.Signs:
		return certain
	default:
		return hopeful
	}
}

// sign reports whether m is a sign of life.
func sign(m *nats.Msg) bool { return len(m.Data) == 0 && len(m.Header[mayfly.HeaderWorking]) == 1 }

// listenFor returns when to look after w again, or the zero time if it has fallen silent,
// and the node that last sent a sign. It is called at now, and was due at wake.
func (r *replies) listenFor(w *waiter, wake, now time.Time) (next time.Time, node string) {
	s := r.shard(w.token)
	s.mu.Lock()
	heard, node := w.heard, w.node
	s.mu.Unlock()
	if end := heard.Add(silenceLimit); end.After(now) {
		return end, node
	}
	proof := w.silence == certain || node != ""
	if !proof || r.deaf() || now.Sub(wake) > overslept {
		return now.Add(silenceLimit), node
	}
	return time.Time{}, node
}

// earlier returns the earlier of two times; a zero deadline is none.
func earlier(deadline, t time.Time) time.Time {
	if deadline.IsZero() || t.Before(deadline) {
		return t
	}
	return deadline
}

// silence is the end of a call that nobody works on anymore.
type silence struct{ node string }

func (s silence) Error() string { return "silence" }

// explain returns what callers learn. Whether the call ran is unknown in both cases.
func (s silence) explain(subject string) error {
	const hint = "it may have run, in whole or in part: call again only if that does no harm; mayfly nodes lists the nodes that answer"
	if s.node == "" {
		return mayfly.Errorf(mayfly.Unavailable, "the node that took the call on subject %q does not answer: %w", subject, mayfly.ErrSilent).WithHint(hint)
	}
	return mayfly.Errorf(mayfly.Crashed, "node %s stopped answering while it ran the call on subject %q", mayfly.Clip(oneLine(s.node)), subject).WithHint(hint)
}

// Signs are those of one call, from its arrival to Stop.
type Signs struct {
	inbound Inbound
	node    string
	timer   *time.Timer

	mu      sync.Mutex // held while a sign is sent
	stopped bool
}

// signs keeps those of calls that ended before the first was due.
var signs = sync.Pool{New: func() any {
	s := &Signs{}
	s.timer = time.AfterFunc(time.Hour, s.send)
	s.timer.Stop()
	return s
}}

// Signs sends signs of life from the node with that name, if the caller wants them, until
// Stop.
func (in Inbound) Signs(node string) *Signs {
	if in.message.Reply == "" || len(in.message.Header[mayfly.HeaderSigns]) == 0 {
		return nil
	}
	s := signs.Get().(*Signs)
	s.inbound, s.node = in, node
	s.timer.Reset(signFirst)
	return s
}

func (s *Signs) send() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	_ = s.inbound.respond(nats.Header{mayfly.HeaderWorking: {s.node}}, nil) // without a server the next one may pass
	s.timer.Reset(signEvery)
}

// Stop ends the signs. A nil Signs has none.
func (s *Signs) Stop() {
	if s == nil {
		return
	}
	s.mu.Lock()
	waiting := s.timer.Stop()
	s.stopped = !waiting // send has begun, and waits for us
	s.mu.Unlock()
	if waiting {
		s.inbound = Inbound{}
		signs.Put(s)
	}
}
