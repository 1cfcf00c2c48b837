package scope

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type key struct{}

// A work is what embeds a Context.
type work struct {
	Context
	name string
}

func begin(parent context.Context) *work {
	w := &work{name: "test"}
	w.Begin(parent)
	return w
}

var errWhy = errors.New("why")

func TestContextIsAContext(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(time.Hour)
	parent, cancel := context.WithDeadline(context.WithValue(context.Background(), key{}, "value"), at)
	defer cancel()
	w := begin(parent)
	var ctx context.Context = w
	if d, ok := ctx.Deadline(); !ok || !d.Equal(at) {
		t.Errorf("Deadline = %v, %v", d, ok)
	}
	if ctx.Value(key{}) != "value" {
		t.Error("a value of the parent is missing")
	}
	if ctx.Err() != nil || w.Cause() != nil {
		t.Errorf("it has not ended: %v, %v", ctx.Err(), w.Cause())
	}
	select {
	case <-ctx.Done():
		t.Error("Done before the end")
	default:
	}
	w.End(errWhy)
	w.End(nil) // too late
	<-ctx.Done()
	if ctx.Err() != context.Canceled || w.Cause() != errWhy {
		t.Errorf("ended with %v, %v", ctx.Err(), w.Cause())
	}
	w = begin(context.Background())
	w.End(nil)
	<-w.Done()
	if w.Cause() != context.Canceled {
		t.Errorf("without a cause it is %v", w.Cause())
	}
}

// All that is made from a Context, or watches one, learns of its end, whether it came before
// or after, and whoever is above.
func TestEndReachesAllBelow(t *testing.T) {
	t.Parallel()
	makes := map[string]func(context.Context) (context.Context, context.CancelCauseFunc){
		"standard": context.WithCancelCause,
		"own": func(parent context.Context) (context.Context, context.CancelCauseFunc) {
			w := begin(parent)
			return w, w.End
		},
	}
	for above, makeAbove := range makes {
		for below, makeBelow := range makes {
			t.Run(above+" above "+below, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					parent, end := makeAbove(context.Background())
					child, endChild := makeBelow(parent)
					defer endChild(nil)
					grandchild, cancel := context.WithCancel(child)
					defer cancel()
					quiet, _ := makeBelow(parent) // that nothing watches
					var w, stopped, late Watch
					ran := make(chan string, 3)
					w.Start(child, func() { ran <- "watch" })
					stopped.Start(child, func() { ran <- "stopped" })
					if !stopped.Stop() {
						t.Error("Stop came too late")
					}
					end(errWhy)
					synctest.Wait()
					late.Start(child, func() { ran <- "late" })
					for _, want := range []string{"watch", "late"} {
						if got := <-ran; got != want {
							t.Errorf("%s ran, want %s", got, want)
						}
					}
					<-grandchild.Done()
					for _, ctx := range []context.Context{child, quiet} {
						<-ctx.Done()
						why := errWhy
						if above == "own" && below == "standard" {
							why = context.Canceled // the standard library knows only its own causes
						}
						if ctx.Err() != context.Canceled || causeOf(ctx) != why {
							t.Errorf("ended with %v, %v", ctx.Err(), causeOf(ctx))
						}
					}
					if w.Stop() || late.Stop() || stopped.Stop() {
						t.Error("Stop claims to have been in time")
					}
				})
			})
		}
	}
}

// A child whose parent has ended is over before anything asks.
func TestErrLooksUp(t *testing.T) {
	t.Parallel()
	parent := begin(context.Background())
	child := begin(parent)
	parent.End(errWhy)
	if child.Err() != context.Canceled || child.Cause() != errWhy {
		t.Errorf("ended with %v, %v", child.Err(), child.Cause())
	}
	child.End(nil)
	if child.Cause() != errWhy {
		t.Errorf("then with %v", child.Cause())
	}
}

// A Watch that was stopped, or ran, watches something else.
func TestWatchStartsAgain(t *testing.T) {
	t.Parallel()
	ran := make(chan int)
	var w Watch
	for n := range 4 {
		c := begin(context.Background())
		w.Start(c, func() { ran <- n })
		if n%2 == 0 {
			c.End(nil)
			if got := <-ran; got != n {
				t.Errorf("%d ran, want %d", got, n)
			}
		} else if !w.Stop() {
			t.Error("Stop came too late")
		}
	}
}

// Whatever happens at the same moment, a Watch runs once or was stopped, and all end.
func TestEndsAtOnce(t *testing.T) {
	t.Parallel()
	for range 500 {
		parent, cancel := context.WithCancel(context.Background())
		a := begin(parent)
		b := begin(a)
		var w Watch
		ran := make(chan struct{}, 2)
		var all sync.WaitGroup
		all.Go(cancel)
		all.Go(func() { a.End(errWhy) })
		all.Go(func() { b.End(nil) })
		all.Go(func() { <-b.Done() })
		all.Go(func() { <-a.Done() })
		all.Go(func() {
			w.Start(b, func() { ran <- struct{}{} })
			if !w.Stop() {
				<-ran
			}
		})
		all.Wait()
		if len(ran) > 0 || b.Err() == nil || a.first != nil || b.first != nil {
			t.Fatal("ran twice, or goes on")
		}
	}
}

func TestQuietContextAllocatesNothing(t *testing.T) {
	f := func() {}
	parent := begin(context.Background())
	var c work
	var w Watch
	if n := testing.AllocsPerRun(100, func() {
		c = work{}
		c.Begin(parent)
		w.Start(&c, f)
		w.Stop()
		_ = c.Err()
		c.End(nil)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if parent.first != nil {
		t.Error("the parent holds what is over")
	}
}
