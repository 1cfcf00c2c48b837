package runner

import (
	"context"
	"sync"
	"testing"

	"github.com/mayfly-run/mayfly"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A program is an engine whose instances are in this process: what a test wants
// them to do stands in functions.
type program struct {
	start func(ctx context.Context, s Spec) error // nil starts at once
	call  func(ctx context.Context, s Spec, c *mayfly.Call) (mayfly.Reply, error)
	stop  func(s Spec) // nil stops at once

	mu     sync.Mutex
	lives  []*alive // all that were ever started
	starts int
}

// An alive is an instance of a program.
type alive struct {
	program *program
	spec    Spec
	end     func(error)
	done    chan struct{}
	err     error
}

func (p *program) Traits() Traits { return Traits{} }

// A script is a program of which an instance takes one call.
type script struct{ *program }

func (script) Traits() Traits { return Traits{OneCall: true, PerCall: true} }

func (p *program) Start(ctx context.Context, s Spec) (Instance, error) {
	p.mu.Lock()
	p.starts++
	p.mu.Unlock()
	if p.start != nil {
		if err := p.start(ctx, s); err != nil {
			return nil, err
		}
	}
	a := &alive{program: p, spec: s, done: make(chan struct{})}
	var once sync.Once
	a.end = func(err error) {
		once.Do(func() {
			a.err = err
			close(a.done)
		})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lives = append(p.lives, a)
	return a, nil
}

// started returns how many starts there were.
func (p *program) started() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts
}

// living returns the instances that are alive, of one revision or of all (0).
func (p *program) living(revision uint64) (living []*alive) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.lives {
		if !closed(a.done) && (revision == 0 || a.spec.Revision == revision) {
			living = append(living, a)
		}
	}
	return living
}

func (a *alive) Call(ctx context.Context, c *mayfly.Call) (mayfly.Reply, error) {
	if a.program.call == nil {
		return mayfly.Reply{Status: 200, Body: c.Body}, nil
	}
	return a.program.call(ctx, a.spec, c)
}

func (a *alive) Done() <-chan struct{} { return a.done }
func (a *alive) Err() error            { return a.err }
func (a *alive) Usage() Usage          { return Usage{PID: 1} }

func (a *alive) Stop(context.Context) {
	if a.program.stop != nil {
		a.program.stop(a.spec)
	}
	a.end(nil)
}

// crash ends it as if it were killed.
func (a *alive) crash() {
	a.end(mayfly.Errorf(mayfly.Crashed, "%s ended: killed", a.spec.Name))
}

// run returns a runner of a program, that runs until the test ends.
func run(t testing.TB, p *program, change ...func(*Options)) *Runner {
	t.Helper()
	o := Options{Engines: map[mayfly.Engine]Engine{mayfly.EngineHTTP: p, mayfly.EngineExec: script{p}, mayfly.EngineService: p}}
	for _, c := range change {
		c(&o)
	}
	r := New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

func hello(revision uint64, change ...func(*mayfly.Unit)) mayfly.Unit {
	f := mayfly.Unit{Name: "hello", Revision: revision, Program: mayfly.Program{Engine: mayfly.EngineHTTP}}
	for _, c := range change {
		c(&f)
	}
	return f
}

func here(context.Context) (string, error) { return "/", nil }

func set(t testing.TB, r *Runner, f mayfly.Unit) {
	t.Helper()
	if err := r.Set(f, here); err != nil {
		t.Fatalf("Set(%s) = %v", f, err)
	}
}
