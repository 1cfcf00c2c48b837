package exec

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/process"
)

// settle is how long a reply that has begun waits for its program to exit: with the
// exit status known, a failure is an error and a short reply needs no stream.
const settle = 25 * time.Millisecond

// A run is a call and its process.
type run struct {
	instance *instance
	call     *mayfly.Call
	process  *process.Process
	stdin    *input // nil if the body is in memory
	output   *output
	tail     process.Tail

	wasted  chan struct{} // closed by Close: the reply has no reader any more
	waste   func()
	watched chan struct{} // closed when the process is gone and the stream has ended
}

// Call implements runner.Instance.
func (i *instance) Call(ctx context.Context, c *mayfly.Call) (mayfly.Reply, error) {
	if err := ctx.Err(); err != nil {
		return mayfly.Reply{}, timeout(ctx)
	}
	r := &run{instance: i, call: c, output: newOutput(), wasted: make(chan struct{}), watched: make(chan struct{})}
	r.waste = sync.OnceFunc(func() { close(r.wasted) })
	spec := i.process(variables(ctx, c))
	spec.Stdout, spec.Stderr = r.output, process.Lines(r.say)
	switch {
	case c.Stream != nil:
		r.stdin = &input{from: c.Stream, broken: make(chan struct{}), gone: make(chan struct{})}
		spec.Stdin = r.stdin
	case len(c.Body) > 0:
		spec.Stdin = bytes.NewReader(c.Body)
	}
	if err := i.begin(r, spec); err != nil {
		return mayfly.Reply{}, err
	}
	return r.reply(ctx)
}

// reply waits until the kind of reply is known.
func (r *run) reply(ctx context.Context) (mayfly.Reply, error) {
	var settled <-chan time.Time
	var begun <-chan struct{} = r.output.begun
	for {
		select {
		case <-r.process.Done():
			return r.whole()
		case <-ctx.Done():
			return mayfly.Reply{}, r.kill(timeout(ctx))
		case <-r.stdin.brokenOff():
			return mayfly.Reply{}, r.kill(r.stdin.fault())
		case <-begun:
			begun, settled = nil, time.After(settle)
		case <-r.output.full:
			return r.stream(ctx)
		case <-settled:
			settled = nil
			if r.instance.spec.Program.CGI {
				begun = r.output.headerLacks()
			}
			if begun == nil {
				return r.stream(ctx)
			}
		}
	}
}

// stop ends the process as Instance.Stop promises. A reader that does not read must
// not delay the end of ctx.
func (r *run) stop(ctx context.Context) {
	unblock := context.AfterFunc(ctx, func() { r.output.close(stopped()) })
	defer unblock()
	r.process.Stop(ctx)
}

// kill ends the process, waits for it, and returns why.
func (r *run) kill(why error) error {
	r.output.close(why)
	r.process.Kill()
	<-r.process.Done()
	r.over()
	return why
}

// over cleans up after the process has ended. A full TMPDIR ends the instance, however the
// call ended: the next one must not find it.
func (r *run) over() {
	if r.stdin != nil {
		close(r.stdin.gone)
	}
	r.instance.end(r)
	if exit, ok := errors.AsType[*process.ExitError](r.process.Err()); ok && exit.Exceeded == process.Disk {
		r.instance.fail(r.crashed(exit))
	}
}

// whole returns the reply of a process that has ended.
func (r *run) whole() (mayfly.Reply, error) {
	r.over()
	if err := r.verdict(); err != nil {
		return mayfly.Reply{}, err
	}
	body, _ := r.output.flow()
	return r.head(body)
}

// verdict returns whether an ended process succeeded, and logs a failure. Call it
// only once.
func (r *run) verdict() error {
	if err := r.stdin.fault(); err != nil {
		return err
	}
	err := r.process.Err()
	if err == nil {
		return nil
	}
	exit, ok := errors.AsType[*process.ExitError](err)
	if ok && exit.Signal != 0 && exit.Exceeded == "" && r.instance.isStopped() {
		return stopped()
	}
	crashed := r.crashed(err)
	r.instance.spec.Output(r.instance.spec.Line(mayfly.System, r.call.ID, "crashed: "+crashed.Message))
	return crashed
}

func (r *run) crashed(err error) *mayfly.Error {
	crashed := mayfly.Errorf(mayfly.Crashed, "%s failed: %s", r.instance.spec.Name, err)
	crashed.Err = r.tail.Trace()
	if exit, ok := errors.AsType[*process.ExitError](err); ok && exit.Exceeded != "" {
		crashed = crashed.WithHint("raise %s: of the function in mayfly.yaml, or make it use less", exit.Exceeded)
	}
	return crashed
}

// head returns a reply from the output so far.
func (r *run) head(body []byte) (mayfly.Reply, error) {
	if r.instance.spec.Program.CGI {
		return parseCGI(body)
	}
	return mayfly.Reply{Status: http.StatusOK, Header: http.Header{}, Body: body, Length: int64(len(body))}, nil
}

// stream returns a reply that continues while the process runs.
func (r *run) stream(ctx context.Context) (mayfly.Reply, error) {
	head, rest := r.output.flow()
	reply, err := r.head(head)
	if err != nil {
		return mayfly.Reply{}, r.kill(err)
	}
	reply.Stream = &stream{run: r, Reader: io.MultiReader(bytes.NewReader(reply.Body), rest)}
	reply.Body, reply.Length = nil, -1
	go r.watch(ctx) // ends with the process; Stop and Close wait for it
	return reply, nil
}

// watch ends a stream when the process exits, its reader leaves, ctx ends or the
// program stays silent too long.
func (r *run) watch(ctx context.Context) {
	defer close(r.watched)
	idle := time.Duration(r.instance.spec.Limits.IdleTimeout)
	silent := time.NewTimer(idle)
	defer silent.Stop()
	if idle <= 0 {
		silent.Stop()
	}
	for {
		select {
		case <-r.process.Done():
			r.over()
			r.output.close(r.verdict()) // nil is io.EOF
			return
		case <-ctx.Done():
			r.kill(timeout(ctx))
			return
		case <-r.wasted:
			r.kill(io.ErrClosedPipe)
			return
		case <-r.stdin.brokenOff():
			r.kill(r.stdin.fault())
			return
		case <-silent.C:
			left := idle - r.output.silence()
			if left <= 0 {
				r.kill(mayfly.Errorf(mayfly.Timeout, "the reply stalled for %s", idle).
					WithHint("raise idle_timeout: of the function, or write more often"))
				return
			}
			silent.Reset(left)
		}
	}
}

// say logs a line of stderr.
func (r *run) say(text string) {
	line := r.instance.spec.Line(mayfly.Stderr, r.call.ID, text)
	r.tail.Add(line)
	r.instance.spec.Output(line)
}

// A stream is the body of a reply whose process may still be running.
type stream struct {
	io.Reader
	run *run
}

// Close ends the process if necessary, and waits for it.
func (s *stream) Close() error {
	s.run.waste()
	<-s.run.watched
	return nil
}

// timeout returns the error for a context that has ended.
func timeout(ctx context.Context) error {
	err := context.Cause(ctx)
	if _, ok := errors.AsType[*mayfly.Error](err); ok {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return mayfly.Errorf(mayfly.Timeout, "the client disconnected before the program ended: %w", err)
	}
	return mayfly.Errorf(mayfly.Timeout, "the program did not finish in time and was killed: %w", err).
		WithHint("raise its timeout: in mayfly.yaml, or see in its log what it waits for")
}
