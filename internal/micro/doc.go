// Package micro knows the micro services of NATS (ADR-32): what they report about
// themselves, and which exist.
//
//	$SRV.INFO ──► services ──answers──► parse ─┬─► Directory ──► Picture ──► Lookup, Watch
//	                                           └─► Survey: one question, for the command line
//	Encode: the answers of a node's own functions
//
// It does not call services; that is the bus's part.
//
// Invariants, and the tests that guard them:
//   - one hostile answer hides no other service: TestHostileAnswersHideNobody
//   - a busy service is kept, one that left is dropped:
//     TestSilentInstanceIsKeptWhileItIsSubscribed
//   - calls are kept away from a node that freezes: TestSilentNodeIsPassedBy
//   - concurrent lookups of one service share one question: TestLookupAsksOnceForAllWhoWait
package micro
