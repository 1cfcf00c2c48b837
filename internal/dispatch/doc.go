// Package dispatch decides who takes a call: a function of this node, an endpoint
// elsewhere on the bus, or nobody.
//
//	Function, Endpoint, Route ──► Target ──► Call ─┬─► Functions            this node
//	                                               └─► admission ─► Caller  the bus
//
// A Target also says how long the call may take and how large its body may be. What
// a gateway, a trigger or a queue decides, it decides here, so that a call gets the
// same answer however it came. All share one Dispatcher, because its admission
// learns from every call.
//
// It knows neither HTTP nor NATS, and reads no body.
//
// Invariants, and the tests that guard them:
//   - a function of this node is called without the bus, unless told otherwise:
//     TestFunctionIsTakenHereElsewhereOrByNobody
//   - a name that nobody answers to never becomes a subject:
//     TestFunctionIsTakenHereElsewhereOrByNobody
//   - a function's silent node gets no new calls: TestSilentNodeGetsNoNewCalls
//   - a call waits for a service of this node that is on its way: TestCallsWaitForAServiceOnItsWay
//   - a body over the bus fits into one message: TestBodyLimitIsTheSmallestBound
//   - an overloaded service stays useful, and normal use is never refused:
//     TestAdmissionKeepsAnOverloadedServiceUseful, TestAdmissionRefusesNothingInNormalUse
package dispatch
