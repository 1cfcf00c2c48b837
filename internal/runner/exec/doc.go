// Package exec is the engine for programs that run once per call: shell scripts, and
// anything that reads stdin and writes stdout.
//
//	Call ─► variables (RFC 3875) ─┐
//	        body ─► stdin ────────┼─► process ─► stdout ─► output ─► Reply
//	                              │              stderr ─► lines of the log
//	ctx done ──► SIGKILL ─────────┘              exit  ─► success, or Crashed
//
// An instance is not a process, only what is needed to start one, so it is ready at
// once. The program's output is the reply's body, with status 200; with CGI it
// starts with headers. A short reply waits for the exit status, so that a program
// that fails half-way yields an error and not half a reply. A long reply, or one
// whose program keeps running, is streamed; if the program then fails, the stream
// ends with the error.
//
// It keeps no processes warm and starts none in advance. Package process ends them.
//
// Invariants, and the tests that guard them:
//   - it is an engine: TestEnginesConform
//   - a client can set no variables but those of RFC 3875 and MAYFLY_PARAM_:
//     TestVariablesOfACall, TestHostileHeadersMakeNoVariables
//   - a truncated reply never looks complete: TestStreamOfAProgramThatFailsBreaksOff
//   - nor does a truncated upload: TestUploadThatBreaksOffEndsTheCall
//   - a program that stalls in its reply is killed: TestStreamThatIsSilentEnds
package exec
