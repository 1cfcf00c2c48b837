// Package enginetest is the conformance suite for engines: it checks what
// runner.Engine and runner.Instance promise on a real engine with a real program.
//
//	engine's own test ── Fixtures: one program that does what the path says
//	        │
//	       Run ─► Engine.Start ─► Instance.Call "/echo", "/crash", "/hang" ...
//
// The engine's test supplies the program, in the form that the engine runs, and
// declares in Fixtures how the engine differs; everything else is the same for all.
// Fixtures.Program says what the program must do. Play turns the test binary into
// that program, and Keeper starts it.
//
// The suite never reads a process list to see that processes are gone. The program
// opens a named pipe and its children inherit it; end of file at the other end
// means that the last of them has exited.
//
// It does not test what is specific to one engine, such as a protocol parser or CGI.
// It needs named pipes.
package enginetest
