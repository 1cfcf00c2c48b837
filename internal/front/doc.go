// Package front is a small HTTP/1.1 server for plain requests, with net/http's own
// behind it for all others.
//
//	connection ──► scan ──► plain ──► *http.Request ──► Handler ──► response ──► connection
//	                 └────► odd ────► net/http, with the bytes read, until the connection ends
//
// A gateway spends more on HTTP than on anything else. Most of what net/http does
// for a request is for requests that hardly come: this server does the rest at half
// the price. It starts no goroutine for a request, sets deadlines only where
// somebody waits, and answers a small request with one read and one write.
//
// It is safe because it judges nobody. The grammar that it takes is a small part
// of HTTP that leaves no room for opinion, stated at the top of head.go; whatever
// is outside, valid or not, net/http gets from its first byte on: HTTP/1.0, HTTP/2,
// TLS, chunked bodies, Expect, Upgrade, folded lines, bare line feeds, two lengths,
// odd hosts and targets. So there is one opinion on hostile input, the standard
// library's, and a Handler cannot tell who called it.
//
// It knows no trailers and no Hijack: what asks for them is handed over. A handler
// cannot choose the framing of an answer.
//
// Invariants, and the tests that guard them:
//   - a handler gets the same requests as by net/http, and a client the same
//     answers: TestFrontAndPlainAreAlike, FuzzFrontAndPlainAreAlike
//   - a client that leaves ends its request's context, within 50 ms also while the
//     handler streams, and what it sent ahead is kept: TestClientThatLeavesEndsTheContext,
//     TestRequestSentAheadIsAnswered
//   - a flushed event arrives at once, and a body is never held: TestFlushedEventArrivesAtOnce,
//     TestLongBodiesAreNotHeld
//   - a body that nobody reads loses no answer: TestUnreadBodyIsDrainedOrTheConnectionEnds,
//     TestUnreadBodyInFullDuplexLosesNoAnswer
//   - deadlines hold, although they are set late: TestSlowClientsAreCut
//   - Shutdown leaves no answer half sent, and Serve no goroutine:
//     TestShutdownLetsAnswersFinish, TestMain
package front
