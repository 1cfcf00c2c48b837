package runner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly"
)

// At the end calls in flight are answered, those that come or wait are refused, and
// every instance stops.
func TestRunAnswersWhatItHolds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		takes time.Duration // of the call in flight
		cut   bool
	}{
		{"in the drain time", 20 * time.Second, false},
		{"not in the drain time", time.Minute, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := &program{}
				p.call = func(_ context.Context, s Spec, _ *mayfly.Call) (mayfly.Reply, error) {
					var in *alive
					for _, a := range p.living(0) {
						if a.spec.Instance == s.Instance {
							in = a
						}
					}
					select {
					case <-time.After(tt.takes):
						return mayfly.Reply{Status: 200}, nil
					case <-in.done:
						return mayfly.Reply{}, mayfly.Errorf(mayfly.Crashed, "stopped in the call")
					}
				}
				r := New(Options{Engines: map[mayfly.Engine]Engine{mayfly.EngineHTTP: p, mayfly.EngineService: p}, Node: "n1"})
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()
				set(t, r, hello(1, func(f *mayfly.Unit) {
					f.Concurrency, f.Timeout = 1, mayfly.Duration(time.Hour)
					f.Instances = mayfly.Instances{Min: 1, Max: 1}
				}))
				if err := r.Set(worker(0, 2), here); err != nil {
					t.Fatal(err)
				}
				var calls sync.WaitGroup
				calls.Go(func() {
					_, err := r.Call(context.Background(), "hello", &mayfly.Call{})
					if (err != nil) != tt.cut {
						t.Errorf("the call in flight got %v", err)
					}
				})
				synctest.Wait()
				calls.Go(func() {
					_, err := r.Call(context.Background(), "hello", &mayfly.Call{})
					wantCode(t, err, mayfly.Unavailable)
				})
				synctest.Wait()
				began := time.Now()
				stop()
				synctest.Wait()
				_, err := r.Call(context.Background(), "hello", &mayfly.Call{})
				wantCode(t, err, mayfly.Unavailable)
				wantCode(t, r.Set(hello(2), here), mayfly.Unavailable)
				wantCode(t, r.Prepare(context.Background(), hello(2), here), mayfly.Unavailable)
				wantCode(t, r.Set(worker(0, 0), here), mayfly.Unavailable)
				if err := <-done; err != nil {
					t.Error(err)
				}
				calls.Wait()
				if took := time.Since(began); took != min(tt.takes, 30*time.Second) {
					t.Errorf("Run returned after %v", took)
				}
				if n := len(p.living(0)); n != 0 {
					t.Errorf("%d instances are left", n)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A runner that never ran leaves nothing behind either, a start that hangs
// included.
func TestCloseStopsWhatStarts(t *testing.T) {
	t.Parallel()
	p := &program{start: func(ctx context.Context, _ Spec) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	r := New(Options{Engines: map[mayfly.Engine]Engine{mayfly.EngineHTTP: p}})
	set(t, r, hello(1, func(f *mayfly.Unit) { f.Instances.Min = 1 }))
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := r.Call(t.Context(), "hello", &mayfly.Call{})
	wantCode(t, err, mayfly.Unavailable)
}

func TestListsAreSorted(t *testing.T) {
	t.Parallel()
	r := run(t, &program{})
	for _, name := range []mayfly.Name{"b", "c", "a"} {
		set(t, r, hello(1, func(f *mayfly.Unit) { f.Name = name }))
		w := worker(1, 0)
		w.Name = mayfly.Name(strings.ToUpper(string(name)))
		set(t, r, w)
	}
	var names []string
	for _, u := range r.Units() {
		names = append(names, string(u.Name))
	}
	if want := []string{"a", "b", "c", "A", "B", "C"}; !slices.Equal(names, want) {
		t.Errorf("names = %v, want %v", names, want)
	}
	for _, name := range []string{"nobody", ""} {
		if _, ok := r.State(name); ok {
			t.Errorf("State(%q) is there", name)
		}
		if _, ok := r.Stats(name); ok {
			t.Errorf("Stats(%q) are there", name)
		}
	}
}

func TestSetRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	r := run(t, &program{})
	for _, tt := range []struct {
		name   string
		change func(*mayfly.Unit)
		says   string
	}{
		{"no such engine", func(f *mayfly.Unit) { f.Engine = "docker" }, `unknown engine "docker"`},
		{"min above max", func(f *mayfly.Unit) { f.Instances = mayfly.Instances{Min: 3, Max: 2} }, "min 3 is more than max 2"},
		{"negative", func(f *mayfly.Unit) { f.Instances.Idle = -1 }, "negative"},
		{"negative concurrency", func(f *mayfly.Unit) { f.Concurrency = -1 }, "negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, err := range []error{
				r.Set(hello(1, tt.change), here),
				r.Prepare(t.Context(), hello(1, tt.change), here),
			} {
				wantCode(t, err, mayfly.Invalid)
				if !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%q does not say %q", err, tt.says)
				}
			}
		})
	}
}

func TestEnginePanicsCostOneStart(t *testing.T) {
	t.Parallel()
	p := &program{start: func(context.Context, Spec) error { panic("oh") }}
	r := run(t, p)
	set(t, r, hello(1))
	_, err := r.Call(t.Context(), "hello", &mayfly.Call{})
	wantCode(t, err, mayfly.Internal)
}

// What was made for an instance can go when it has ended, however that came about.
func TestEveryInstanceHasItsEnd(t *testing.T) {
	t.Parallel()
	made, ended := make(chan string, 100), make(chan string, 100)
	var refuse atomic.Bool
	p := &program{call: says, start: func(context.Context, Spec) error {
		if refuse.Load() {
			return errors.New("no")
		}
		return nil
	}}
	r := run(t, p, func(o *Options) {
		o.Env = func(_ context.Context, _ mayfly.Program, _ string, _ uint64, instance string) ([]string, error) {
			made <- instance
			return nil, nil
		}
		o.Ended = func(_, instance string) { ended <- instance }
	})
	call := func() {
		_, _ = r.Call(t.Context(), "hello", &mayfly.Call{}) // it may fail to start
	}
	next := func(how string) {
		t.Helper()
		if got, want := <-ended, <-made; got != want {
			t.Errorf("%s: %s ended, want %s", how, got, want)
		}
	}
	set(t, r, hello(1))
	call()
	p.living(1)[0].crash()
	next("a crash")
	call()
	r.Remove("hello")
	next("a removal")
	refuse.Store(true)
	set(t, r, hello(2))
	call()
	next("a failed start")
}
