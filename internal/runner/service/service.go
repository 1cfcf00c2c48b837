package service

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/process"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// Options configure the engine.
type Options struct {
	Keeper *process.Keeper // starts and ends the processes; required
	Grace  time.Duration   // how long a process must live to be ready; 250 ms if zero
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
func (*Engine) Traits() runner.Traits { return runner.Traits{} }

// Start implements runner.Engine.
func (e *Engine) Start(ctx context.Context, s runner.Spec) (runner.Instance, error) {
	i := &instance{spec: s}
	var err error
	i.Process, err = e.options.Keeper.Start(process.Spec{
		Args: s.Program.Start, Folder: s.Folder, Env: s.Env, Memory: s.Program.Memory, Disk: s.Program.Disk,
		Stdout: process.Lines(func(text string) { i.say(mayfly.Stdout, text) }),
		Stderr: process.Lines(func(text string) { i.say(mayfly.Stderr, text) }),
	})
	if err != nil {
		return nil, err
	}
	if err := e.await(ctx, i); err != nil {
		i.Kill()
		<-i.Done()
		return nil, err
	}
	return i, nil
}

// await returns nil when the instance is ready, or why it will not be.
func (e *Engine) await(ctx context.Context, i *instance) error {
	timer := time.NewTimer(e.options.Grace)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-i.Done():
		return i.failed("the service exited at once: %s", i.Ending()).
			WithHint("%s", "a service must keep running; see its output, or mayfly logs "+i.spec.Name)
	case <-ctx.Done():
		return i.failed("the service was not ready in time").WithHint("raise instances: {start: 30s}")
	}
}

// An instance is a process that uses the bus by itself.
type instance struct {
	*process.Process
	spec    runner.Spec
	tail    process.Tail
	stopped atomic.Bool
}

// failed returns an error with the last lines among its causes.
func (i *instance) failed(format string, args ...any) *mayfly.Error {
	err := mayfly.Errorf(mayfly.Crashed, format, args...)
	err.Err = errors.Join(i.tail.Trace(), err.Err)
	return err
}

func (i *instance) say(source mayfly.Source, text string) {
	line := i.spec.Line(source, "", text)
	i.tail.Add(line)
	i.spec.Output(line)
}

// Call implements runner.Instance. It always fails.
func (i *instance) Call(context.Context, *mayfly.Call) (mayfly.Reply, error) {
	return mayfly.Reply{}, mayfly.Errorf(mayfly.Invalid, "services are called over NATS").
		WithHint("call it on its own subject, or at /svc/%s/<endpoint>", i.spec.Name)
}

// Err implements runner.Instance.
func (i *instance) Err() error {
	select {
	case <-i.Done():
	default:
		return nil
	}
	if i.stopped.Load() {
		return nil
	}
	return i.failed("the service ended: %s", i.Ending())
}

// Stop implements runner.Instance: SIGTERM first, on which services of nats.go/micro
// drain.
func (i *instance) Stop(ctx context.Context) {
	select {
	case <-i.Done(): // it exited earlier, by itself
	default:
		i.stopped.Store(true)
	}
	i.Process.Stop(ctx)
}

// Usage implements runner.Instance.
func (i *instance) Usage() runner.Usage {
	return runner.Usage{PID: i.PID(), Memory: i.Memory(), CPU: i.CPU()}
}
