// Package runner keeps functions and services alive: it starts an instance of a function
// when a call arrives and stops it when calls cease, keeps a fixed number of instances
// of a service, and reports what happened.
//
//	Call ──► unit ──► revision ──► pool ──► slot ──► Instance ──► Reply
//	          │          │          │  ▲               ▲
//	          │          │   orders ▼  │ settle        │
//	          │          └────────► live ──► Engine.Start, Done, Stop
//	          └─ Set, Prepare, Remove: which revision takes the calls
//
//	runner  the list, and the end of all
//	unit    a function or a service: the current revision and its fallbacks
//	pool    which calls run or wait, what starts and stops: rules without a clock
//	call    from admission to the end of the reply, timeouts and counts
//
// It knows neither HTTP nor NATS, nor how an instance is made: that is the engines' job
// (runner/http, runner/exec, runner/service), which node passes in. Callers supply the
// code's folder and the environment. It does not limit how much of a machine all
// functions together use.
//
// A function without instances is an entry in a map, without a goroutine, and without a timer
// once the last call's time would have been over.
// An instance has one goroutine, from its start to its end; Run and Close wait for all
// of them. Lock order: a Runner's, a unit's, a call's. Output is called with a lock held.
//
// Invariants, and the tests that guard them:
//   - never more instances than Max nor more calls in one than Concurrency, first
//     come first served, no call lost or served twice, no start during a rest:
//     TestPoolKeepsItsRules
//   - quick calls keep few instances awake, slow ones use all: TestQuickCallsShareAnInstance,
//     TestSlowCallsUseAllInstances
//   - a call that does not fit is rejected at once:
//     TestCallsWaitFirstComeFirstServed
//   - bad code does not cause a storm of starts: TestBadRevisionMakesNoStorm,
//     TestDeadlyCallMakesNoStorm
//   - nor do very many functions: TestFewInstancesStartAtOnce
//   - an instance that dies only costs the calls in it:
//     TestKilledInstanceCostsItsCallAlone
//   - a new revision does not drop calls, and one that does not start gets none:
//     TestNewRevisionTakesTheCalls, TestRevisionThatFailsKeepsTheLastGoodOne
//   - a service rolls out one instance at a time, and one that does not start costs
//     nothing: TestNewRevisionOfAServiceReplacesOneAtATime, TestRollOutIsOvertaken
//   - every call is counted once: TestStatisticsAreExactUnderLoad
//   - the work on a call ends at its timeout, whatever those of others: TestTimeout,
//     TestEachCallHasItsOwnDeadline
//   - a call costs one allocation, with its context and timeout: TestCallAllocatesOnce
//   - nothing is left after Run: TestRunAnswersWhatItHolds
package runner
