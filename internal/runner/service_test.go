package runner

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly"
)

func worker(revision uint64, instances int) mayfly.Unit {
	return mayfly.Unit{
		Kind: mayfly.KindService, Name: "Worker", Revision: revision,
		Limits: mayfly.Limits{Instances: mayfly.Exactly(instances)}, Program: mayfly.Program{Engine: mayfly.EngineService},
	}
}

func TestServiceIsKeptAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		r := run(t, p)
		set(t, r, worker(1, 2))
		for range 3 {
			synctest.Wait()
			if n := len(p.living(0)); n != 2 {
				t.Fatalf("%d instances, want 2", n)
			}
			time.Sleep(time.Minute)
			p.living(0)[0].crash()
			synctest.Wait()
			s := state(t, r, "Worker")
			if s.Failing == "" || len(s.Instances) != 1 || s.Rests != time.Now().Add(100*time.Millisecond) {
				t.Errorf("State = %+v, want one that rests 100ms", s)
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if s := state(t, r, "Worker"); s.Failing != "" || len(s.Instances) != 2 || s.Serving != 1 || s.Unit.Name != "Worker" {
			t.Errorf("State = %+v", s)
		}
		if s, _ := r.Stats("Worker"); s.Starts != 5 || s.Crashes != 3 {
			t.Errorf("Stats = %+v", s)
		}
		set(t, r, worker(1, 1))
		synctest.Wait()
		if n := len(p.living(0)); n != 1 || p.started() != 5 {
			t.Errorf("%d instances, want 1 without a restart", n)
		}
		r.Remove("Worker")
		r.Remove("Worker")
		synctest.Wait()
		if n := len(p.living(0)); n != 0 {
			t.Errorf("%d instances are left", n)
		}
	})
}

func TestServiceThatCannotStartRestsLongerAndLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{start: broken(1)}
		r := run(t, p)
		set(t, r, worker(1, 1))
		time.Sleep(time.Hour)
		if n := p.started(); n < 100 || n > 130 {
			t.Errorf("%d starts in an hour, want one each 31 s", n)
		}
		set(t, r, worker(2, 1)) // at once, not after the rest
		synctest.Wait()
		if n := len(p.living(2)); n != 1 {
			t.Errorf("%d instances of the new revision", n)
		}
	})
}

// One at a time, and there are never fewer than there should be.
func TestNewRevisionOfAServiceReplacesOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		var mu sync.Mutex
		starting := 0
		p.start = func(ctx context.Context, s Spec) error {
			if s.Revision == 1 {
				return nil
			}
			mu.Lock()
			starting++
			if n := len(p.living(0)); starting != 1 || n < 3 {
				t.Errorf("%d start at once, %d are alive", starting, n)
			}
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			starting--
			mu.Unlock()
			return broken(2)(ctx, s)
		}
		r := run(t, p)
		set(t, r, worker(1, 3))
		synctest.Wait()
		set(t, r, worker(2, 3)) // fails, and so changes nothing
		time.Sleep(10 * time.Minute)
		if n := len(p.living(1)); n != 3 {
			t.Errorf("%d instances of the old revision, want 3", n)
		}
		if s := state(t, r, "Worker"); s.Failing == "" || s.Serving != 1 || s.Unit.Revision != 2 {
			t.Errorf("State = %+v", s)
		}
		set(t, r, worker(3, 3))
		time.Sleep(time.Minute)
		if old, now := len(p.living(1)), len(p.living(3)); old != 0 || now != 3 {
			t.Errorf("%d old and %d new instances, want the new ones", old, now)
		}
	})
}

// Of a roll-out that is overtaken by the next each instance takes a place, one at a
// time, and old ones that crash meanwhile come back.
func TestRollOutIsOvertaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{start: func(ctx context.Context, s Spec) error {
			if s.Revision == 2 {
				select {
				case <-time.After(time.Minute):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return broken(3)(ctx, s)
		}}
		r := run(t, p)
		slow := func(revision uint64) mayfly.Unit {
			w := worker(revision, 3)
			w.Instances.Start = mayfly.Duration(time.Hour)
			return w
		}
		alive := func(want ...int) {
			t.Helper()
			synctest.Wait()
			for i, n := range want {
				if got := len(p.living(uint64(i + 1))); got != n {
					t.Errorf("%d instances of revision %d, want %d", got, i+1, n)
				}
			}
		}
		set(t, r, slow(1))
		alive(3)
		set(t, r, slow(2))
		time.Sleep(90 * time.Second)
		alive(2, 1)
		set(t, r, slow(3))
		time.Sleep(time.Minute)
		alive(2, 1, 0)
		p.living(1)[0].crash()
		time.Sleep(time.Second)
		alive(2, 1, 0)
		set(t, r, slow(4))
		alive(0, 0, 0, 3)
		if err := r.Scale("Worker", mayfly.Exactly(0)); err != nil {
			t.Fatal(err)
		}
		alive(0, 0, 0, 0)
	})
}

// What is built anew in development restarts, though nothing else of it has changed.
func TestServiceInDevelopmentRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		r := run(t, p)
		for want := range 3 {
			set(t, r, worker(0, 1))
			synctest.Wait()
			if n := len(p.living(0)); n != 1 || p.started() != want+1 {
				t.Errorf("%d instances after %d starts, want 1 after %d", n, p.started(), want+1)
			}
		}
	})
}

// A name may change its kind: what had it before ends.
func TestNameChangesItsKind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		r := run(t, p)
		service := worker(1, 2)
		service.Name = "hello"
		for range 2 {
			set(t, r, hello(1))
			call(t, r, &mayfly.Call{})
			set(t, r, service)
			synctest.Wait()
			if n := len(p.living(0)); n != 2 {
				t.Errorf("%d instances, want the service's 2", n)
			}
			_, err := r.Call(t.Context(), "hello", &mayfly.Call{})
			wantCode(t, err, mayfly.NotFound)
		}
		if units := r.Units(); len(units) != 1 || units[0].Kind != mayfly.KindService {
			t.Errorf("units = %v", units)
		}
	})
}

func TestLinesTellOfAnInstancesLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var said []string
		p := &program{}
		r := run(t, p, func(o *Options) {
			o.Output = func(l mayfly.Line) {
				mu.Lock()
				defer mu.Unlock()
				if l.Instance == "" || l.Time.IsZero() {
					t.Errorf("line = %+v", l)
				}
				said = append(said, l.Function+" "+string(l.Source)+": "+l.Text)
			}
		})
		set(t, r, hello(1))
		call(t, r, &mayfly.Call{})
		p.living(0)[0].end(errors.New("out of memory"))
		call(t, r, &mayfly.Call{})
		r.Remove("hello")
		synctest.Wait()
		want := []string{
			"hello mayfly: started in 0s",
			"hello mayfly: crashed: out of memory",
			"hello mayfly: started in 0s",
			"hello mayfly: stopped",
		}
		if !slices.Equal(said, want) {
			t.Errorf("lines = %q, want %q", said, want)
		}
	})
}
