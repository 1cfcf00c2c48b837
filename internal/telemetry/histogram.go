package telemetry

import (
	"slices"
	"sync/atomic"
	"time"
)

// bounds are the upper ends of a Histogram's buckets, inclusive. They range from a call on
// this machine to the longest that a person waits.
var bounds = [...]time.Duration{
	250 * time.Microsecond,
	500 * time.Microsecond,
	1 * time.Millisecond,
	2500 * time.Microsecond,
	5 * time.Millisecond,
	10 * time.Millisecond,
	25 * time.Millisecond,
	50 * time.Millisecond,
	100 * time.Millisecond,
	250 * time.Millisecond,
	500 * time.Millisecond,
	1 * time.Second,
	2500 * time.Millisecond,
	5 * time.Second,
	10 * time.Second,
	30 * time.Second,
	60 * time.Second,
}

// A Histogram counts durations by size. The zero value works, and all methods are safe for
// concurrent use. It must not be copied.
type Histogram struct {
	counts [len(bounds) + 1]atomic.Uint64 // the last is for what exceeds all bounds
	sum    atomic.Int64                   // nanoseconds
}

// Observe counts d. It does not allocate, lock or wait.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)                             // the clock may have been set back
	i, _ := slices.BinarySearch(bounds[:], d) // the first bound that is at least d
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Snapshot returns what was counted so far. Concurrent observations may be in it, in the
// sum alone, in the counts alone, or missing.
func (h *Histogram) Snapshot() HistogramSnapshot {
	s := HistogramSnapshot{Buckets: make([]Bucket, len(bounds)), Sum: time.Duration(h.sum.Load())}
	for i := range bounds {
		s.Count += h.counts[i].Load()
		s.Buckets[i] = Bucket{Le: bounds[i], Count: s.Count}
	}
	s.Count += h.counts[len(bounds)].Load()
	return s
}

// A HistogramSnapshot is a Histogram at one moment.
type HistogramSnapshot struct {
	Count   uint64
	Sum     time.Duration
	Buckets []Bucket // by rising bound
}

// A Bucket says how many observations were at most Le.
type Bucket struct {
	Le    time.Duration
	Count uint64
}
