// Package exec is the engine of programs that are started for each call and end
// with it: shell scripts, and whatever reads stdin and writes stdout.
//
//	Call ─► variables (RFC 3875) ─┐
//	        body ─► stdin ────────┼─► process ─► stdout ─► output ─► Reply
//	                              │              stderr ─► lines of the log
//	ctx's end ─► SIGKILL ─────────┘              exit  ─► success, or Crashed
//
// An instance is no process, only what is needed to start one; it is ready at once.
// What a program writes is the reply's body as it is, with status 200; one that is
// marked CGI begins with headers. A short reply waits for the exit status, so that
// a program that fails half-way is an error and not half a reply. One that is long,
// or whose program goes on, streams as it comes; if that program fails, the stream
// breaks off with the error.
//
// It keeps no processes warm and starts none before it is called. How processes are
// ended is package process's matter.
//
// Invariants, and the tests that guard them:
//   - it is an engine: TestEngineConforms, TestEngineOfCGIConforms
//   - what a client sends names no variable but those of RFC 3875 and MAYFLY_PARAM_:
//     TestVariablesOfACall, TestHostileHeadersMakeNoVariables
//   - a reply that was cut short is never taken for whole: TestStreamOfAProgramThatFailsBreaksOff
//   - an upload that was cut short is never taken for whole: TestUploadThatBreaksOffEndsTheCall
//   - a program that goes silent in its reply is ended: TestStreamThatIsSilentEnds
package exec
