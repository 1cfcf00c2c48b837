package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/frame"
	"github.com/mayfly-run/mayfly/internal/head"
)

// A moment is how long a line of output may belong to the last call after its end.
const moment = 100 * time.Millisecond

// Options configure a Link.
type Options struct {
	// Timeout is the deadline of a call that has none, for its head: only ctx ends a call.
	Timeout time.Duration

	// IdleTimeout is how long a reply that has begun may stall; 0 is no limit.
	IdleTimeout time.Duration

	// Broken explains to a call that began at the given time why the connection ended; nil
	// returns err.
	Broken func(call string, began time.Time, err error) error
}

// A Link carries calls to one instance.
type Link struct {
	conn    net.Conn
	options Options
	reader  *frame.Reader
	writer  *frame.Writer
	standby chan struct{}  // wakes the goroutine that reads for many
	done    chan struct{}  // closed when nothing more is read
	err     error          // why; set before done is closed
	uploads sync.WaitGroup // only grows while the link is open
	spare   sync.Pool      // of *call
	windows sync.Pool      // of *[frame.Window]byte

	mu      sync.Mutex
	last    uint32 // number of the newest call
	calls   map[uint32]*call
	reading bool // somebody reads: a call that found nobody, for itself and others, or the goroutine
	closed  bool

	// Whom a line of output belongs to.
	crowd bool   // calls have overlapped since the first of them began
	alone string // id of the call that ended last, if it was alone
	ended time.Time
}

// Open takes over a connection to an instance: it exchanges prefaces and begins to read. When
// it fails it leaves the connection open.
func Open(conn net.Conn, o Options) (*Link, error) {
	reader, err := frame.NewReader(conn)
	if err != nil {
		return nil, err
	}
	if o.Broken == nil {
		o.Broken = func(_ string, _ time.Time, err error) error { return err }
	}
	l := &Link{
		conn: conn, options: o, reader: reader, writer: frame.NewWriter(conn),
		standby: make(chan struct{}, 1), done: make(chan struct{}), calls: map[uint32]*call{},
	}
	l.windows.New = func() any { return new([frame.Window]byte) }
	go l.stand()
	return l, nil
}

// Call passes a call to the instance and returns its reply. When ctx ends, so does the call,
// its reply's Stream included. Errors: Invalid if the call cannot be sent, Crashed if the
// instance says that it failed or sends no valid reply, Timeout if ctx ended, those of Broken,
// Unavailable after Close.
func (l *Link) Call(ctx context.Context, c *mayfly.Call) (mayfly.Reply, error) {
	if ctx.Err() != nil {
		return mayfly.Reply{}, canceled(ctx)
	}
	began := time.Now()
	deadline := head.Deadline(ctx, c, began, l.options.Timeout)
	x := l.newCall()
	x.id, x.began, x.method = c.ID, began, c.Method
	if err := l.begin(x, c, deadline); err != nil {
		return mayfly.Reply{}, x.explain(err)
	}
	x.watch.Start(ctx, x.expires)
	if x.reads {
		l.read(x)
	}
	<-x.answer
	unwatched := x.watch.Stop()
	switch {
	case x.err == errCanceled:
		return mayfly.Reply{}, canceled(ctx)
	case x.err != nil:
		return mayfly.Reply{}, x.explain(x.err)
	}
	reply := x.reply
	if s := x.stream; s != nil {
		s.watch.Start(ctx, func() { s.fail(canceled(ctx)) })
		reply.Stream = s
	} else if x.room == nil && unwatched {
		l.spare.Put(x) // it has ended, and nobody knows it
	}
	return reply, nil
}

func (l *Link) newCall() *call {
	x, ok := l.spare.Get().(*call)
	if !ok {
		x = &call{answer: make(chan struct{}, 1)}
		x.expires = x.expire
	}
	*x = call{link: l, answer: x.answer, expires: x.expires}
	return x
}

func canceled(ctx context.Context) error {
	return mayfly.Errorf(mayfly.Timeout, "the call ended before its reply was complete: %w", context.Cause(ctx))
}

// lines is how a head is written here.
var lines = head.Dialect{Colon: ":", End: "\n"}

// begin registers a call and sends what may be sent ahead.
func (l *Link) begin(x *call, c *mayfly.Call, deadline time.Time) error {
	first := c.Body[:min(len(c.Body), frame.MaxBody)]
	whole := c.Stream == nil && len(first) == len(c.Body)
	if !whole {
		x.room, x.granted = make(chan struct{}, 1), frame.Window-len(first)
	}
	if err := l.add(x); err != nil {
		return err
	}
	b := l.writer.Begin()
	start := len(b)
	grown, err := head.Append(frame.Begin(b, x.number, frame.Head), c, deadline, lines)
	size := len(grown) - start - frame.HeaderSize
	if err == nil && size > frame.MaxHead {
		err = mayfly.Errorf(mayfly.Invalid, "the call's headers have %d bytes: at most %d fit", size, frame.MaxHead)
	}
	if err != nil {
		l.writer.Flush(b[:start])
		l.remove(x)
		if x.reads {
			l.pass()
		}
		if !whole {
			l.uploads.Done() // it does not begin
		}
		return err
	}
	grown = append(grown, first...)
	frame.Finish(grown[start:], size, whole)
	l.writer.Flush(grown)
	if !whole {
		go x.upload(c, c.Body[len(first):])
	}
	return nil
}

