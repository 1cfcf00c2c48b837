package node

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// runnerFunc is a part that tests write inline.
type runnerFunc func(ctx context.Context) error

func (f runnerFunc) Run(ctx context.Context) error { return f(ctx) }

// A part of a stage takes its time to stop; log hears when it begins and ends to.
func part(log func(string), name string, drain time.Duration) worker {
	return runnerFunc(func(ctx context.Context) error {
		<-ctx.Done()
		log(name + " stops")
		time.Sleep(drain)
		log(name + " stopped")
		return nil
	})
}

func TestStagesStopInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lines := make(chan string, 16)
		log := func(s string) { lines <- s }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- runStages(ctx,
				[]worker{part(log, "slow door", 20*time.Second), part(log, "door", time.Second)},
				[]worker{part(log, "queue", time.Second)},
				[]worker{part(log, "bus", 0)},
			)
		}()
		synctest.Wait()
		if len(lines) > 0 {
			t.Errorf("before the end: %s", <-lines)
		}
		began := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		close(lines)
		var got []string
		for line := range lines {
			got = append(got, line)
		}
		if len(got) != 8 {
			t.Fatalf("got %q", got)
		}
		slices.Sort(got[:2]) // the doors hear of it at once
		want := []string{
			"door stops", "slow door stops", "door stopped", "slow door stopped",
			"queue stops", "queue stopped", "bus stops", "bus stopped",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if took := time.Since(began); took != 21*time.Second {
			t.Errorf("took %s, want the slowest of each stage: 21s", took)
		}
	})
}

func TestStagesStopAllWhenOneFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		stage int // of the part that fails
	}{
		{"a door", 0}, {"the ground", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				broken := errors.New("broken")
				lines := make(chan string, 16)
				log := func(s string) { lines <- s }
				stages := [][]worker{{part(log, "door", time.Second)}, {part(log, "bus", time.Second)}}
				stages[tt.stage] = append(stages[tt.stage], runnerFunc(func(context.Context) error {
					time.Sleep(time.Minute)
					return broken
				}))
				if err := runStages(t.Context(), stages...); !errors.Is(err, broken) {
					t.Errorf("error %v, want %v", err, broken)
				}
				if len(lines) != 4 {
					t.Errorf("%d parts stopped, want 2", len(lines)/2)
				}
			})
		})
	}
}

func TestStagesTellWhatFailsWhileStopping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := runStages(ctx, []worker{runnerFunc(func(ctx context.Context) error {
			<-ctx.Done()
			return broken
		})})
		if !errors.Is(err, broken) {
			t.Errorf("error %v, want %v", err, broken)
		}
	})
}

// A part keeps its context's values and loses only its end.
func TestStagesOutliveTheirContextInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		second := make(chan error, 1)
		first := runnerFunc(func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			return nil
		})
		door := make(chan context.Context, 1)
		ground := runnerFunc(func(ctx context.Context) error {
			door <- ctx
			<-ctx.Done()
			return nil
		})
		time.AfterFunc(time.Minute, cancel)
		time.AfterFunc(time.Minute+500*time.Millisecond, func() { second <- (<-door).Err() })
		if err := runStages(ctx, []worker{first}, []worker{ground}); err != nil {
			t.Error(err)
		}
		if err := <-second; err != nil {
			t.Errorf("the ground heard of the end while a door was open: %v", err)
		}
	})
}
