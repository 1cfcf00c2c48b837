package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly"
)

// says is an engine's call that tells which revision it is.
func says(_ context.Context, s Spec, _ *mayfly.Call) (mayfly.Reply, error) {
	return mayfly.Reply{Status: 200, Body: fmt.Append(nil, s.Name, "@", s.Revision)}, nil
}

// broken is an engine's start that fails for some revisions, after a second.
func broken(revisions ...uint64) func(context.Context, Spec) error {
	return func(ctx context.Context, s Spec) error {
		if !slices.Contains(revisions, s.Revision) {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		return &mayfly.Error{Code: mayfly.Crashed, Message: "ended at its start", Err: mayfly.Trace("SyntaxError\n at line 3")}
	}
}

func state(t testing.TB, r *Runner, name string) UnitState {
	t.Helper()
	s, ok := r.State(name)
	if !ok {
		t.Fatalf("no state of %s", name)
	}
	return s
}

func TestIdleInstancesStopAboveMin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := &program{call: g.call}
		r := run(t, p)
		set(t, r, hello(1, func(f *mayfly.Unit) {
			f.Concurrency, f.Instances = 1, mayfly.Instances{Min: 1, Max: 3, Idle: mayfly.Duration(time.Minute)}
		}))
		synctest.Wait()
		if n := len(p.living(0)); n != 1 {
			t.Fatalf("%d instances are kept warm, want 1", n)
		}
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() { call(t, r, &mayfly.Call{}) })
		}
		synctest.Wait()
		if n := len(p.living(0)); n != 3 {
			t.Fatalf("%d instances for three calls", n)
		}
		close(g.pass)
		calls.Wait()
		time.Sleep(50 * time.Second)
		call(t, r, &mayfly.Call{}) // by the first one: the others go on being idle
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(p.living(0)); n != 1 {
			t.Errorf("%d instances after a minute, want 1", n)
		}
		time.Sleep(time.Hour)
		if n := len(p.living(0)); n != 1 || p.started() != 3 {
			t.Errorf("%d instances of %d after an hour, want the first", n, p.started())
		}
	})
}

func TestFunctionThatNobodyCallsAnyMoreHasNoInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		r := run(t, p)
		set(t, r, hello(1))
		for range 3 {
			call(t, r, &mayfly.Call{})
			time.Sleep(4 * time.Minute)
		}
		if n := len(p.living(0)); n != 1 || p.started() != 1 {
			t.Errorf("%d instances of %d while it is called", n, p.started())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(p.living(0)); n != 0 {
			t.Errorf("%d instances after five minutes", n)
		}
	})
}

// Ten calls a second for an hour to a function that cannot start: the first says
// why, the rest say it at once, and few of them cost a start.
func TestBadRevisionMakesNoStorm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines []mayfly.Line
		p := &program{start: broken(1)}
		r := run(t, p, func(o *Options) { o.Output = func(l mayfly.Line) { lines = append(lines, l) } })
		set(t, r, hello(1))
		for began := time.Now(); time.Since(began) < time.Hour; time.Sleep(100 * time.Millisecond) {
			_, err := r.Call(t.Context(), "hello", &mayfly.Call{})
			wantCode(t, err, mayfly.Crashed)
			if trace, ok := errors.AsType[mayfly.Trace](err); !ok || !strings.Contains(string(trace), "line 3") {
				t.Fatalf("%v has the trace %q", err, trace)
			}
			if stats(t, r).Requests == 1 && p.started() != 1 {
				t.Fatal("the first call was made to wait for a second start")
			}
		}
		if n := p.started(); n < 100 || n > 130 {
			t.Errorf("%d starts in an hour, want one each 31 s", n)
		}
		s := state(t, r, "hello")
		if s.Failing != "ended at its start" || !s.Rests.After(time.Now()) || len(s.Instances) != 0 {
			t.Errorf("State = %+v", s)
		}
		if got := lines[len(lines)-1]; got.Source != mayfly.System || got.Text != "did not start: ended at its start; next start in 30s" {
			t.Errorf("the last line is %+v", got)
		}
		if s := stats(t, r); s.Crashes != uint64(p.started()) || s.Starts != s.Crashes || s.Errors != s.Requests {
			t.Errorf("Stats = %+v", s)
		}
	})
}

func TestCallInARestIsToldItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &program{start: broken(1)})
		set(t, r, hello(1))
		var err error
		for _, want := range []string{
			"ended at its start", // which costs no rest
			"ended at its start",
			"ended at its start; retrying in 100ms",
		} {
			if _, err = r.Call(t.Context(), "hello", &mayfly.Call{}); err == nil || err.Error() != want {
				t.Errorf("the call got %v, want %s", err, want)
			}
		}
		wantCode(t, err, mayfly.Crashed)
		time.Sleep(time.Until(state(t, r, "hello").Rests))
		if _, err := r.Call(t.Context(), "hello", &mayfly.Call{}); err.Error() != "ended at its start" {
			t.Errorf("after the rest the call got %v", err)
		}
	})
}

// A call that kills its instance, from many callers at once.
func TestDeadlyCallMakesNoStorm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		p.call = func(_ context.Context, s Spec, _ *mayfly.Call) (mayfly.Reply, error) {
			for _, a := range p.living(0) {
				if a.spec.Instance == s.Instance {
					a.crash()
				}
			}
			return mayfly.Reply{}, mayfly.Errorf(mayfly.Crashed, "ended in the call")
		}
		r := run(t, p)
		set(t, r, hello(1, func(f *mayfly.Unit) { f.Concurrency = 1 }))
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() {
				for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(100 * time.Millisecond) {
					_, err := r.Call(t.Context(), "hello", &mayfly.Call{})
					wantCode(t, err, mayfly.Crashed)
				}
			})
		}
		calls.Wait()
		if n := p.started(); n > 4*40 {
			t.Errorf("%d starts in ten minutes, want at most four at once, twice a minute", n)
		}
	})
}

// The call in an instance that is killed fails; the next is served at once, by a
// new one.
func TestKilledInstanceCostsItsCallAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		var once sync.Once
		p.call = func(context.Context, Spec, *mayfly.Call) (reply mayfly.Reply, err error) {
			reply = mayfly.Reply{Status: 200}
			once.Do(func() {
				p.living(0)[0].crash()
				reply, err = mayfly.Reply{}, mayfly.Errorf(mayfly.Crashed, "hello ended: killed")
			})
			return reply, err
		}
		r := run(t, p)
		set(t, r, hello(1))
		began := time.Now()
		_, err := r.Call(t.Context(), "hello", &mayfly.Call{})
		wantCode(t, err, mayfly.Crashed)
		call(t, r, &mayfly.Call{})
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		if s := stats(t, r); s.Starts != 2 || s.Crashes != 1 || s.Errors != 1 {
			t.Errorf("Stats = %+v", s)
		}
	})
}

func TestCallThatWaitsIsNotServedByADeadInstance(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]error{ // what the call in it got
		"that died in a call":    mayfly.Errorf(mayfly.Crashed, "hello ended: killed"),
		"that died after a call": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				p := &program{}
				p.call = func(ctx context.Context, s Spec, c *mayfly.Call) (mayfly.Reply, error) {
					if _, _ = g.call(ctx, s, c); c.ID == "deadly" {
						p.living(0)[0].crash()
						return mayfly.Reply{Status: 200}, last
					}
					if len(p.living(0)) == 0 {
						return mayfly.Reply{}, mayfly.Errorf(mayfly.Crashed, "the instance is dead")
					}
					return mayfly.Reply{Status: 200}, nil
				}
				r := run(t, p)
				set(t, r, hello(1, func(f *mayfly.Unit) { f.Concurrency, f.Instances.Max = 1, 1 }))
				var calls sync.WaitGroup
				calls.Go(func() {
					if _, err := r.Call(t.Context(), "hello", &mayfly.Call{ID: "deadly"}); (err == nil) != (last == nil) {
						t.Errorf("the deadly call got %v", err)
					}
				})
				synctest.Wait()
				calls.Go(func() { call(t, r, &mayfly.Call{}) })
				synctest.Wait()
				close(g.pass)
				calls.Wait()
			})
		})
	}
}

