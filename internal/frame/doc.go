// Package frame is the codec of what a node and an instance exchange: frames of many calls,
// mixed, on one connection. docs/frames.md describes them for other languages.
//
//	Writer ── HEAD call 7 │ DATA call 5 │ CREDIT call 2 ──► Reader
//
// A Reader and a Writer need nothing but an io.Reader and an io.Writer. The package imports
// only the standard library: its source becomes a part of the Go functions that are built.
//
// It does not know what a head contains or which frame may follow which.
//
// Invariants, and the tests that guard them:
//   - what was written is read, however it is cut: TestFramesSurviveEveryCut
//   - no input panics, allocates more than a frame, or is read in two ways: FuzzReader
//   - a frame costs no allocation: TestFramesAreFree
//   - a writer that is busy gathers what comes meanwhile: TestWriterGathers
//   - bodies are not gathered without bounds, and end with the writer: TestSendersOfBodiesWait
package frame
