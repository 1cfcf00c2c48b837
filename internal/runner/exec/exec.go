package exec

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/process"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// Options configure the engine.
type Options struct {
	Keeper *process.Keeper // starts and ends the processes; required
}

// An Engine makes instances that start a process for each call.
type Engine struct {
	keeper *process.Keeper
}

// New returns an Engine.
func New(o Options) *Engine { return &Engine{keeper: o.Keeper} }

// Traits implements runner.Engine.
func (*Engine) Traits() runner.Traits { return runner.Traits{OneCall: true, PerCall: true} }

// Start implements runner.Engine. It only checks that a process could be started.
func (e *Engine) Start(_ context.Context, s runner.Spec) (runner.Instance, error) {
	i := &instance{keeper: e.keeper, spec: s, live: map[*run]struct{}{}, done: make(chan struct{})}
	if _, err := i.process(nil).Program(); err != nil {
		return nil, err
	}
	return i, nil
}

// An instance holds what is needed to start processes, and those it has started.
type instance struct {
	keeper *process.Keeper
	spec   runner.Spec
	calls  sync.WaitGroup // those with a process
	done   chan struct{}

	mu      sync.Mutex
	stopped bool
	err     error // why it ended by itself
	live    map[*run]struct{}
	cpu     time.Duration // of processes that have exited
}

// process returns the program with a call's variables.
func (i *instance) process(variables []string) process.Spec {
	return process.Spec{
		Args:   i.spec.Program.Start,
		Folder: i.spec.Folder,
		Env:    append(append(make([]string, 0, len(i.spec.Env)+len(variables)), i.spec.Env...), variables...),
		Memory: i.spec.Program.Memory,
		Disk:   i.spec.Program.Disk,
	}
}

// begin starts a call's process; call end afterwards.
func (i *instance) begin(r *run, s process.Spec) (err error) {
	i.mu.Lock()
	if i.stopped {
		i.mu.Unlock()
		return stopped()
	}
	i.calls.Add(1)
	i.mu.Unlock()

	if r.process, err = i.keeper.Start(s); err != nil {
		i.calls.Done()
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.live[r] = struct{}{}
	if i.stopped { // Stop has missed this call
		r.output.close(stopped())
		r.process.Kill()
	}
	return nil
}

func (i *instance) end(r *run) {
	i.mu.Lock()
	delete(i.live, r)
	i.cpu += r.process.CPU()
	i.mu.Unlock()
	i.calls.Done()
}

func (i *instance) isStopped() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stopped
}

// Done implements runner.Instance. Without a process it only closes on Stop and fail.
func (i *instance) Done() <-chan struct{} { return i.done }

// Err implements runner.Instance.
func (i *instance) Err() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}

// fail ends the instance after its only call, unless Stop does. It does not wait for
// Stop, which may wait for the call.
func (i *instance) fail(err error) {
	i.mu.Lock()
	first := !i.stopped
	if first {
		i.stopped, i.err = true, err
	}
	i.mu.Unlock()
	if first {
		i.calls.Wait()
		close(i.done)
	}
}

// Stop implements runner.Instance.
func (i *instance) Stop(ctx context.Context) {
	i.mu.Lock()
	first := !i.stopped
	i.stopped = true
	live := slices.Collect(maps.Keys(i.live))
	i.mu.Unlock()
	if !first {
		<-i.done
		return
	}
	var stops sync.WaitGroup
	for _, r := range live {
		stops.Go(func() { r.stop(ctx) })
	}
	stops.Wait()
	i.calls.Wait()
	close(i.done)
}

// Usage implements runner.Instance.
func (i *instance) Usage() runner.Usage {
	i.mu.Lock()
	defer i.mu.Unlock()
	u := runner.Usage{CPU: i.cpu}
	for r := range i.live {
		u.Memory += r.process.Memory()
		u.CPU += r.process.CPU()
	}
	return u
}

func stopped() error {
	return mayfly.Errorf(mayfly.Unavailable, "the instance was stopped").WithHint("try again")
}
