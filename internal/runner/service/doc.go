// Package service is the engine for programs that speak NATS themselves: Mayfly
// starts them, collects their output, and stops them. Calls reach them over the bus,
// without Mayfly.
//
//	Start ─► process ─► lives on for a moment ─► Instance
//	            │
//	            └─► stdout, stderr ─► lines of the log
//
// It knows whether a service's process is alive, not whether it works. It restarts
// nothing: the runner does.
//
// Invariants, and the tests that guard them:
//   - it is an engine, except for calls: TestEnginesConform
//   - a service that exits at once is an error: TestServiceThatSurvivesGraceIsReady
//   - one that is not ready in time is stopped: TestServiceThatIsLateIsStopped
package service
