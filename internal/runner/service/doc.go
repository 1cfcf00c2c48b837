// Package service is the engine of programs that speak NATS themselves: Mayfly
// starts them, listens to what they write, and ends them. Calls reach them over the
// bus, where Mayfly is not asked.
//
//	Start ─► process ─► answers on the bus? ─► Instance
//	            │          (or just lives on)
//	            └─► stdout, stderr ─► lines of the log
//
// It does not know whether a service does its work, only whether its process lives;
// whoever hands over Options.Ready knows when it began to. It restarts nothing: that
// is the runner's.
//
// Invariants, and the tests that guard them:
//   - it is an engine, for all but calls: TestEngineConforms
//   - a service is ready when it answers, not before: TestReadyIsWhenTheServiceAnswers
//   - one that never answers is an error, and is ended: TestServiceThatNeverAnswersIsEnded
package service