// One instance, one call, nobody waits: what comes besides is refused, but a call
// is served that finds the instance killed, or about to stop.
func TestFunctionWithoutAQueueServesOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := &program{stop: func(Spec) { time.Sleep(3 * time.Second) }}
		p.call = func(ctx context.Context, s Spec, c *mayfly.Call) (mayfly.Reply, error) {
			if _, _ = g.call(ctx, s, c); c.ID == "deadly" {
				p.living(0)[0].crash()
				return mayfly.Reply{}, mayfly.Errorf(mayfly.Crashed, "hello ended: killed")
			}
			return mayfly.Reply{Status: 200}, nil
		}
		r := run(t, p)
		set(t, r, hello(1, func(f *mayfly.Unit) {
			f.Concurrency, f.Wait, f.Instances = 1, -1, mayfly.Instances{Max: 1, Idle: mayfly.Duration(time.Second)}
		}))
		var deadly sync.WaitGroup
		deadly.Go(func() {
			_, err := r.Call(t.Context(), "hello", &mayfly.Call{ID: "deadly"})
			wantCode(t, err, mayfly.Crashed)
		})
		synctest.Wait()
		for range 100 {
			_, err := r.Call(t.Context(), "hello", &mayfly.Call{})
			wantCode(t, err, mayfly.Exhausted)
		}
		close(g.pass)
		deadly.Wait()
		call(t, r, &mayfly.Call{})
		time.Sleep(2 * time.Second) // the instance is idle too long, and takes its time to end
		if s := state(t, r, "hello"); s.Instances[0].Phase != "stopping" {
			t.Fatalf("State = %+v", s)
		}
		var calls sync.WaitGroup
		calls.Go(func() { call(t, r, &mayfly.Call{}) })
		synctest.Wait()
		_, err := r.Call(t.Context(), "hello", &mayfly.Call{})
		wantCode(t, err, mayfly.Exhausted)
		calls.Wait()
		if s := stats(t, r); s.Starts != 3 || s.Crashes != 1 || s.Requests != 3 || s.Rejected != 101 || s.InFlight != 0 || s.Waiting != 0 {
			t.Errorf("Stats = %+v", s)
		}
	})
}

// Streams of the old revision go on to their end beside the new one, and hold its
// instances as long.
func TestStreamsOutliveTheirRevision(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		p.call = func(ctx context.Context, s Spec, c *mayfly.Call) (mayfly.Reply, error) {
			if c.ID == "stream" {
				return mayfly.Reply{Status: 200, Stream: io.NopCloser(&slowReader{pieces: 10, each: time.Second, ended: ctx.Done()})}, nil
			}
			return says(ctx, s, c)
		}
		r := run(t, p)
		set(t, r, hello(1))
		var streams []mayfly.Reply
		for range 3 {
			reply, err := r.Call(t.Context(), "hello", &mayfly.Call{ID: "stream"})
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, reply)
		}
		for revision := uint64(2); revision < 4; revision++ {
			set(t, r, hello(revision))
			if got := call(t, r, &mayfly.Call{}); got != fmt.Sprint("hello@", revision) {
				t.Errorf("answered by %s", got)
			}
		}
		for _, reply := range streams {
			synctest.Wait()
			if n := len(p.living(1)); n != 1 {
				t.Errorf("%d instances of the first revision while it streams", n)
			}
			if text, err := io.ReadAll(reply.Stream); string(text) != "xxxxxxxxxx" || err != nil {
				t.Errorf("the stream is %q, %v", text, err)
			}
			_ = reply.Stream.Close()
		}
		synctest.Wait()
		if n := len(p.living(0)); n != 1 || len(p.living(3)) != 1 {
			t.Errorf("%d instances are left, want one of the last revision", n)
		}
		if s := stats(t, r); s.Requests != 5 || s.Errors != 0 || s.Crashes != 0 || s.InFlight != 0 {
			t.Errorf("Stats = %+v", s)
		}
	})
}

// Four that are killed together tell no more than one: the next call is served.
func TestInstancesKilledTogetherAreOneCrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		r := run(t, p)
		set(t, r, hello(1, func(f *mayfly.Unit) { f.Instances.Min = 4 }))
		synctest.Wait()
		for _, a := range p.living(0) {
			a.crash()
		}
		synctest.Wait()
		if n := len(p.living(0)); n != 4 {
			t.Errorf("%d instances, want 4 at once", n)
		}
		if s := stats(t, r); s.Crashes != 4 || s.Starts != 8 {
			t.Errorf("Stats = %+v", s)
		}
	})
}

