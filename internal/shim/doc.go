// Package shim turns a user's file into something the http engine can start: a
// program that takes calls as frames over MAYFLY_LINK, or HTTP on MAYFLY_SOCKET.
//
//	hello.ts ──JavaScript──► Out/function.cjs + Out/mayfly/shim.cjs ──► node mayfly/shim.cjs
//	hello.py ──Python──────► Out/hello.py + Out/mayfly_shim/*.py    ──► python3 -c "import mayfly_shim ..."
//	hello.go ──Go──────────► a generated main and internal/instance ──► the binary
//
// A short form exports a handler and knows nothing about sockets: the shim, a few
// small files in the function's own language, listens, passes it each request and
// writes what it returns. A program listens itself and runs as it is. The build
// finds out which of the two a file is without running it.
//
// In JavaScript the handler gets the standard Request and returns a Response, or
// something simpler. Both are light objects that turn into real ones when something
// unusual is needed: real ones for every call would cost two thirds of the calls
// per second.
//
// Packages that work only as they are installed stay outside the bundle: a Result names
// them, and project copies them.
//
// It does not find the user's file or pack the output: project does. It does not
// start what it built: the engines do. It never writes to the user's folder.
//
// # Invariants
//
//   - Every documented return value becomes the right response: TestJavaScriptAnswers.
//   - Apps of frameworks and the handlers of other platforms are served, or named by
//     the build: TestJavaScriptForms, TestJavaScriptNamesOtherPlatformsForms.
//   - Light objects behave like Node's own: TestJavaScriptObjectsBehaveAsTheStandards.
//   - An error in the user's code is a 502 with Mayfly-Crash and a trace of the
//     user's lines only, never a reply that looks complete:
//     TestJavaScriptCrashIsSaid, TestJavaScriptTraceNamesLinesAndColumns,
//     TestJavaScriptStreamThatFailsBreaksOff.
//   - A client that disconnects cancels the work at once: TestJavaScriptClientThatLeavesCancels.
//   - A line never carries another call's id: TestJavaScriptLinesCarryTheirCall.
//   - Stopping finishes the calls in hand: TestJavaScriptFinishesCallsBeforeItStops.
//   - A build error comes with file and line: TestJavaScriptBuildSaysWhatIsWrong.
//   - A deployed bundle reveals nothing about the machine that built it:
//     TestJavaScriptOutputTellsNothingOfTheMachine.
//   - A body that is not JSON is the client's fault, a 400, unless the handler
//     catches it: TestJavaScriptBodyThatIsNoJSONIsTheClientsFault, TestPythonAnswers.
//   - One connection carries calls of all speeds in JavaScript, and a client that does not
//     read holds up nobody: TestJavaScriptMixesCallsOnOneConnection,
//     TestJavaScriptSlowReaderHoldsUpNobody, TestJavaScriptKeepsABodyForLater.
//   - A JavaScript function ends with one clear line when it reads what is no frame, drops
//     frames of calls that are over, and ends with its node: TestJavaScriptEndsOnWhatIsNoFrame,
//     TestJavaScriptDropsWhatBelongsToNoCall, TestJavaScriptEndsWithItsNode.
//   - It does not load node:http, which takes long: TestJavaScriptLoadsNoHTTP.
//   - The same holds in Python: TestPythonAnswers, TestPythonCrashIsSaid,
//     TestPythonStreamThatFailsBreaksOff, TestPythonClientThatLeavesEndsTheCall,
//     TestPythonLinesCarryTheirCall, TestPythonFinishesCallsBeforeItStops,
//     TestPythonSaysWhatIsWrong; and for WSGI and ASGI: TestWSGI, TestWSGICrashIsSaid,
//     TestASGI, TestASGICrashIsSaid, TestASGIClientThatLeavesIsReported,
//     TestASGILinesCarryTheirCall, TestASGIFinishesCallsBeforeItStops,
//     TestASGIShutsDownWhileStreamsAreOpen.
//     And for async def handle: TestAsyncPython, TestAsyncPythonClientThatLeavesEndsTheCall.
//   - Frameworks run unchanged: TestFastAPI, TestFlask.
//   - A signal stops the Python server cleanly at any moment:
//     TestPythonStopsWhateverItIsAt.
//   - In Python, a call that blocks and a client that does not read hold up nobody:
//     TestPythonSlowCallsHoldUpNobody, TestASGISlowClientHoldsUpNobody.
//   - The Python server ends with one clear line when it reads what is no frame, drops frames
//     of calls that are over, and ends with its link: TestPythonRejectsWhatIsNoFrame,
//     TestPythonDropsFramesOfNoCall, TestPythonEndsWithItsLink.
//   - A Go handler keeps its module, and its errors keep their lines:
//     TestGoBuildsWithinTheUsersModule, TestGoServesAHandlerFromASingleFile,
//     TestGoSaysWhatIsWrong.
//   - Python and Go know the names of the wire: TestShimsSpeakTheWire.
//   - A build ends with its context: TestGoGivesUpWithItsContext,
//     TestPythonGivesUpWithItsContext.
package shim
