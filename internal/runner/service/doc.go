// Package service is the engine for programs that speak NATS themselves: Mayfly
// starts them, collects their output, and stops them. Calls reach them over the bus,
// without Mayfly.
//
//	Start ─► process ─► answers on the bus? ─► Instance
//	            │          (or just lives on)
//	            └─► stdout, stderr ─► lines of the log
//
// It knows whether a service's process is alive, not whether it works;
// Options.Ready decides when it is ready. It restarts nothing: the runner does.
//
// Invariants, and the tests that guard them:
//   - it is an engine, except for calls: TestEnginesConform
//   - a service is ready when it answers, not before: TestReadyIsWhenTheServiceAnswers
//   - one that never answers is an error, and is stopped: TestServiceThatNeverAnswersIsStopped
package service