func TestInstanceThatDiesWhileIdleIsNotCalled(t *testing.T) {
	t.Parallel()
	p := &program{}
	r := run(t, p)
	set(t, r, hello(1))
	call(t, r, &mayfly.Call{})
	p.living(0)[0].crash()
	call(t, r, &mayfly.Call{})
	if s := stats(t, r); s.Starts != 2 || s.Crashes != 1 || s.Errors != 0 {
		t.Errorf("Stats = %+v", s)
	}
}

// A night without calls starts nothing that would prove one crash over.
func TestOneCrashAloneIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		r := run(t, p)
		set(t, r, hello(1))
		for _, fails := range []bool{false, true} {
			call(t, r, &mayfly.Call{})
			p.living(0)[0].crash()
			synctest.Wait()
			if h, s := r.Health("hello"), state(t, r, "hello"); (h.Failure != nil) != fails || (s.Failing != "") != fails || stats(t, r).Failing != fails {
				t.Errorf("Health = %+v, State = %+v, want failing: %t", h, s, fails)
			}
		}
	})
}

// One crash each 20 s is not a storm, one a second is.
func TestHealthForgivesOldCrashes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		lives time.Duration
		rests bool
	}{
		{"a long life", 10 * time.Second, false},
		{"a short one", 9 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := &program{}
				r := run(t, p)
				set(t, r, hello(1))
				rested := false
				for range 3 {
					call(t, r, &mayfly.Call{})
					time.Sleep(tt.lives)
					p.living(0)[0].crash()
					synctest.Wait()
					s := state(t, r, "hello")
					if rested = !s.Rests.IsZero(); rested {
						time.Sleep(time.Until(s.Rests))
					}
				}
				if rested != tt.rests {
					t.Errorf("rested = %v, want %v", rested, tt.rests)
				}
			})
		})
	}
}

// Calls that an instance works at end there; those that come go to the new one.
func TestNewRevisionTakesTheCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := &program{}
		p.call = func(ctx context.Context, s Spec, c *mayfly.Call) (mayfly.Reply, error) {
			if c.ID == "slow" {
				_, _ = g.call(ctx, s, c)
			}
			return says(ctx, s, c)
		}
		r := run(t, p)
		one := func(f *mayfly.Unit) { f.Concurrency, f.Instances.Max = 1, 1 }
		set(t, r, hello(1, one))
		answers := make(chan string, 2)
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() { answers <- call(t, r, &mayfly.Call{ID: "slow"}) })
			synctest.Wait()
		}
		set(t, r, hello(2, one)) // one is in an instance, the other waits
		synctest.Wait()
		if s := state(t, r, "hello"); len(s.Instances) != 2 || s.Unit.Revision != 2 || s.Serving != 2 {
			t.Errorf("State = %+v", s)
		}
		g.pass <- struct{}{}
		synctest.Wait()
		if n := len(p.living(1)); n != 0 {
			t.Errorf("%d instances of the old revision after its last call", n)
		}
		g.pass <- struct{}{}
		calls.Wait()
		if a, b := <-answers, <-answers; a != "hello@1" || b != "hello@2" {
			t.Errorf("the calls were answered by %s and %s", a, b)
		}
	})
}

