// Package gateway is the HTTP door: it turns requests into calls and replies into
// answers.
//
//	request ──► resolve ──► guard ──► serve ──► firewall ──► dispatch.Dispatcher
//	answer  ◄── writeProblem ◄─────── error ◄────────────────┤
//	        ◄── writeReply ◄───────── Reply ◄────────────────┘
//
// resolve finds the destination of a request: a path of the gateway's own, a
// service, a function, a route or a Mount of another package. guard treats them all
// alike. To follow a request read serve.go, call.go and reply.go, top to bottom.
//
// It knows no NATS, and package dispatch decides who takes a call. It holds no state
// but the table of routes, which is replaced as a whole, so no request waits for a
// change.
//
// Invariants, and the tests that guard them:
//   - headers that steer NATS or belong to Mayfly never come from a client:
//     TestFirewall
//   - no responder is 503, no reply is 504, and every answer has X-Call-Id:
//     TestAnswersTellErrorsApart
//   - a request that should not publish publishes nothing: TestHostilePaths,
//     TestSmuggledRequestsAreRefused, FuzzServeHTTP
//   - the rest of an unread body is not taken for a request: TestRestOfABodyIsNoRequest;
//     and no client waits to send it, or loses its answer for it:
//     TestTooLargeBodyIsRefusedBeforeItComes, TestEarlyAnswerIsNotLost
//   - a reply cannot forge an answer: TestReplyOfARawClient
//   - every destination has the same guards: TestGuardIsTheSameForAllDestinations,
//     TestMountHasItsPathsAndTheGuards
//   - web pages of other origins get what a route's cors allows and no more:
//     TestPreflightIsAnsweredForTheRouteItAsksAbout, TestWebPageOfAnotherOriginMayNotCall;
//     and of a function without cors what it permits: TestPageOfAnotherOriginUsesFunctions
//   - routes change without a dropped call: TestRoutesChangeUnderLoad
//   - all gateways agree on which of two routes has a pattern: TestTableOrder
//   - a change that leaves the patterns alone registers none: TestTablesShareTheirPatterns
//   - Run returns when every call in flight is answered or cut off:
//     TestCallInFlightIsAnsweredAfterTheEnd, TestDrainTimeCutsCallsOff
package gateway
