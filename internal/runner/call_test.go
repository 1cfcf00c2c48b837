package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly"
)

// call makes a call and returns its body, or fails the test.
func call(t testing.TB, r *Runner, c *mayfly.Call) string {
	t.Helper()
	reply, err := r.Call(t.Context(), "hello", c)
	if err != nil {
		t.Fatalf("Call = %v", err)
	}
	return string(reply.Body)
}

// A gate holds calls until the test lets them go, one by one.
type gate struct {
	entered chan string // id of a call that is in an instance
	pass    chan struct{}
}

func newGate() gate { return gate{entered: make(chan string, 1000), pass: make(chan struct{})} }

func (g gate) call(ctx context.Context, s Spec, c *mayfly.Call) (mayfly.Reply, error) {
	g.entered <- c.ID
	select {
	case <-g.pass:
		return mayfly.Reply{Status: 200, Body: []byte(s.Instance)}, nil
	case <-ctx.Done():
		return mayfly.Reply{}, ctx.Err()
	}
}

func stats(t testing.TB, r *Runner) Stats {
	t.Helper()
	s, ok := r.Stats("hello")
	if !ok {
		t.Fatal("no statistics")
	}
	return s
}

func wantCode(t testing.TB, err error, want mayfly.Code) {
	t.Helper()
	if err == nil || mayfly.CodeOf(err) != want {
		t.Fatalf("error %v (%v), want %v", err, mayfly.CodeOf(err), want)
	}
}

func TestFirstCallStartsAnInstance(t *testing.T) {
	t.Parallel()
	p := &program{}
	r := run(t, p)
	set(t, r, hello(1))
	if n := p.started(); n != 0 {
		t.Fatalf("%d instances started before a call", n)
	}
	for range 3 {
		if got := call(t, r, &mayfly.Call{Body: []byte("hi")}); got != "hi" {
			t.Fatalf("Call = %q, want hi", got)
		}
	}
	if s := stats(t, r); s.Requests != 3 || s.Errors != 0 || s.InFlight != 0 || s.Starts != 1 || s.Processing <= 0 {
		t.Errorf("Stats = %+v", s)
	}
}

func TestContextOfACallEndsWithIt(t *testing.T) {
	t.Parallel()
	var seen context.Context
	r := run(t, &program{call: func(ctx context.Context, _ Spec, _ *mayfly.Call) (mayfly.Reply, error) {
		seen = ctx
		return mayfly.Reply{Status: 200}, ctx.Err()
	}})
	set(t, r, hello(1))
	call(t, r, &mayfly.Call{})
	if seen.Err() == nil {
		t.Error("what the engine hangs on the call's context stays for ever")
	}
}

func TestCrashSaysWhereToLook(t *testing.T) {
	t.Parallel()
	r := run(t, &program{call: func(_ context.Context, _ Spec, c *mayfly.Call) (mayfly.Reply, error) {
		err := mayfly.Errorf(mayfly.Crashed, "TypeError: no")
		if c.ID == "knows" {
			err = err.WithHint("better")
		}
		return mayfly.Reply{}, fmt.Errorf("call: %w", err)
	}})
	set(t, r, hello(1))
	for id, want := range map[string]string{
		"c7":    "mayfly logs hello --call c7",
		"":      "mayfly logs hello",
		"knows": "better",
	} {
		_, err := r.Call(t.Context(), "hello", &mayfly.Call{ID: id})
		wantCode(t, err, mayfly.Crashed)
		if got := mayfly.HintOf(err); got != want || err.Error() != "call: TypeError: no" {
			t.Errorf("call %q got %q with the hint %q, want %q", id, err, got, want)
		}
	}
}

func TestCallToNobodyIsNotFound(t *testing.T) {
	t.Parallel()
	r := run(t, &program{})
	_, err := r.Call(t.Context(), "nobody", &mayfly.Call{})
	wantCode(t, err, mayfly.NotFound)
}

