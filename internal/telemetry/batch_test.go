package telemetry

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// writes remembers each write by itself.
type writes struct {
	mu  sync.Mutex
	all []string
	err error
}

func (w *writes) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, string(b))
	return len(b), w.err
}

func (w *writes) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.all
	w.all = nil
	return all
}

func TestBatchGathersLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &writes{}
		l := NewBatch(w)
		ctx, cancel := context.WithCancel(t.Context())
		var owner sync.WaitGroup
		owner.Go(func() { l.Run(ctx) })
		defer owner.Wait()
		defer cancel()
		for _, line := range []string{"one\n", "two\n", "three\n"} {
			l.Write([]byte(line))
		}
		time.Sleep(batchWait - time.Millisecond)
		synctest.Wait()
		if got := w.take(); len(got) != 0 {
			t.Errorf("written too early: %q", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := w.take(); len(got) != 1 || got[0] != "one\ntwo\nthree\n" {
			t.Errorf("written %q, want one write of three lines", got)
		}
		l.Write([]byte("four\n"))
		time.Sleep(time.Hour)
		if got := w.take(); len(got) != 1 || got[0] != "four\n" {
			t.Errorf("written %q, want the fourth line", got)
		}
	})
}

func TestBatchFlushesAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &writes{}
		l := NewBatch(w)
		ctx, cancel := context.WithCancel(t.Context())
		var owner sync.WaitGroup
		owner.Go(func() { l.Run(ctx) })
		synctest.Wait()
		l.Write([]byte("last\n"))
		cancel()
		owner.Wait()
		if got := w.take(); len(got) != 1 || got[0] != "last\n" {
			t.Errorf("written %q, want the last line", got)
		}
	})
}

func TestBatchIsBounded(t *testing.T) {
	t.Parallel()
	w := &writes{}
	l := NewBatch(w) // nobody runs it
	line := make([]byte, batchSize/4)
	for range 4 {
		l.Write(line)
	}
	if got := w.take(); len(got) != 1 || len(got[0]) != batchSize {
		t.Errorf("%d writes, want one as soon as %d bytes wait", len(got), batchSize)
	}
}

func TestBatchReportsAFailedWrite(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	l := NewBatch(&writes{err: gone})
	l.Write(make([]byte, batchSize))
	if _, err := l.Write([]byte("x\n")); !errors.Is(err, gone) {
		t.Errorf("Write = %v, want %v", err, gone)
	}
}

// A writerFunc is a writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// Two flushes at once leave nothing for the second. Lines that come while a later batch is
// being written must not land in it.
func TestLinesComeWholeAfterAnEmptyFlush(t *testing.T) {
	t.Parallel()
	var b *Batch
	var last string
	busy := false
	b = NewBatch(writerFunc(func(batch []byte) (int, error) {
		if busy {
			busy = false
			_, _ = b.Write([]byte("late\n"))
		}
		last = string(batch)
		return len(batch), nil
	}))
	for range 2 { // both buffers have room now
		_, _ = b.Write([]byte("early\n"))
		b.flush()
	}
	b.flush()
	busy = true
	for _, want := range []string{"early\n", "late\n"} {
		if want == "early\n" {
			_, _ = b.Write([]byte(want))
		}
		if b.flush(); last != want {
			t.Errorf("wrote %q, want %q", last, want)
		}
	}
}
