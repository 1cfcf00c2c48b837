// Package instance serves calls in the process of a function written in Go: it connects to the
// node and passes frames to an http.Handler. Package fn offers it to programs; the generated
// main of a short form contains a copy of its source.
//
//	node ──► frames ──► session.read ──► worker: call.serve ──► the handler
//	node ◄── frames ◄── frame.Writer ◄── response ◄───────────────┘
//
// Handlers notice nothing: requests and responses behave as those of net/http do, within what a
// node passes on. There are no trailers, no interim responses and, for now, no Hijack.
//
// It imports only the standard library, frame and scope, and nothing that Go 1.21 lacks,
// because it is compiled with the user's Go.
//
// Invariants, and the tests that guard them:
//   - handlers cannot tell it from net/http: TestHandlersSeeWhatNetHTTPShows
//   - neither side is sent more than it granted, and a slow reader slows its own call only:
//     TestSlowReaderHoldsUpItsCallOnly, TestUploadWaitsForTheHandler
//   - no call waits for another to end: TestBurstOfLongCallsBeginsAtOnce
//   - what a node must not send ends the process: TestLyingFramesEndIt
//   - a signal ends it after the calls in flight: TestServeFinishesWhatIsInFlight
//   - what a handler keeps after its return harms no other call: TestLateHandlersHarmNobody
//   - the copy is whole, and Go 1.21 compiles it: TestSourceIsWhole
package instance
