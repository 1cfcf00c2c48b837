// Package link is the node's end of the connection to an instance that speaks frames
// (docs/frames.md): many calls at once, on one connection.
//
//	Call ─► begin ─► frame.Writer ─────────────────────► the instance
//	  └── waits for answer or ctx ◄─ take ◄─ read ◄────── its frames
//
// A call runs in its caller's goroutine. A call that finds no other reads its reply itself;
// for several at once, and for streams, one goroutine per Link reads. While there is no call
// nobody does. Only a request body that is a stream, or longer than may be sent ahead, gets
// another goroutine.
//
// Nothing that an instance sends harms another call than its own, or the node: what belongs
// to no call is dropped, what is no frame ends the link, and what is sent ahead is bounded.
//
// Invariants, and the tests that guard them:
//   - calls of one link are answered in any order: TestCallsMix
//   - a slow reader holds up nobody: TestSlowReaderHoldsUpNobody
//   - no reply reaches another call than its own: TestUnaskedFramesReachNobody
//   - what breaks the rules ends the link: TestRulesOfTheLink, FuzzLink
//   - a link that is closed notices its end without a call: TestEndOfAnIdleLink
//   - a call that ends early tells the instance: TestContextCancels
//   - nothing is held beyond the window: TestUploadHasBackPressure, TestReplyHasBackPressure
package link