// As many instances as the calls need, no more than Max, and those that wait are
// served in the order in which they came.
func TestCallsWaitFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := &program{call: g.call}
		r := run(t, p)
		set(t, r, hello(1, func(f *mayfly.Unit) {
			f.Concurrency, f.Wait, f.Instances.Max = 2, 6, 2
		}))
		var calls sync.WaitGroup
		for i := range 10 {
			calls.Go(func() { call(t, r, &mayfly.Call{ID: fmt.Sprint(i)}) })
			synctest.Wait()
		}
		if n := p.started(); n != 2 {
			t.Errorf("%d instances, want 2", n)
		}
		if s := stats(t, r); s.InFlight != 4 || s.Waiting != 6 {
			t.Errorf("Stats = %+v, want 4 in flight and 6 waiting", s)
		}
		if s, _ := r.State("hello"); s.Waiting != 6 || len(s.Instances) != 2 || s.Instances[0].Calls != 2 || s.Instances[1].Calls != 2 {
			t.Errorf("State = %+v", s)
		}
		began := time.Now()
		_, err := r.Call(t.Context(), "hello", &mayfly.Call{})
		wantCode(t, err, mayfly.Exhausted)
		if mayfly.HintOf(err) == "" || time.Since(began) != 0 {
			t.Errorf("refused after %v with the hint %q", time.Since(began), mayfly.HintOf(err))
		}
		for i := range 10 {
			if got := <-g.entered; i >= 4 && got != fmt.Sprint(i) {
				t.Errorf("call %s was served when it was the turn of %d", got, i)
			}
			g.pass <- struct{}{}
			synctest.Wait()
		}
		calls.Wait()
		if s := stats(t, r); s.Requests != 10 || s.Rejected != 1 || s.Errors != 0 || s.InFlight != 0 || s.Waiting != 0 {
			t.Errorf("Stats = %+v", s)
		}
	})
}

func TestCallThatMayNotWaitStillStartsAnInstance(t *testing.T) {
	t.Parallel()
	r := run(t, &program{})
	set(t, r, hello(1, func(f *mayfly.Unit) { f.Wait = -1 }))
	call(t, r, &mayfly.Call{})
}

func TestEngineExecTakesOneCallInEachInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := &program{call: g.call}
		r := run(t, p)
		set(t, r, hello(1, func(f *mayfly.Unit) { f.Engine, f.Concurrency = mayfly.EngineExec, 16 }))
		var calls sync.WaitGroup
		for range 6 {
			calls.Go(func() { call(t, r, &mayfly.Call{}) })
		}
		synctest.Wait()
		if n, s := p.started(), stats(t, r); n != 4 || s.InFlight != 4 || s.Waiting != 2 {
			t.Errorf("%d instances, %+v, want 4 with a call each", n, s)
		}
		close(g.pass)
		calls.Wait()
	})
}

func TestWaitingCallLeavesWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		r := run(t, &program{call: g.call})
		set(t, r, hello(1, func(f *mayfly.Unit) { f.Concurrency, f.Instances.Max = 1, 1 }))
		var calls sync.WaitGroup
		calls.Go(func() { call(t, r, &mayfly.Call{}) })
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		calls.Go(func() {
			_, err := r.Call(ctx, "hello", &mayfly.Call{ID: "left"})
			wantCode(t, err, mayfly.Timeout)
		})
		synctest.Wait()
		calls.Go(func() { call(t, r, &mayfly.Call{}) })
		synctest.Wait()
		leave()
		synctest.Wait()
		if s := stats(t, r); s.Waiting != 1 || s.Requests != 1 || s.Errors != 1 {
			t.Errorf("Stats = %+v, want one that waits and one that left", s)
		}
		close(g.pass)
		calls.Wait()
		close(g.entered)
		for id := range g.entered {
			if id == "left" {
				t.Error("the call that left was served")
			}
		}
	})
}

