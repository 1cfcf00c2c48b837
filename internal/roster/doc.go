// Package roster is what this node serves: what is deployed and fits it, and what a
// session develops on it. It is the one place that knows; doors and sessions ask it.
//
//	registry ──► Run ──────────┐               ┌─► Function, Functions, Routes    a gateway
//	                           ├─► Roster ─────┼─► Public                         the bus
//	session  ──► Set, Remove ──┘      │        └─► Watch                          both
//	                                  └─► runner.Runner, which is kept in step
//
// What is developed takes precedence over what is deployed under the same name, on
// this node alone: while a deployed function has the name, a developed one is not
// public, because callers of the one would get answers of the other.
//
// It starts no instances and knows no requests: that is the runner's and the doors'
// work. A change of one name looks at that name alone, however many there are.
//
// Invariants, and the tests that guard them:
//   - what is developed takes precedence, until it is removed: TestDevelopedTakesPrecedence
//   - a developed function is public only under a free name: TestDevelopedIsPublicUnderAFreeName
//   - what does not fit this node is not served: TestOnlyWhatFitsIsServed
//   - each change is told once, to every watcher: TestWatchTellsWhatChanged
//   - one change among 10,000 functions is in force at once: BenchmarkDeploy
package roster