func TestRevisionThatFailsKeepsTheLastGoodOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{start: broken(2, 3), call: says}
		r := run(t, p)
		set(t, r, hello(1))
		call(t, r, &mayfly.Call{})
		set(t, r, hello(2))
		for range 600 { // the first waits for the new one to fail, and is then served
			if got := call(t, r, &mayfly.Call{}); got != "hello@1" {
				t.Fatalf("answered by %s", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
		s := state(t, r, "hello")
		if n := stats(t, r); s.Unit.Revision != 2 || s.Serving != 1 || s.Failing == "" || n.Errors != 0 || !n.Failing {
			t.Errorf("State = %+v, Stats = %+v", s, n)
		}
		if n := p.started(); n < 5 || n > 12 {
			t.Errorf("%d starts in a minute: it must be tried again, and rest longer each time", n)
		}
		set(t, r, hello(3)) // as bad: the good one is still kept
		if got := call(t, r, &mayfly.Call{}); got != "hello@1" {
			t.Errorf("answered by %s", got)
		}
		set(t, r, hello(4))
		if got := call(t, r, &mayfly.Call{}); got != "hello@4" {
			t.Errorf("answered by %s", got)
		}
		time.Sleep(2 * time.Second) // for the start of 3 to be called off
		if s := state(t, r, "hello"); s.Serving != 4 || s.Failing != "" || stats(t, r).Failing || len(s.Instances) != 1 || len(p.living(0)) != 1 {
			t.Errorf("State = %+v", s)
		}
	})
}

// What is repaired outside, such as a missing secret, helps without a deploy.
func TestRevisionThatRecoversTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		missing := true
		p := &program{call: says}
		r := run(t, p, func(o *Options) {
			o.Env = func(_ context.Context, _ mayfly.Program, _ string, revision uint64, _ string) ([]string, error) {
				if missing && revision == 2 {
					return nil, mayfly.Errorf(mayfly.NotFound, `no secret "api-key"`)
				}
				return nil, nil
			}
		})
		set(t, r, hello(1))
		call(t, r, &mayfly.Call{})
		set(t, r, hello(2))
		if got := call(t, r, &mayfly.Call{}); got != "hello@1" {
			t.Errorf("answered by %s", got)
		}
		missing = false
		call(t, r, &mayfly.Call{}) // makes it try again
		synctest.Wait()
		if got := call(t, r, &mayfly.Call{}); got != "hello@2" {
			t.Errorf("answered by %s", got)
		}
	})
}

func TestSetOfWhatNoInstanceSeesRestartsNothing(t *testing.T) {
	t.Parallel()
	p := &program{call: says}
	r := run(t, p)
	set(t, r, hello(1))
	call(t, r, &mayfly.Call{})
	set(t, r, hello(1))
	set(t, r, hello(1, func(f *mayfly.Unit) { f.Summary = "Says hello"; f.Instances.Max = 7 }))
	call(t, r, &mayfly.Call{})
	if f := r.Units()[0]; p.started() != 1 || r.units["hello"].now.pool.instances.Max != 7 || f.Summary != "Says hello" {
		t.Errorf("%d starts, and %+v", p.started(), f)
	}
}

func TestPreparedInstanceServesTheFirstCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{call: says}
		r := run(t, p)
		for revision := range uint64(3) { // 0 is developed: prepared again and again
			for range 2 {
				if err := r.Prepare(t.Context(), hello(revision), here); err != nil {
					t.Fatal(err)
				}
				if n := len(p.living(0)); revision > 0 && n != 2 {
					t.Errorf("%d instances after Prepare of %d", n, revision)
				}
				starts := p.started()
				set(t, r, hello(revision))
				if got := call(t, r, &mayfly.Call{}); got != fmt.Sprint("hello@", revision) || p.started() != starts {
					t.Errorf("answered by %s after %d starts", got, p.started()-starts)
				}
				synctest.Wait()
				if n := len(p.living(0)); n != 1 {
					t.Errorf("%d instances after Set of %d", n, revision)
				}
			}
		}
	})
}

func TestPreparedRevisionHasItsMinWhenItIsCurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		r := run(t, p)
		f := hello(1, func(f *mayfly.Unit) { f.Instances.Min = 3 })
		if err := r.Prepare(t.Context(), f, here); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before := len(p.living(0))
		set(t, r, f)
		synctest.Wait()
		if after := len(p.living(0)); before != 1 || after != 3 {
			t.Errorf("%d instances prepared and %d current, want 1 and 3", before, after)
		}
	})
}

func TestPrepareSaysWhyItDidNotStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{start: broken(2), call: says}
		r := run(t, p)
		set(t, r, hello(1))
		call(t, r, &mayfly.Call{})
		err := r.Prepare(t.Context(), hello(2), here)
		wantCode(t, err, mayfly.Crashed)
		if trace, ok := errors.AsType[mayfly.Trace](err); !ok || trace == "" {
			t.Errorf("%v has no trace", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		wantCode(t, r.Prepare(ctx, hello(2), here), mayfly.Timeout)
		if got := call(t, r, &mayfly.Call{}); got != "hello@1" {
			t.Errorf("answered by %s", got)
		}
	})
}