// The time in the queue is part of the timeout, the time of a streamed request is
// not, and neither is that of a streamed reply.
func TestTimeout(t *testing.T) {
	t.Parallel()
	slow := func(took time.Duration) func(context.Context, Spec, *mayfly.Call) (mayfly.Reply, error) {
		return func(ctx context.Context, _ Spec, c *mayfly.Call) (mayfly.Reply, error) {
			if c.Stream != nil {
				if _, err := io.Copy(io.Discard, c.Stream); err != nil {
					return mayfly.Reply{}, err
				}
			}
			select {
			case <-time.After(took):
				return mayfly.Reply{Status: 200}, nil
			case <-ctx.Done():
				return mayfly.Reply{}, context.Cause(ctx)
			}
		}
	}
	silent := func(ctx context.Context, _ Spec, _ *mayfly.Call) (mayfly.Reply, error) {
		<-ctx.Done() // reads nothing of the request
		return mayfly.Reply{}, ctx.Err()
	}
	streams := func(ctx context.Context, _ Spec, _ *mayfly.Call) (mayfly.Reply, error) {
		return mayfly.Reply{Status: 200, Stream: io.NopCloser(&slowReader{pieces: 10, each: time.Second, ended: ctx.Done()})}, nil
	}
	duplex := func(ctx context.Context, _ Spec, c *mayfly.Call) (mayfly.Reply, error) {
		pause := &slowReader{pieces: 1, each: 10 * time.Second, ended: ctx.Done()}
		return mayfly.Reply{Status: 200, Stream: io.NopCloser(io.MultiReader(c.Stream, pause))}, nil
	}
	for _, tt := range []struct {
		name     string
		call     func(context.Context, Spec, *mayfly.Call) (mayfly.Reply, error)
		stream   io.Reader
		deadline time.Duration // of the call
		want     time.Duration // until the error; 0 if there is none
		says     string
	}{
		{"in time", slow(1900 * time.Millisecond), nil, 0, 0, ""},
		{"too slow", slow(time.Hour), nil, 0, 2 * time.Second, "hello@1 gave no reply in 2s"},
		{"the caller's deadline is earlier", slow(time.Hour), nil, time.Second, time.Second, "hello@1 gave no reply before the caller's deadline"},
		{"the caller's deadline is later", slow(time.Hour), nil, time.Minute, 2 * time.Second, "hello@1 gave no reply in 2s"},
		{"the caller's deadline has passed", slow(0), nil, -time.Second, 0, "the call to hello arrived after its deadline"},
		{"from the request's end", slow(1900 * time.Millisecond), &slowReader{pieces: 10, each: time.Second}, 0, 0, ""},
		{"too slow after the request's end", slow(time.Hour), &slowReader{pieces: 10, each: time.Second}, 0, 12 * time.Second, "hello@1 gave no reply in 2s"},
		{"the request is never read", silent, &slowReader{pieces: 10, each: time.Second}, 0, 2 * time.Second, "hello@1 gave no reply in 2s"},
		{"a reply that begins before the request's end", duplex, &slowReader{pieces: 10, each: time.Second}, 0, 0, ""},
		{"a streamed reply takes longer", streams, nil, 5 * time.Second, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := run(t, &program{call: tt.call})
				set(t, r, hello(1, func(f *mayfly.Unit) { f.Timeout = mayfly.Duration(2 * time.Second) }))
				c := &mayfly.Call{Stream: tt.stream}
				began := time.Now()
				if tt.deadline != 0 {
					c.Deadline = began.Add(tt.deadline)
				}
				reply, err := r.Call(t.Context(), "hello", c)
				if err == nil && reply.Stream != nil {
					if _, err := io.Copy(io.Discard, reply.Stream); err != nil {
						t.Errorf("the reply's stream: %v", err)
					}
					_ = reply.Stream.Close()
				}
				if tt.says == "" {
					if err != nil {
						t.Fatalf("Call = %v", err)
					}
					return
				}
				wantCode(t, err, mayfly.Timeout)
				if err.Error() != tt.says || time.Since(began) != tt.want {
					t.Errorf("%q after %v, want %q after %v", err, time.Since(began), tt.says, tt.want)
				}
				if s := stats(t, r); s.Errors != 1 || s.InFlight != 0 || s.LastError != tt.says {
					t.Errorf("Stats = %+v", s)
				}
			})
		})
	}
}

func TestTimeoutCountsTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &program{start: func(ctx context.Context, _ Spec) error {
			<-ctx.Done()
			return mayfly.Errorf(mayfly.Crashed, "not ready in time")
		}}
		r := run(t, p)
		set(t, r, hello(1, func(f *mayfly.Unit) { f.Timeout = mayfly.Duration(2 * time.Second) }))
		began := time.Now()
		_, err := r.Call(t.Context(), "hello", &mayfly.Call{Stream: strings.NewReader("x")})
		wantCode(t, err, mayfly.Timeout)
		if time.Since(began) != 2*time.Second || !strings.Contains(err.Error(), "no instance of hello was free") {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// Whoever sees the end of a call's time first, the engine or the runner, it is told
// in the same words, and never an error of ours.
func TestTimeoutIsToldAlikeWhoeverSeesIt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		at   time.Duration
		err  error
	}{
		{"the engine sees it first", time.Second - time.Nanosecond, mayfly.Errorf(mayfly.Timeout, "no word on the socket")},
		{"both at once", time.Second, mayfly.Errorf(mayfly.Timeout, "no word on the socket")},
		{"the reply begins at that moment", time.Second, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := run(t, &program{call: func(context.Context, Spec, *mayfly.Call) (mayfly.Reply, error) {
					<-time.After(tt.at)
					if tt.err == nil {
						return mayfly.Reply{Stream: io.NopCloser(strings.NewReader("x"))}, nil
					}
					return mayfly.Reply{}, tt.err
				}})
				set(t, r, hello(1, func(f *mayfly.Unit) { f.Timeout = mayfly.Duration(time.Second) }))
				for range 100 {
					reply, err := r.Call(t.Context(), "hello", &mayfly.Call{})
					if err == nil {
						reply.Stream.Close() // it was in time
						continue
					}
					wantCode(t, err, mayfly.Timeout)
					if want := "hello@1 gave no reply in 1s"; err.Error() != want {
						t.Fatalf("error %q, want %q", err, want)
					}
				}
			})
		})
	}
}

// A slowReader gives a byte each time.
type slowReader struct {
	pieces int
	each   time.Duration
	ended  <-chan struct{}
}

func (r *slowReader) Read(p []byte) (int, error) {
	if r.pieces == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(r.each):
	case <-r.ended:
		return 0, context.Canceled
	}
	r.pieces--
	return copy(p, "x"), nil
}

func TestRepliesAreCounted(t *testing.T) {
	t.Parallel()
	crash := mayfly.Errorf(mayfly.Crashed, "TypeError: x is not a function\n    at hello.js\a").WithHint("look")
	for _, tt := range []struct {
		name   string
		reply  mayfly.Reply
		err    error
		panics bool
		text   string // of the reply
		errors uint64
		last   string
	}{
		{"success", mayfly.Reply{Status: 200}, nil, false, "", 0, ""},
		{"the caller's fault", mayfly.Reply{Status: 404}, nil, false, "", 0, ""},
		{"the caller's fault, in words", mayfly.Reply{Status: 400, Error: "no"}, nil, false, "no", 0, ""},
		{"the caller's fault, streamed", mayfly.Reply{Status: 400, Error: "no", Stream: io.NopCloser(strings.NewReader(""))}, nil, false, "no", 0, ""},
		{"the function's fault, streamed", mayfly.Reply{Status: 500, Stream: io.NopCloser(strings.NewReader(""))}, nil, false, "Internal Server Error", 1, "Internal Server Error"},
		{"the function's fault", mayfly.Reply{Status: 503}, nil, false, "Service Unavailable", 1, "Service Unavailable"},
		{"an odd status", mayfly.Reply{Status: 599}, nil, false, "status 599", 1, "status 599"},
		{"the function's own words", mayfly.Reply{Status: 500, Error: "out of ink"}, nil, false, "out of ink", 1, "out of ink"},
		{"an error", mayfly.Reply{}, crash, false, "", 1, "TypeError: x is not a function"},
		{"a foreign error", mayfly.Reply{}, errors.New("broken"), false, "", 1, "call hello@1: broken"},
		{"a panic", mayfly.Reply{}, nil, true, "", 1, "call hello: its engine panicked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, &program{call: func(context.Context, Spec, *mayfly.Call) (mayfly.Reply, error) {
				if tt.panics {
					panic("oh")
				}
				return tt.reply, tt.err
			}})
			set(t, r, hello(1))
			reply, err := r.Call(t.Context(), "hello", &mayfly.Call{})
			if (err != nil) != (tt.err != nil || tt.panics) || reply.Error != tt.text {
				t.Errorf("Call = %+v, %v, want the error %q", reply, err, tt.text)
			}
			if tt.panics {
				wantCode(t, err, mayfly.Internal)
			}
			if reply.Stream != nil {
				_ = reply.Stream.Close()
			}
			if s := stats(t, r); s.Requests != 1 || s.Errors != tt.errors || s.LastError != tt.last || s.InFlight != 0 {
				t.Errorf("Stats = %+v, want %d errors, the last %q", s, tt.errors, tt.last)
			}
		})
	}
}

func TestStreamHoldsItsPlaceUntilItIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var closes atomic.Int32
		r := run(t, &program{call: func(_ context.Context, _ Spec, c *mayfly.Call) (mayfly.Reply, error) {
			body := io.Reader(strings.NewReader("event"))
			if c.ID == "breaks" {
				body = io.MultiReader(body, failingReader{})
			}
			return mayfly.Reply{Status: 200, Stream: &counted{body, &closes}}, nil
		}})
		set(t, r, hello(1, func(f *mayfly.Unit) { f.Concurrency, f.Instances.Max = 1, 1 }))
		reply, err := r.Call(t.Context(), "hello", &mayfly.Call{ID: "breaks"})
		if err != nil {
			t.Fatal(err)
		}
		if s := stats(t, r); s.InFlight != 1 || s.Requests != 0 {
			t.Errorf("Stats of an open stream = %+v", s)
		}
		second := make(chan mayfly.Reply)
		go func() {
			reply, _ := r.Call(t.Context(), "hello", &mayfly.Call{})
			second <- reply
		}()
		synctest.Wait()
		if s := stats(t, r); s.Waiting != 1 {
			t.Errorf("Stats = %+v, want a call that waits", s)
		}
		if text, err := io.ReadAll(reply.Stream); string(text) != "event" || err == nil {
			t.Errorf("the stream is %q, %v", text, err)
		}
		time.Sleep(10 * time.Second)
		for range 2 {
			if err := reply.Stream.Close(); err != nil {
				t.Error(err)
			}
		}
		if n := closes.Load(); n != 1 {
			t.Errorf("the engine's stream was closed %d times", n)
		}
		reply = <-second
		_ = reply.Stream.Close()
		s := stats(t, r)
		if s.Requests != 2 || s.Errors != 1 || s.LastError != "the function broke off" || s.InFlight != 0 {
			t.Errorf("Stats = %+v", s)
		}
		if s.Processing != 20*time.Second { // the second waited while the first was read
			t.Errorf("Processing = %v, want 20s", s.Processing)
		}
	})
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("the function broke off") }

type counted struct {
	io.Reader
	closes *atomic.Int32
}

func (c *counted) Close() error {
	c.closes.Add(1)
	return nil
}

// A caller that leaves ends the work, and what breaks then is not the function's
// fault.
func TestCallerThatLeavesEndsTheStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &program{call: func(ctx context.Context, _ Spec, _ *mayfly.Call) (mayfly.Reply, error) {
			return mayfly.Reply{Status: 200, Stream: io.NopCloser(&slowReader{pieces: 100, each: time.Second, ended: ctx.Done()})}, nil
		}})
		set(t, r, hello(1))
		ctx, leave := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer leave()
		reply, err := r.Call(ctx, "hello", &mayfly.Call{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reply.Stream)
		if string(text) != "xxx" || err == nil {
			t.Errorf("the stream is %q, %v", text, err)
		}
		_ = reply.Stream.Close()
		if s := stats(t, r); s.Requests != 1 || s.Errors != 0 || s.InFlight != 0 {
			t.Errorf("Stats = %+v", s)
		}
	})
}

