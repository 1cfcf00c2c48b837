// Package httpengine is the engine http: an instance is a long-lived process that connects
// to the node and takes frames (package link), or that serves HTTP/1.1. The folder is named
// after the engine; the package is not, because every file in it imports net/http.
//
//	Start ──► process with $MAYFLY_LINK, $MAYFLY_SOCKET and $PORT ──► it connects, or answers on one ──► instance
//
//	Call ──► client ─► conn: one write ──────────────────────────────► the function
//	Reply ◄─ Body, or a stream that holds the conn ◄─ head ◄─ its reply ┘
//
// For HTTP it has its own client because this hop dominates the cost of a call. The client
// does what one caller and one function on the same machine need and nothing else:
// no TLS, proxies, redirects, cookies, compression or pipelining. A call runs in its
// caller's goroutine; only a streamed or large request body gets a second one, so
// that the reply may start before the request has ended.
//
// It cannot know who listens on $PORT: the port was free when the process started, but
// another program may take it first and answer instead, until the function fails to
// listen and exits. A socket in our own folder has no such race, so it is tried first.
//
// Invariants, and the tests that guard them:
//   - it is an engine: TestEnginesConform
//   - a reply is what net/http would read, or it is rejected: FuzzReply
//   - a call cannot inject a second request or change the framing:
//     TestNothingIsInjected, FuzzRequest
//   - a call reaches the function at most once: it is resent only if the function
//     cannot have read any of it: TestCallIsSentAgainOnlyIfItWasNotRead,
//     TestCallThatWasReadInPartIsNotSentAgain
//   - an unsolicited reply is dropped: TestUnaskedReplyReachesNobody
//   - canceling a call's context cancels the function's request:
//     TestContextEndsTheRequest
//   - a stream is passed on as it arrives and never buffered whole: TestEventsComeAtOnce,
//     TestUploadHasBackPressure
//   - a reply that comes before the request was read counts:
//     TestEarlyReplyWins
//   - a crashed instance fails its calls at once, with the reason:
//     TestDeathFailsTheCall, TestDeathEndsTheStream,
//     TestKillUnderLoadCostsTheCallsInHand
package httpengine