// add gives a call its number.
func (l *Link) add(x *call) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.calls == nil:
		return brokenLink{net.ErrClosed}
	case l.closed:
		return mayfly.Errorf(mayfly.Unavailable, "the instance takes no calls anymore").WithHint("try again")
	}
	if x.room != nil {
		l.uploads.Add(1)
	}
	l.crowd = len(l.calls) > 0
	for l.last++; l.last == 0 || l.calls[l.last] != nil; l.last++ {
	}
	x.number = l.last
	l.calls[x.number] = x
	x.reads = !l.reading
	l.reading = true
	return nil
}

// remove ends a call. Of many that do so at once, it returns true to one: that one says how
// the call ended.
func (l *Link) remove(x *call) bool {
	l.mu.Lock()
	there := l.calls[x.number] == x
	if there {
		delete(l.calls, x.number)
		if len(l.calls) == 0 {
			l.alone, l.ended = x.id, time.Now()
			if l.crowd {
				l.alone = ""
			}
		}
	}
	l.mu.Unlock()
	if there && x.room != nil {
		x.grant(0) // its upload ends
	}
	return there
}

// cancel ends a call that nobody waits for anymore, and reports whether it was there.
func (l *Link) cancel(x *call) bool {
	there := l.remove(x)
	if there {
		l.writer.Flush(frame.Append(l.writer.Begin(), frame.Frame{Call: x.number, Kind: frame.Cancel}))
	}
	return there
}

// open gives a call the stream of its reply, unless it has ended meanwhile.
func (l *Link) open(x *call, reply mayfly.Reply, s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls[x.number] == x {
		x.reply, x.stream = reply, s
		x.answer <- struct{}{}
	}
}

// there reports whether a call has not ended.
func (l *Link) there(x *call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls[x.number] == x
}

// Speaker returns the id of the call that a line of output belongs to if that is
// unambiguous: the only call now, or the last one a moment ago.
func (l *Link) Speaker() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.calls) == 1:
		for _, x := range l.calls {
			return x.id
		}
	case len(l.calls) == 0 && time.Since(l.ended) < moment:
		return l.alone
	}
	return ""
}

// Close rejects new calls. Calls in flight go on. From now on the connection's end is noticed
// without a call.
func (l *Link) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if !l.reading {
		l.reading = true
		l.standby <- struct{}{}
	}
}

// End ends the connection and all calls, and returns when nothing of the link is left.
func (l *Link) End() {
	_ = l.conn.Close()
	l.mu.Lock()
	idle := !l.reading
	l.reading = true
	l.mu.Unlock()
	if idle {
		l.finish(net.ErrClosed)
	}
	<-l.done
	l.uploads.Wait()
	l.writer.Close()
}

// Done is closed when the connection has ended. Then Err says why: io.EOF if the instance
// closed it.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err returns why the connection has ended.
func (l *Link) Err() error { return l.err }

// stand reads while calls are in flight that do not read themselves.
func (l *Link) stand() {
	for {
		select {
		case <-l.standby:
			l.read(nil)
		case <-l.done:
			return
		}
	}
}

// read takes the instance's frames, until the call x has its answer, or, if it is nil, until
// no call is in flight. So a lonely call waits for its reply without another goroutine.
func (l *Link) read(x *call) {
	for {
		f, err := l.reader.Next()
		switch {
		case err == nil:
			err = l.take(f)
		case errors.Is(err, os.ErrDeadlineExceeded): // kick
			err = l.conn.SetReadDeadline(time.Time{})
		}
		switch {
		case err != nil:
			l.finish(err)
			return
		case x == nil && !l.reader.Buffered() && l.rest(), x != nil && len(x.answer) > 0:
			if x != nil {
				l.pass()
			}
			return
		}
	}
}

// rest ends the reading if no call is in flight, and one may come.
func (l *Link) rest() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reading = len(l.calls) > 0 || l.closed
	return !l.reading
}

// pass has the goroutine read from now on, unless nothing is to be read.
func (l *Link) pass() {
	if !l.rest() {
		l.standby <- struct{}{}
	}
}

// finish ends the link, and what is in flight.
func (l *Link) finish(err error) {
	_ = l.conn.Close()
	l.mu.Lock()
	l.closed = true
	left := l.calls
	l.calls = nil
	l.mu.Unlock()
	for _, x := range left {
		if x.room != nil {
			x.grant(0)
		}
		x.fail(brokenLink{err})
	}
	l.err = err
	close(l.done)
}

// A brokenLink is why a call has no reply, or only a part of one, that Broken explains.
type brokenLink struct{ error }

func (b brokenLink) Unwrap() error { return b.error }

// take passes a frame to its call. Its error ends the link.
func (l *Link) take(f frame.Frame) error {
	l.mu.Lock()
	x := l.calls[f.Call]
	l.mu.Unlock()
	switch {
	case x == nil:
		return nil // it has ended meanwhile
	case f.Kind == frame.Head && x.begun, f.Kind == frame.Data && x.stream == nil:
		return fmt.Errorf("a frame of kind %d came at the wrong time", f.Kind)
	}
	switch f.Kind {
	case frame.Head:
		x.begun = true
		x.begin(f)
	case frame.Data:
		return x.stream.take(f)
	case frame.Error:
		if l.remove(x) {
			x.fail(Crash(string(f.Head), f.Body))
		}
	case frame.Credit:
		if x.room != nil {
			x.grant(f.Granted())
		}
	case frame.Cancel:
		return errors.New("only a node sends a frame of kind 5")
	}
	return nil
}
