package httpengine

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/link"
	"github.com/mayfly-run/mayfly/internal/process"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// An instance is one process of a function. It implements runner.Instance.
type instance struct {
	spec    runner.Spec
	socket  string
	process *process.Process
	client  *client
	link    atomic.Pointer[link.Link] // nil unless the program speaks frames
	fault   atomic.Pointer[error]     // why it was ended for what it sent; nil if it was not
	tail    process.Tail              // of the output
	done    chan struct{}
	stopped atomic.Bool

	listener net.Listener  // of the link
	arrived  chan struct{} // closed when the link is there
	attended chan struct{} // closed when it, and attend, have ended
}

func newInstance(s runner.Spec, socket string) *instance {
	i := &instance{spec: s, socket: socket, done: make(chan struct{}), arrived: make(chan struct{}), attended: make(chan struct{})}
	limits := s.Limits.WithDefaults()
	i.client = &client{
		timeout:     time.Duration(limits.Timeout),
		idleTimeout: time.Duration(limits.IdleTimeout),
		gone:        i.done,
		why:         func(call string, since time.Time) error { return i.lost(i.tail.TraceOf(call, since)) },
	}
	return i
}

// Call implements runner.Instance. A call without a Deadline gets the Timeout of the
// function's limits, which starts when the request has been sent. Errors have code
// Crashed, Timeout when the deadline has passed or the caller canceled, Invalid when
// the call cannot be sent as it is, Unavailable when the instance was stopped.
func (i *instance) Call(ctx context.Context, c *mayfly.Call) (mayfly.Reply, error) {
	if l := i.link.Load(); l != nil {
		return l.Call(ctx, c)
	}
	return i.client.call(ctx, c)
}

// Done implements runner.Instance.
func (i *instance) Done() <-chan struct{} { return i.done }

// Err implements runner.Instance.
func (i *instance) Err() error {
	select {
	case <-i.done:
	default:
		return nil
	}
	if i.stopped.Load() {
		return nil
	}
	return i.lost(i.tail.Trace())
}

// Stop implements runner.Instance.
func (i *instance) Stop(ctx context.Context) {
	select {
	case <-i.done: // it exited earlier, by itself
	default:
		i.stopped.Store(true)
	}
	// A server that waits for its connections, as Node.js does, would wait for those that
	// have carried no call yet.
	i.rejectCalls()
	i.process.Stop(ctx)
	<-i.done
}

// Usage implements runner.Instance.
func (i *instance) Usage() runner.Usage {
	return runner.Usage{PID: i.process.PID(), Memory: i.process.Memory(), CPU: i.process.CPU()}
}

// watch waits for the process to exit and announces it. It outlives done as long
// as the last calls take to end after their callers have given up.
func (i *instance) watch() {
	<-i.process.Done()
	i.rejectCalls()
	_ = os.Remove(i.socket) // most programs leave it behind
	close(i.done)
	if i.client.awaits() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		<-timer.C
		i.client.abandon()
	}
	i.client.uploads.Wait()
	i.listener.Close()
	<-i.attended
}

func (i *instance) rejectCalls() {
	i.client.close()
	if l := i.link.Load(); l != nil {
		l.Close()
	}
}

// lost is the error of calls in flight when the instance ended.
func (i *instance) lost(trace error) error {
	if i.stopped.Load() {
		return mayfly.Errorf(mayfly.Unavailable, "the instance was stopped before it finished its reply").WithHint("try again")
	}
	err := i.process.Err()
	if fault := i.fault.Load(); fault != nil {
		return i.condemned(*fault)
	}
	e := i.crashed("crashed: "+i.process.Ending(), trace, err)
	exit, _ := errors.AsType[*process.ExitError](err)
	switch {
	case exit != nil && exit.Exceeded != "":
		return e.WithHint("raise %s: of the function in mayfly.yaml, or make it use less", exit.Exceeded)
	case exit != nil && exit.Signal == syscall.SIGKILL:
		return e.WithHint("it was killed by someone, or by the kernel when memory ran out; see mayfly logs %s", i.spec.Name)
	}
	return e.WithHint("the process must keep running between calls; see mayfly logs %s", i.spec.Name)
}

// condemned is the error of what was ended for what it sent.
func (i *instance) condemned(fault error) error {
	return i.crashed("was ended for what it sent: "+fault.Error(), i.tail.Trace(), i.process.Err()).WithHint("see docs/frames.md")
}

// crashed returns an error that says what the instance did, with its last output.
func (i *instance) crashed(did string, trace, cause error) *mayfly.Error {
	return &mayfly.Error{Code: mayfly.Crashed, Message: i.spec.Name + " " + did, Err: errors.Join(trace, cause)}
}

// say passes on a line of output. It belongs to the call it names, or to the only
// call there is.
func (i *instance) say(source mayfly.Source, text string) {
	call, text := cutMark(text)
	if call == "" {
		call = i.speaker()
	}
	line := i.spec.Line(source, call, text)
	i.tail.Add(line)
	i.spec.Output(line)
}

// speaker returns the call that a line belongs to if it names none, or "".
func (i *instance) speaker() string {
	if l := i.link.Load(); l != nil {
		return l.Speaker()
	}
	return i.client.speaker()
}

// cutMark strips a call's id between two marks from the beginning of a line.
func cutMark(text string) (call, rest string) {
	const longest = 64 // id
	if !strings.HasPrefix(text, mayfly.LineMark) {
		return "", text
	}
	call, rest, ok := strings.Cut(text[len(mayfly.LineMark):], mayfly.LineMark)
	if !ok || len(call) > longest {
		return "", text
	}
	return call, rest
}