// The counts are exact whoever calls at once, while revisions change and instances
// are killed.
func TestStatisticsAreExactUnderLoad(t *testing.T) {
	t.Parallel()
	var served atomic.Uint64
	p := &program{call: func(_ context.Context, _ Spec, c *mayfly.Call) (mayfly.Reply, error) {
		served.Add(1)
		if c.ID == "bad" {
			return mayfly.Reply{Status: 500}, nil
		}
		return mayfly.Reply{Status: 200, Stream: io.NopCloser(strings.NewReader("x"))}, nil
	}}
	r := run(t, p)
	set(t, r, hello(1, func(f *mayfly.Unit) { f.Concurrency, f.Wait = 2, 4 }))
	var answered, failed, rejected, lost atomic.Uint64
	var calls sync.WaitGroup
	for range 16 {
		calls.Go(func() {
			for i := range 500 {
				c := &mayfly.Call{ID: "good"}
				if i%5 == 0 {
					c.ID = "bad"
				}
				reply, err := r.Call(t.Context(), "hello", c)
				switch {
				case mayfly.CodeOf(err) == mayfly.Exhausted && err != nil:
					rejected.Add(1)
				case err != nil:
					lost.Add(1) // while the pool rests
				case reply.Status == 500:
					failed.Add(1)
				default:
					answered.Add(1)
					_ = reply.Stream.Close()
				}
			}
		})
	}
	for i := range uint64(20) {
		set(t, r, hello(i+2, func(f *mayfly.Unit) { f.Concurrency, f.Wait = 2, 4 }))
		for _, a := range p.living(i + 1) {
			a.crash()
		}
	}
	calls.Wait()
	s := stats(t, r)
	if s.Requests != answered.Load()+failed.Load()+lost.Load() || s.Errors != failed.Load()+lost.Load() || s.Rejected != rejected.Load() {
		t.Errorf("Stats = %+v, want %d answered, %d failed, %d lost, %d rejected", s, answered.Load(), failed.Load(), lost.Load(), rejected.Load())
	}
	if s.InFlight != 0 || s.Waiting != 0 {
		t.Errorf("%d in flight and %d waiting after the last", s.InFlight, s.Waiting)
	}
	if got := answered.Load() + failed.Load(); got != served.Load() {
		t.Errorf("%d calls were served, %d answered", served.Load(), got)
	}
}

// Calls share a timer, in the order of their deadlines, which come and go in another.
func TestEachCallHasItsOwnDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &program{call: func(ctx context.Context, _ Spec, c *mayfly.Call) (mayfly.Reply, error) {
			if c.ID == "answers" {
				return mayfly.Reply{Status: 200}, nil
			}
			<-ctx.Done()
			return mayfly.Reply{}, ctx.Err()
		}})
		set(t, r, hello(1, func(f *mayfly.Unit) { f.Timeout = mayfly.Duration(time.Minute) }))
		var calls sync.WaitGroup
		for _, seconds := range []int{30, 90, 10, 50, 20, 20, 40} {
			call(t, r, &mayfly.Call{ID: "answers"})
			began := time.Now()
			want := time.Duration(min(seconds, 60)) * time.Second
			calls.Go(func() {
				_, err := r.Call(t.Context(), "hello", &mayfly.Call{Deadline: began.Add(time.Duration(seconds) * time.Second)})
				wantCode(t, err, mayfly.Timeout)
				if took := time.Since(began); took != want {
					t.Errorf("a call ended after %v, want %v", took, want)
				}
			})
			time.Sleep(time.Second)
		}
		calls.Wait()
		u := r.units["hello"]
		if d := &u.deadlines; d.first != nil || d.last != nil || !d.due.IsZero() {
			t.Errorf("left: %+v", d)
		}
	})
}

func TestCallAllocatesOnce(t *testing.T) {
	r := run(t, &program{})
	set(t, r, hello(1))
	c := &mayfly.Call{Body: []byte("hi")}
	if n := testing.AllocsPerRun(1000, func() { call(t, r, c) }); n > 2 { // one is the string of call
		t.Errorf("a call makes %v allocations", n)
	}
}

func BenchmarkCall(b *testing.B) {
	r := run(b, &program{})
	set(b, r, hello(1))
	c := &mayfly.Call{Body: []byte("hi"), Deadline: time.Now().Add(time.Hour)}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Call(ctx, "hello", c); err != nil {
			b.Fatal(err)
		}
	}
}
