// Package httpengine is the engine http: an instance is a long-lived process that
// answers HTTP/1.1. The folder is named http as the engine is; the package is not,
// because every file of it needs net/http.
//
//	Start ──► process with $MAYFLY_SOCKET and $PORT ──► connect until one answers ──► instance
//
//	Call ──► client ─► conn: one write ──────────────────────────────► the function
//	Reply ◄─ Body, or a stream that holds the conn ◄─ head ◄─ its reply ┘
//
// The client is our own because the hop is what a call costs. It does what one
// caller and one function on the same machine need and nothing else: no TLS, no
// proxies, no redirects, no cookies, no compression, no pipelining. A call runs in
// the goroutine of its caller; only a request body that is streamed, or large, has
// a goroutine besides, so that the reply may begin before the request has ended.
//
// It keeps no instance alive and starts none again: that is the runner's. It does
// not know who listens on $PORT: the port was free when the process was started,
// and a stranger who takes it first answers in its place, until the program fails
// to listen and ends. A socket in our own folder has no such moment, so it is
// looked for first.
//
// Invariants, and the tests that guard them:
//   - a reply is what net/http would read, or it is refused: FuzzReply
//   - nothing in a call forges a second request or another framing:
//     TestNothingIsInjected, FuzzRequest
//   - a call reaches the function once: it is sent again only where the function
//     cannot have read it, not even in part: TestCallIsSentAgainOnlyIfItWasNotRead,
//     TestCallThatWasReadInPartIsNotSentAgain
//   - a reply that nobody asked for reaches nobody: TestUnaskedReplyReachesNobody
//   - the end of a call's context is the end of the function's request:
//     TestContextEndsTheRequest
//   - a stream passes as it comes, and is never held whole: TestEventsComeAtOnce,
//     TestUploadHasBackPressure
//   - a function that answers before it has read the request is heard:
//     TestEarlyReplyWins
//   - an instance that dies fails its calls at once and says how it died:
//     TestDeathFailsTheCall, TestDeathEndsTheStream,
//     TestKillUnderLoadCostsTheCallsInHand
package httpengine
