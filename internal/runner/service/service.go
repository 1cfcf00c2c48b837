package service

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/process"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// Options configure the engine.
type Options struct {
	Keeper *process.Keeper // starts and ends the processes; required

	// Ready returns nil once the instance's service answers on the bus, an error if it
	// cannot tell, which counts as ready, and returns when ctx ends. If nil, a process
	// that survives Grace is ready.
	Ready func(ctx context.Context, s runner.Spec, pid int) error

	Grace time.Duration // 250 ms if zero
}

// An Engine makes instances that are services.
type Engine struct {
	options Options
}

// New returns an Engine.
func New(o Options) *Engine {
	o.Grace = cmp.Or(o.Grace, 250*time.Millisecond)
	return &Engine{options: o}
}

// Traits implements runner.Engine.
func (*Engine) Traits() runner.Traits { return runner.Traits{Uncalled: true} }

// Start implements runner.Engine.
func (e *Engine) Start(ctx context.Context, s runner.Spec) (runner.Instance, error) {
	i := &instance{spec: s, done: make(chan struct{})}
	i.lines[0] = process.Lines(func(text string) { i.say(mayfly.Stdout, text) })
	i.lines[1] = process.Lines(func(text string) { i.say(mayfly.Stderr, text) })
	var err error
	i.process, err = e.options.Keeper.Start(process.Spec{
		Args: s.Program.Start, Folder: s.Folder, Env: s.Env, Memory: s.Program.Memory,
		Stdout: i.lines[0], Stderr: i.lines[1],
	})
	if err != nil {
		return nil, err
	}
	go i.watch() // ends with the process; Stop waits for it
	if err := e.await(ctx, i); err != nil {
		i.process.Kill()
		<-i.done
		return nil, err
	}
	return i, nil
}

// await returns nil when the instance is ready, or why it will not be.
func (e *Engine) await(ctx context.Context, i *instance) error {
	ask, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan error, 1)
	if e.options.Ready == nil {
		timer := time.AfterFunc(e.options.Grace, func() { ready <- nil })
		defer timer.Stop()
	} else {
		var asking sync.WaitGroup
		asking.Go(func() { ready <- e.options.Ready(ask, i.spec, i.process.PID()) })
		defer asking.Wait()
		defer cancel()
	}
	select {
	case <-i.done:
		return i.failed("the service exited at startup: %s", i.how())
	case <-ctx.Done():
		return i.failed("the service was not ready in time").
			WithHint("raise instances: {start: 30s}, and check that it connects to $NATS_URL")
	case err := <-ready:
		if ctx.Err() != nil {
			return i.failed("the service was not ready in time: %w", cmp.Or(err, ctx.Err()))
		}
		return nil
	}
}

// An instance is a process that uses the bus by itself.
type instance struct {
	spec    runner.Spec
	process *process.Process
	lines   [2]io.WriteCloser // of stdout and stderr
	tail    process.Tail
	done    chan struct{}

	mu      sync.Mutex
	stopped bool
	err     error // set before done is closed
}

// watch closes Done after the last line.
func (i *instance) watch() {
	<-i.process.Done()
	for _, l := range i.lines {
		_ = l.Close() // flushes the last line; never fails
	}
	i.mu.Lock()
	if !i.stopped {
		i.err = i.failed("the service ended: %s", i.how())
	}
	i.mu.Unlock()
	close(i.done)
}

// how describes how the process ended.
func (i *instance) how() string {
	if err := i.process.Err(); err != nil {
		return err.Error()
	}
	return "exit status 0"
}

// failed returns an error with the last lines among its causes.
func (i *instance) failed(format string, args ...any) *mayfly.Error {
	err := mayfly.Errorf(mayfly.Crashed, format, args...)
	err.Err = errors.Join(i.tail.Trace(), err.Err)
	return err
}

func (i *instance) say(source mayfly.Source, text string) {
	line := mayfly.Line{
		Time: time.Now(), Function: i.spec.Name, Revision: i.spec.Revision, Instance: i.spec.Instance,
		Source: source, Text: text,
	}
	i.tail.Add(line)
	i.spec.Output(line)
}

// Call implements runner.Instance. It always fails.
func (i *instance) Call(context.Context, *mayfly.Call) (mayfly.Reply, error) {
	return mayfly.Reply{}, mayfly.Errorf(mayfly.Invalid, "services are called over NATS").
		WithHint("call it on its own subject, or at /svc/%s/<endpoint>", i.spec.Name)
}

// Done implements runner.Instance.
func (i *instance) Done() <-chan struct{} { return i.done }

// Err implements runner.Instance.
func (i *instance) Err() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}

// Stop implements runner.Instance: SIGTERM first, on which services of nats.go/micro
// drain.
func (i *instance) Stop(ctx context.Context) {
	i.mu.Lock()
	i.stopped = true
	i.mu.Unlock()
	i.process.Stop(ctx)
	<-i.done
}

// Usage implements runner.Instance.
func (i *instance) Usage() runner.Usage {
	return runner.Usage{PID: i.process.PID(), Memory: i.process.Memory(), CPU: i.process.CPU()}
}
