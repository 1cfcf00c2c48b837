// Package responder makes the functions of a node micro services of NATS (ADR-32):
// they answer on fn.<name>, and `nats micro ls`, info, stats and ping see them.
//
//	NATS ──► Listener ──► dispatch ──► fn.<name> ──► a goroutine ──► Runner.Call ──► reply
//	                           └────► $SRV.*   ──► survey ──────────────────────► answers
//
// All subjects share one channel, and discovery one goroutine: nats.go's own micro
// package takes a goroutine for each of nine subscriptions of a function, runs its
// calls one at a time, lets panics through and stops without waiting. There is
// never a subscription with a wildcard over functions' names, because that would
// hide from callers that nobody is there.
//
// It bounds nothing itself: the Runner's admission does, so that calls over NATS
// and calls over HTTP share one queue. It does not cancel a call whose caller has
// left: NATS does not tell.
//
// Invariants, and the tests that guard them:
//   - what it says of itself passes ADR-32's published schemas: TestAnswersPassTheSchemas
//   - requests are counted exactly, whoever makes them: TestStatisticsAreExact
//   - Run ends when every call in hand is answered: TestCallInHandIsAnsweredAtTheEnd
//   - a function that was removed is "no responders": TestRemovedFunctionHasNoResponders
package responder
