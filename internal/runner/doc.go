// Package runner keeps functions and services alive: it starts an instance of a
// function when a call comes and stops it when no more calls come, keeps a fixed
// number of a service's, and says what happened.
//
//	Call ──► function ──► revision ──► pool ──► slot ──► Instance ──► Reply
//	            │            │          │  ▲               ▲
//	            │            │   orders ▼  │ settle        │
//	            │            └────────► live ──► Engine.Start, Done, Stop
//	            └─ Set, Prepare, Remove: which revision takes the calls
//
//	runner    the lists, and what time demands (agenda)
//	function  one name, a service's too: the current revision, those that stand in for it
//	pool      who is served, who waits, what starts and stops: rules without a clock
//	call      from admission to the end of the reply, timeouts and counts
//
// It knows neither HTTP nor NATS, nor how an instance is made: that is the engines'
// (runner/http, runner/exec, runner/service), which node hands over. Where code lies
// and what the environment holds it asks of those who call it. It does not limit
// how much all functions together take of a machine.
//
// A function without instances is an entry in a map, with no goroutine and no timer.
// An instance has one goroutine, which sees it from its start to its end; Run and
// Close wait for all of them. Locks are taken in this order: a Runner's, a
// function's, the agenda's. Output is called with a lock held.
//
// Invariants, and the tests that guard them:
//   - never more instances than Max nor more calls in one than Concurrency, first
//     come first served, no call lost or served twice, no start during a rest:
//     TestPoolKeepsItsRules
//   - a call for which there is no room is refused at once:
//     TestCallsWaitFirstComeFirstServed
//   - bad code makes no storm of starts: TestBadRevisionMakesNoStorm,
//     TestDeadlyCallMakesNoStorm
//   - an instance that dies costs the calls that it works at, no more:
//     TestKilledInstanceCostsItsCallAlone
//   - a new revision drops no call, and one that does not start takes none:
//     TestNewRevisionTakesTheCalls, TestRevisionThatFailsKeepsTheLastGoodOne
//   - a service rolls out one instance at a time, and one that does not start costs
//     nothing: TestNewRevisionOfAServiceReplacesOneAtATime, TestRollOutIsOvertaken
//   - every call is counted once: TestStatisticsAreExactUnderLoad
//   - the work on a call ends with its time: TestTimeout
//   - nothing is left after Run: TestRunAnswersWhatItHolds
package runner
