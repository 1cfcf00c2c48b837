// Package shim turns a user's file into something that the http engine can start:
// a program that answers HTTP on the unix socket MAYFLY_SOCKET.
//
//	hello.ts ──JavaScript──► Out/function.cjs + Out/mayfly/shim.cjs ──► node mayfly/shim.cjs
//	hello.py ──Python──────► Out/hello.py + Out/mayfly_shim/*.py    ──► python3 -c "import mayfly_shim ..."
//	hello.go ──Go──────────► a generated main                       ──► the binary
//
// A short form exports a handler and knows nothing of sockets: the shim, a few small
// files in the function's own language, listens for it, hands it each request and
// writes what it returns. A program listens itself and runs as it is.
// Which of the two a file is, a build finds without running it.
//
// In JavaScript the handler gets the standard's Request and returns its Response,
// or simpler things. Both are light objects that become real ones where something
// unusual is asked for: to build the real ones for every call costs two thirds of
// the calls per second.
//
// It neither finds the user's file nor packs what was built: project does. It does
// not start what it built: the engines do. Nothing is written into the user's
// folder.
//
// # Invariants
//
//   - What a handler may return is written as it is meant: TestJavaScriptAnswers.
//   - Light objects behave as Node's own: TestJavaScriptObjectsBehaveAsTheStandards.
//   - An error of the user's code is a 502 with Mayfly-Crash and a trace that names
//     the user's lines alone, never a reply that looks whole:
//     TestJavaScriptCrashIsSaid, TestJavaScriptTraceNamesLinesAndColumns,
//     TestJavaScriptStreamThatFailsBreaksOff.
//   - A client that leaves ends the work at once: TestJavaScriptClientThatLeavesCancels.
//   - A line never carries another call's id: TestJavaScriptLinesCarryTheirCall.
//   - A stop finishes what was begun: TestJavaScriptFinishesCallsBeforeItStops.
//   - A mistake is said with its file and line: TestJavaScriptBuildSaysWhatIsWrong.
//   - A deployed bundle says nothing of the machine that built it:
//     TestJavaScriptOutputTellsNothingOfTheMachine.
//   - What of a body is no JSON is the client's fault, a 400, unless the handler
//     catches it: TestJavaScriptBodyThatIsNoJSONIsTheClientsFault, TestPythonAnswers.
//   - In Python it is the same: TestPythonAnswers, TestPythonCrashIsSaid,
//     TestPythonStreamThatFailsBreaksOff, TestPythonClientThatLeavesEndsTheCall,
//     TestPythonLinesCarryTheirCall, TestPythonFinishesCallsBeforeItStops,
//     TestPythonSaysWhatIsWrong; and for WSGI: TestWSGI, TestWSGICrashIsSaid.
//   - A signal ends Python's server well, whatever it is at:
//     TestPythonStopsWhateverItIsAt.
//   - Python's server, which is our own, takes what is not HTTP for that:
//     TestPythonReadsWhatIsNotHTTP.
//   - A Go handler keeps its module and its errors their lines:
//     TestGoBuildsWithinTheUsersModule, TestGoServesAHandlerFromASingleFile,
//     TestGoSaysWhatIsWrong.
//   - Python and Go know the names of the wire: TestShimsSpeakTheWire.
//   - A build ends with its context: TestGoGivesUpWithItsContext,
//     TestPythonGivesUpWithItsContext.
package shim
