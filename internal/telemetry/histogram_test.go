package telemetry_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mayfly-run/mayfly/internal/telemetry"
)

func TestHistogramPutsADurationIntoItsBucket(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		d, le time.Duration // le 0: above all
	}{
		{"nothing", 0, 250 * time.Microsecond},
		{"less than nothing", -time.Second, 250 * time.Microsecond},
		{"a bound", time.Millisecond, time.Millisecond},
		{"just above a bound", time.Millisecond + 1, 2500 * time.Microsecond},
		{"the last bound", time.Minute, time.Minute},
		{"above all", time.Minute + 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var h telemetry.Histogram
			h.Observe(tt.d)
			s := h.Snapshot()
			if s.Count != 1 || s.Sum != max(tt.d, 0) {
				t.Errorf("count %d, sum %v", s.Count, s.Sum)
			}
			for _, b := range s.Buckets {
				if want := tt.le != 0 && b.Le >= tt.le; (b.Count == 1) != want {
					t.Errorf("bucket %v counts %d", b.Le, b.Count)
				}
			}
		})
	}
}

func TestHistogramAgreesWithASlowCount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		observed := rapid.SliceOf(rapid.OneOf(
			rapid.Int64Range(0, int64(2*time.Minute)),
			rapid.SampledFrom([]int64{250_000, 250_001, 1e6, 6e10, 6e10 + 1}),
		)).Draw(t, "nanoseconds")
		var h telemetry.Histogram
		var sum time.Duration
		for _, n := range observed {
			h.Observe(time.Duration(n))
			sum += time.Duration(n)
		}
		s := h.Snapshot()
		if s.Count != uint64(len(observed)) || s.Sum != sum {
			t.Fatalf("count %d and sum %v of %d observations of %v", s.Count, s.Sum, len(observed), sum)
		}
		last := time.Duration(math.MinInt64)
		for _, b := range s.Buckets {
			var want uint64
			for _, n := range observed {
				if time.Duration(n) <= b.Le {
					want++
				}
			}
			if b.Count != want || b.Le <= last {
				t.Fatalf("bucket %v after %v counts %d, want %d", b.Le, last, b.Count, want)
			}
			last = b.Le
		}
	})
}

func TestHistogramCountsEveryObservation(t *testing.T) {
	t.Parallel()
	const workers, each = 8, 2000
	var h telemetry.Histogram
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			for range each {
				h.Observe(time.Duration(i) * time.Millisecond)
				h.Snapshot()
			}
		})
	}
	all.Wait()
	if s := h.Snapshot(); s.Count != workers*each || s.Sum != each*28*time.Millisecond {
		t.Errorf("count %d, sum %v", s.Count, s.Sum)
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	var h telemetry.Histogram
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHistogramObserve(b *testing.B) {
	b.ReportAllocs()
	var h telemetry.Histogram
	b.RunParallel(func(pb *testing.PB) {
		for d := time.Duration(0); pb.Next(); d += 10 * time.Microsecond {
			h.Observe(d)
		}
	})
}