func TestCheckKeepsNoInstanceThatNobodyCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := &program{start: broken(3), call: g.call}
		r := run(t, p)
		if err := r.Check(t.Context(), "hello"); err != nil {
			t.Errorf("nothing is there: %v", err)
		}
		for revision := range uint64(2) {
			set(t, r, hello(revision+1))
			if err := r.Check(t.Context(), "hello"); err != nil || p.started() != int(revision)+1 {
				t.Errorf("Check of %d = %v after %d starts", revision+1, err, p.started())
			}
			synctest.Wait()
			if n := len(p.living(0)); n != 0 {
				t.Errorf("%d instances are left", n)
			}
		}
		if err := r.Check(t.Context(), "hello"); err != nil || p.started() != 2 {
			t.Errorf("what has been ready is started again: %v", err)
		}
		set(t, r, hello(3))
		err := r.Check(t.Context(), "hello")
		wantCode(t, err, mayfly.Crashed)
		if trace, ok := errors.AsType[mayfly.Trace](err); !ok || trace == "" {
			t.Errorf("%v has no trace", err)
		}
		late, cancel := context.WithCancel(t.Context())
		cancel()
		set(t, r, hello(5))
		if err := r.Check(late, "hello"); err != nil {
			t.Errorf("a check that is given up: %v", err)
		}
	})
}

func TestTrialGivesWayToACall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slow, end = time.Hour, 10 * time.Millisecond
		var starting, most, trials atomic.Int32
		p := &program{start: func(ctx context.Context, s Spec) error {
			most.Store(max(most.Load(), starting.Add(1)))
			defer starting.Add(-1)
			if !s.Trial {
				return nil
			}
			trials.Add(1)
			select {
			case <-ctx.Done():
				time.Sleep(end) // it takes a moment to leave nothing behind
				return context.Cause(ctx)
			case <-time.After(slow):
				return nil
			}
		}}
		r := run(t, p)
		set(t, r, hello(1))
		var check sync.WaitGroup
		check.Go(func() {
			if err := r.Check(t.Context(), "hello"); err != nil {
				t.Errorf("Check = %v after it gave way", err)
			}
		})
		synctest.Wait()
		began := time.Now()
		call(t, r, &mayfly.Call{})
		check.Wait()
		if took := time.Since(began); took != end {
			t.Errorf("the call took %v, want the %v in which the trial ended", took, end)
		}
		if n := len(p.living(1)); n != 1 || trials.Load() != 1 || most.Load() != 1 {
			t.Errorf("%d instances after %d trials, %d at once", n, trials.Load(), most.Load())
		}
		if s, _ := r.Stats("hello"); s.Crashes != 0 || s.Starts != 2 {
			t.Errorf("a trial that gave way counts: %+v", s)
		}
		set(t, r, hello(2))
		check.Go(func() { _ = r.Check(t.Context(), "hello") })
		synctest.Wait()
		r.Remove("hello")
		check.Wait()
		if n := len(p.living(0)); n != 0 || starting.Load() != 0 {
			t.Errorf("%d instances are left, %d start, after Remove", n, starting.Load())
		}
	})
}

// Very many starts at once would leave none ready in time; slow ones wait for something
// else, and hold up nobody.
func TestFewInstancesStartAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ready := make(chan struct{})
		p := &program{start: func(context.Context, Spec) error { <-ready; return nil }}
		r := run(t, p)
		const functions = 1000
		for i := range functions {
			set(t, r, hello(1, func(f *mayfly.Unit) { f.Name, f.Instances.Min = mayfly.Name(fmt.Sprint("f", i)), 1 }))
		}
		synctest.Wait()
		few := p.started()
		if most := cap(r.places); few != most {
			t.Errorf("%d start at once, want %d", few, most)
		}
		time.Sleep(startHold + time.Millisecond)
		synctest.Wait()
		if n := p.started(); n != 2*few {
			t.Errorf("%d have begun to start while the first are slow, want %d", n, 2*few)
		}
		close(ready)
		synctest.Wait()
		if n := len(p.living(0)); n != functions {
			t.Errorf("%d of %d are there", n, functions)
		}
	})
}

func TestPreparedInstanceThatNobodyWantsStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		r := run(t, p)
		if err := r.Prepare(t.Context(), hello(1), here); err != nil {
			t.Fatal(err)
		}
		if len(r.Units()) != 0 {
			t.Error("what is only prepared is listed")
		}
		_, err := r.Call(t.Context(), "hello", &mayfly.Call{})
		wantCode(t, err, mayfly.NotFound)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(p.living(0)); n != 0 {
			t.Errorf("%d instances after a minute", n)
		}
		r.mu.RLock()
		defer r.mu.RUnlock()
		if n := len(r.units); n != 0 {
			t.Errorf("%d functions are remembered", n)
		}
	})
}

// Ten deploys of one name at once, each of which starts for two minutes: those that start
// are not given up for the others, nor for the time they take.
func TestPreparesOfOneNameWaitTheirTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{start: func(ctx context.Context, _ Spec) error {
			select {
			case <-time.After(2 * time.Minute):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		r := run(t, p)
		slow := func(revision uint64) mayfly.Unit {
			return hello(revision, func(f *mayfly.Unit) { f.Instances.Start = mayfly.Duration(time.Hour) })
		}
		var all sync.WaitGroup
		for i := range uint64(10) {
			all.Go(func() {
				if err := r.Prepare(t.Context(), slow(i+1), here); err != nil {
					t.Errorf("revision %d: %v", i+1, err)
				}
			})
		}
		synctest.Wait()
		if n := p.started(); n != mostPrepared {
			t.Errorf("%d start at once, want %d", n, mostPrepared)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantCode(t, r.Prepare(ctx, slow(11), here), mayfly.Conflict)
		all.Wait()
		synctest.Wait()
		if n := len(p.living(0)); n != 2 {
			t.Errorf("%d are prepared, want those of the last minute", n)
		}
	})
}

func TestRemovedFunctionEndsItsCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := &program{call: g.call}
		r := run(t, p)
		set(t, r, hello(1, func(f *mayfly.Unit) { f.Concurrency, f.Instances.Max = 1, 1 }))
		var calls sync.WaitGroup
		calls.Go(func() { call(t, r, &mayfly.Call{}) })
		synctest.Wait()
		calls.Go(func() {
			_, err := r.Call(t.Context(), "hello", &mayfly.Call{})
			wantCode(t, err, mayfly.NotFound)
		})
		synctest.Wait()
		r.Remove("hello")
		r.Remove("hello")
		_, err := r.Call(t.Context(), "hello", &mayfly.Call{})
		wantCode(t, err, mayfly.NotFound)
		if n := len(p.living(0)); n != 1 {
			t.Errorf("%d instances while a call is in one", n)
		}
		close(g.pass)
		calls.Wait()
		synctest.Wait()
		if n := len(p.living(0)); n != 0 {
			t.Errorf("%d instances are left", n)
		}
	})
}

func TestScaleStopsWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := &program{call: g.call}
		r := run(t, p)
		set(t, r, hello(1, func(f *mayfly.Unit) { f.Concurrency = 1 }))
		scale := func(n mayfly.Instances) {
			if err := r.Scale("hello", n); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		scale(mayfly.Instances{Min: 3})
		if n := len(p.living(0)); n != 3 {
			t.Errorf("%d instances, want 3", n)
		}
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() { call(t, r, &mayfly.Call{}) })
		}
		synctest.Wait()
		scale(mayfly.Instances{Max: 1})
		if n := len(p.living(0)); n != 2 {
			t.Errorf("%d instances, want the two that are in a call", n)
		}
		close(g.pass)
		calls.Wait()
		synctest.Wait()
		if n := len(p.living(0)); n != 1 || p.started() != 3 {
			t.Errorf("%d instances of %d, want 1", n, p.started())
		}
		wantCode(t, r.Scale("hello", mayfly.Instances{Min: 2, Max: 1}), mayfly.Invalid)
		wantCode(t, r.Scale("hello", mayfly.Instances{Max: -1}), mayfly.Invalid)
		wantCode(t, r.Scale("nobody", mayfly.Instances{}), mayfly.NotFound)
	})
}

