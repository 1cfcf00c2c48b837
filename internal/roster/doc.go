// Package roster knows what this node serves: deployed units that fit it, and those that a
// session develops on it. It is the only package that knows; doors and sessions ask it.
//
//	registry ──► Run ──────────┐               ┌─► Function, Functions, Routes    a gateway
//	                           ├─► Roster ─────┼─► Public                         the bus
//	session  ──► Set, Remove ──┘      │        └─► Watch                          both
//	                                  └─► runner.Runner, which is kept in step
//
// What is developed takes precedence over what is deployed under the same name, on this
// node alone. A developed function is not public while a deployed one has its name:
// callers of the one would get answers of the other.
//
// It starts no instances and takes no requests: Call only hands one to the runner. A change
// of one name looks at that name alone, however many there are.
//
// Invariants, and the tests that guard them:
//   - what is developed takes precedence, until it is removed: TestDevelopedTakesPrecedence
//   - a developed function is public only under a free name: TestDevelopedIsPublicUnderAFreeName
//   - a call waits for the build of a function, and is told why it failed: TestCallersWaitForABuild
//   - so does one that nothing took, while a service is on its way: TestCallersWaitForAService
//   - a route leads to what is being built: TestPatternsLeadToWhatIsBeingBuilt
//   - what a call waits for is built first: TestFirstCallHastensABuild
//   - what does not fit this node is not served: TestOnlyWhatFitsIsServed
//   - each change is told once, to every watcher: TestWatchTellsWhatChanged
//   - one change among 10,000 functions is in force at once: BenchmarkDeploy
package roster
