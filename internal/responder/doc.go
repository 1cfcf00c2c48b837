// Package responder makes the functions of a node micro services of NATS (ADR-32):
// they answer on fn.<name>, and `nats micro ls`, info, stats and ping see them.
//
//	NATS ──► Listener ──► dispatch ──► fn.<name> ──► a goroutine ──► Runner.Call ──► reply
//	                           └────► $SRV.*   ──► survey ──────────────────────► answers
//
// All subjects share one channel, and discovery one goroutine: nats.go's own micro
// package takes a goroutine for each of nine subscriptions of a function, runs its
// calls one at a time, does not recover panics and stops without waiting. No
// subscription has a wildcard for the function's name: it would hide "no responders"
// from callers.
//
// It has no limits of its own: calls over NATS and HTTP share the Runner's admission.
// It does not cancel a call when the caller leaves, because NATS does not report that.
//
// Invariants, and the tests that guard them:
//   - its answers pass ADR-32's published schemas: TestAnswersPassTheSchemas
//   - requests are counted exactly, over NATS and HTTP: TestStatisticsAreExact
//   - Run returns after every call in progress is answered: TestCallInHandIsAnsweredAtTheEnd
//   - a call that takes long sends signs of life: TestLongCallSendsSigns
//   - a function that was removed is "no responders": TestRemovedFunctionHasNoResponders
package responder
