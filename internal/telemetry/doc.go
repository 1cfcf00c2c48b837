// Package telemetry makes a node visible: its log, its numbers and its times.
//
//	part ──slog──► NewLog ──► text for a terminal, JSON otherwise
//	call ──AccessLog──► Batch ──► many lines in one write
//	part.Stats() ◄──asked at each scrape── Metrics.Handler ──► /metrics
//	Histogram.Observe (lock-free) ──Snapshot──┘
//
// Parts count in plain numbers of their own and know nothing of Prometheus, which
// only this package imports. Nothing is pushed, cached or summed up in the
// background; only Batch.Run needs a goroutine, its caller's.
//
// It does not name metrics; node does, in one file.
//
// # Invariants
//
//   - The access log has the lines that slog would write, and loses none at the end:
//     FuzzAccessLine, TestBatchFlushesAtTheEnd.
//   - A Histogram loses no observation and never blocks its callers:
//     TestHistogramCountsEveryObservation, BenchmarkHistogramObserve.
//   - Text from outside cannot break a line of the log or a scrape:
//     TestLogKeepsARecordOnOneLine, TestMetricsSurviveBadText.
package telemetry
