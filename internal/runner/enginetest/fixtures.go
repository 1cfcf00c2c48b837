package enginetest

import (
	"github.com/mayfly-run/mayfly"
)

// Fixtures are what an engine's test supplies to the suite.
type Fixtures struct {
	// Program acts by the path of a call:
	//
	//	/echo     replies the body
	//	/where    replies method, path and query of the request, each on a line
	//	/header   replies the value of the request's header X-Ask
	//	/reply    replies status 201 with the header X-Fixture: yes and the body "made"
	//	/nothing  replies no body
	//	/env      replies its environment, NAME=value, each ended by a zero byte
	//	/big      replies 8 MiB of the letter x
	//	/say      writes the line "to stderr" to stderr, "to stdout" to stdout unless
	//	          stdout is the reply, and replies "said"
	//	/deaf     replies "deaf" without reading the body
	//	/duplex   replies "first\n" at once, then the body as it arrives
	//	/endless  opens the leash, writes "open\n" to it, replies the letter x
	//	          endlessly, and closes the leash when it no longer can
	//	/hang     opens the leash, writes "open\n" to it, and closes it without a
	//	          reply when the call is canceled
	//	/crash    writes "last words" to stderr and exits with status 3
	//	/child    starts a process that ignores SIGTERM and outlives the call, with the
	//	          leash open, in its own session if the system can; replies "born"
	//
	// The leash is the named pipe in the variable LEASH; open it for writing.
	//
	// A service (see runner.Traits) instead writes its environment to stdout, one entry per
	// line, then "to stderr" to stderr, starts what /child starts if LEASH is set,
	// writes "ready" to stdout, and runs until SIGTERM, then exits with status 0; or, if
	// CRASH is set, exits with status 3 after "last words" on stderr.
	Program mayfly.Program
	Folder  string   // of the bundle
	Env     []string // variables the programs need, such as PATH

	// Broken exits before its first call. Start's error has BrokenSays in its message
	// or trace.
	Broken     mayfly.Program
	BrokenSays string

	// Silent opens the leash, writes "open\n" to it and never becomes ready. It is empty
	// if the engine starts nothing before a call.
	Silent mayfly.Program

	Adds    []string // variables that the engine adds; "HTTP_*" matches all with that prefix
	Raw     bool     // replies have no status and no headers
	PerCall bool     // one process per call, with the reply on stdout: its crash does not end the instance
}
