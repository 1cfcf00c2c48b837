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

func TestHostedServiceIsKeptAlive(t *testing.T) {
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

func TestHostedServiceThatCannotStartRestsLongerAndLonger(t *testing.T) {
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
