// Package gateway is the HTTP door: it turns requests into calls and replies into
// answers.
//
//	request ──► checkPath, checkHost ──► /svc ───► Directory ─┐
//	                                 └─► table ──► entry ─────┴─► firewall ──► Caller
//	answer  ◄── problem  ◄──────────── error ◄──────────────────────────────────┤
//	        ◄── writeReply ◄────────── Reply ◄──────────────────────────────────┘
//
// It knows no NATS: the bus comes in as a Caller and a Directory. It holds no
// state but the table of routes, which is replaced whole, so requests take no
// lock.
//
// Invariants, and the tests that guard them:
//   - headers that steer NATS or belong to Mayfly never come from a client:
//     TestFirewall
//   - nobody there is 503, silence is 504, and no answer of ours is without
//     X-Call-Id: TestAnswersTellErrorsApart
//   - a request that should not publish publishes nothing: TestHostilePaths
//   - routes change without a dropped call: TestRoutesChangeUnderLoad
//   - what a pattern's loser gets is the same on all gateways: TestTableOrder
//   - /openapi.json is valid whatever the metadata says: TestOpenAPIIsValid
package gateway
