// Package front is a small HTTP/1.1 server for plain requests, with net/http behind
// it for all others.
//
//	connection ──► scan ──► plain ──► *http.Request ──► Handler ──► response ──► connection
//	                 └────► odd ────► net/http, with the bytes read, until the connection ends
//
// A gateway spends more on HTTP than on anything else, and much of what net/http
// does per request serves rare requests. This server handles the common ones at
// half the price: it starts no goroutine per request, sets deadlines only where
// something waits, and answers a small request with one read and one write.
// BenchmarkServe compares the two; gateway.front=false switches this one off.
//
// It is safe because it never decides what odd input means. It accepts a small,
// unambiguous part of HTTP, stated at the top of head.go. The rest, valid or not,
// goes to net/http from its first byte on, so there is one judge of hostile input,
// the standard library, and a Handler gets the same from both.
//
// What it does not cover, and leaves to net/http:
//   - TLS, and with it HTTP/2; HTTP/1.0, h2c
//   - chunked requests, trailers, Expect, Upgrade
//   - folded lines, bare line feeds, two lengths, odd hosts and targets
//
// There is no Hijack, a handler cannot choose the framing of an answer, and the map of an answer's
// headers is the next one's once the handler has returned.
//
// Invariants, and the tests that guard them:
//   - a handler sees the same requests as behind net/http, and a client the same
//     answers: TestFrontAndPlainAreAlike, FuzzFrontAndPlainAreAlike
//   - a target means what it means to net/url: TestURLIsThatOfTheStandardLibrary
//   - a client that disconnects cancels its request's context, within 50 ms even
//     while the handler streams, and pipelined requests are kept: TestClientThatLeavesEndsTheContext,
//     TestRequestSentAheadIsAnswered
//   - a flushed event arrives at once, and a long body is never buffered: TestFlushedEventArrivesAtOnce,
//     TestLongBodiesAreNotHeld
//   - an unread request body costs no answer: TestUnreadBodyIsDrainedOrTheConnectionEnds,
//     TestUnreadBodyInFullDuplexLosesNoAnswer
//   - a body is never taken for a request, also if its client has left:
//     TestBodySentAheadByAClientThatLeft
//   - deadlines hold, though they are set late, also across a handover: TestSlowClientsAreCut
//   - a request framed in two ways is the last of its connection: TestTwoFramingsEndTheConnection
//   - Shutdown leaves no answer half sent, and Serve no goroutine:
//     TestShutdownLetsAnswersFinish, TestMain
//   - Off leaves every connection to net/http: TestOffLeavesAllToNetHTTP
package front