// Down to nothing and up again costs no call, whether it works or comes meanwhile.
func TestScaleToNothingAndBackDropsNoCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := &program{call: g.call, stop: func(Spec) { time.Sleep(time.Second) }}
		r := run(t, p)
		set(t, r, hello(1, func(f *mayfly.Unit) { f.Concurrency = 1 }))
		var calls sync.WaitGroup
		for range 10 {
			if err := r.Scale("hello", mayfly.Instances{Min: 3, Max: 3}); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				calls.Go(func() { call(t, r, &mayfly.Call{}) })
			}
			synctest.Wait()
			if s := stats(t, r); s.InFlight != 3 || s.Waiting != 2 || s.Instances != 3 {
				t.Errorf("Stats = %+v, want three calls at work and two that wait", s)
			}
			if err := r.Scale("hello", mayfly.Instances{Max: 1, Idle: 1}); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				<-g.entered
				g.pass <- struct{}{}
			}
			calls.Wait()
			time.Sleep(10 * time.Second)
			if s := stats(t, r); s.Instances != 0 {
				t.Errorf("%d instances are left, want none", s.Instances)
			}
		}
		if s := stats(t, r); s.Requests != 50 || s.Errors != 0 || s.Rejected != 0 {
			t.Errorf("Stats = %+v", s)
		}
	})
}

// A function that nobody calls is an entry in a map.
func TestFunctionThatNobodyCallsCostsLittle(t *testing.T) {
	r := run(t, &program{}) // not parallel: memory is everybody's
	const n = 1000
	goroutines, before := runtime.NumGoroutine(), heap()
	for i := range n {
		f := hello(1, func(f *mayfly.Unit) { f.Name = mayfly.Name(fmt.Sprint("f", i)) })
		set(t, r, f)
	}
	if each := (heap() - before) / n; each > 2<<10 {
		t.Errorf("a function takes %d bytes", each)
	}
	if more := runtime.NumGoroutine() - goroutines; more > 0 {
		t.Errorf("%d more goroutines", more)
	}
	if got := len(r.Units()); got != n {
		t.Errorf("%d functions are listed", got)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestStartAsksForTheFolderOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asking, asked := 0, 0
		folder := func(context.Context) (string, error) {
			asking++
			defer func() { asking-- }()
			asked++
			if asking > 1 {
				t.Error("two ask for the folder at once")
			}
			time.Sleep(time.Second)
			if asked == 1 {
				return "", io.ErrUnexpectedEOF
			}
			return "/code", nil
		}
		p := &program{start: func(_ context.Context, s Spec) error {
			if s.Folder != "/code" {
				t.Errorf("started in %q", s.Folder)
			}
			return nil
		}}
		r := run(t, p)
		if err := r.Set(hello(1, func(f *mayfly.Unit) { f.Instances.Min = 3 }), folder); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if n := len(p.living(0)); n != 3 {
			t.Errorf("%d instances", n)
		}
	})
}

// What the node needs for an environment, such as an answer about a secret, is no time of
// the program's.
func TestSlowEnvironmentCostsTheStartNoTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{call: says, start: func(ctx context.Context, _ Spec) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		gone := make(chan error, 1)
		r := run(t, p, func(o *Options) {
			o.Env = func(ctx context.Context, _ mayfly.Program, _ string, revision uint64, _ string) ([]string, error) {
				if revision == 1 {
					time.Sleep(3 * time.Second)
					return nil, nil
				}
				<-ctx.Done()
				gone <- context.Cause(ctx)
				return nil, ctx.Err()
			}
		})
		limit := func(f *mayfly.Unit) { f.Instances.Start = mayfly.Duration(2 * time.Second) }
		set(t, r, hello(1, limit))
		if got := call(t, r, &mayfly.Call{}); got != "hello@1" {
			t.Errorf("answered by %s", got)
		}
		set(t, r, hello(2, limit, func(f *mayfly.Unit) { f.Instances.Min = 1 }))
		synctest.Wait()
		r.Remove("hello")
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the environment of what nobody wants ended with %v", err)
		}
	})
}
