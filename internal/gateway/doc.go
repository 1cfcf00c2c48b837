// Package gateway is the HTTP door: it turns requests into calls and replies into
// answers.
//
//	request ──► checkTarget, checkHost ► /svc ───► Directory ─┐
//	                                 └─► table ──► entry ─────┴─► firewall ──► admission ──► Caller
//	answer  ◄── problem  ◄──────────── error ◄───────────────────────────────────┴─────────────┤
//	        ◄── writeReply ◄────────── Reply ◄─────────────────────────────────────────────────┘
//
// It knows no NATS: the bus comes in as a Caller and a Directory. It holds no
// state but the table of routes, which is replaced whole, so no request waits for
// a change, and what admission has seen of each target.
//
// Invariants, and the tests that guard them:
//   - headers that steer NATS or belong to Mayfly never come from a client:
//     TestFirewall
//   - nobody there is 503, silence is 504, and no answer of ours is without
//     X-Call-Id: TestAnswersTellErrorsApart
//   - a request that should not publish publishes nothing: TestHostilePaths,
//     TestSmuggledRequestsAreRefused, FuzzServeHTTP
//   - what stands behind a body that was not read to its end is no request:
//     TestRestOfABodyIsNoRequest; and no client waits to send it, or loses its answer
//     for it: TestTooLargeBodyIsRefusedBeforeItComes, TestEarlyAnswerIsNotLost
//   - nothing of a reply forges an answer: TestReplyOfARawClient
//   - web pages of other origins get what a route's cors allows and no more:
//     TestPreflightIsAnsweredForTheRouteItAsksAbout, TestWebPageOfAnotherOriginMayNotCall
//   - routes change without a dropped call: TestRoutesChangeUnderLoad
//   - what a pattern's loser gets is the same on all gateways: TestTableOrder
//   - a service with more to do than it can stays useful, and nothing is refused in
//     normal use: TestAdmissionKeepsAnOverloadedServiceUseful,
//     TestAdmissionRefusesNothingInNormalUse
//   - Run returns when every call in flight is answered or cut off:
//     TestCallInFlightIsAnsweredAfterTheEnd, TestDrainTimeCutsCallsOff
package gateway
