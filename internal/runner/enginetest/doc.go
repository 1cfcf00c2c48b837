// Package enginetest is the conformance suite of engines: what runner.Engine and
// runner.Instance promise, asked of a real engine with a real program.
//
//	engine's own test ── Fixtures: one program that does what it is asked
//	        │
//	       Run ─► Engine.Start ─► Instance.Call "/echo", "/crash", "/hang" ...
//
// The engine's test brings the program, in whatever form the engine runs, and says
// in Fixtures what the engine is by its nature; everything else is the same for all.
// What the program has to do stands at Fixtures.Program. Play makes the test binary
// itself the program, and Keeper what starts it.
//
// Whether processes are gone is never asked of a process list. The program opens a
// named pipe and lets its children inherit it; the suite reads the other end, and
// its end of file is the death of the last of them.
//
// It does not test what one engine alone does: the parser of a protocol, CGI. It
// needs a system with named pipes.
package enginetest
