// Package conformance has no code: it holds the tests of what runner.Engine and
// runner.Instance promise, and runs them on each engine with real programs.
//
//	engines ── fixtures: how an engine differs, and a program that does what the path says
//	   │
//	suite ─► Engine.Start ─► Instance.Call "/echo", "/crash", "/hang" ...
//
// The test binary is the programs too. The suite never reads a process list to see that
// processes are gone: the program opens a named pipe, and its children inherit it. End
// of file at the other end means that the last of them has exited.
//
// What is specific to one engine, such as a protocol parser or CGI, is tested in its
// own package.
package conformance
