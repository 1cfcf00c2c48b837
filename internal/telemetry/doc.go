// Package telemetry makes a node observable: log, metrics and latencies.
//
//	part ──slog──► NewLog ──► text for a terminal, JSON otherwise
//	call ──AccessLog──► Batch ──► many lines in one write
//	part.Stats() ◄──asked at each scrape── Metrics.Handler ──► /metrics
//	Histogram.Observe (lock-free) ──Snapshot──┘
//
// Parts keep plain counters; only this package imports Prometheus. Nothing is pushed, cached
// or aggregated in the background; only Batch.Run needs a goroutine, its caller's.
//
// It does not name metrics; node does, in one file.
//
// # Invariants
//
//   - The access log writes the same lines as slog, and loses none at the end:
//     FuzzAccessLine, TestBatchFlushesAtTheEnd.
//   - A Histogram loses no observation and never blocks its callers:
//     TestHistogramCountsEveryObservation, BenchmarkHistogramObserve.
//   - External text cannot break a log line or a scrape:
//     TestLogKeepsARecordOnOneLine, TestMetricsSurviveBadText.
package telemetry
