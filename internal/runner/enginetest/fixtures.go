package enginetest

import (
	"github.com/mayfly-run/mayfly"
)

// Fixtures are what an engine's own test brings to the suite.
type Fixtures struct {
	// Program does by the path of a call:
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
	//	/duplex   replies "first\n" at once, then the body as it comes
	//	/endless  opens the leash, writes "open\n" to it, replies the letter x without
	//	          end, and closes the leash when it cannot any more
	//	/hang     opens the leash, writes "open\n" to it, and closes it when the call is
	//	          cancelled, without a reply
	//	/crash    writes "last words" to stderr and exits with status 3
	//	/child    starts a process that ignores SIGTERM and outlives the call, with the
	//	          leash open and in a session of its own if the system can, replies "born"
	//
	// The leash is the named pipe of the variable LEASH; open it for writing.
	//
	// A service (see runner.Traits) instead writes its environment to stdout, each entry on
	// a line, then "to stderr" to stderr, starts what /child starts if LEASH is
	// set, writes "ready" to stdout, and lives until SIGTERM, at which it exits with
	// status 0, or exits with status 3 after "last words" on stderr if CRASH is set.
	Program mayfly.Program
	Folder  string   // of the bundle
	Env     []string // what the programs need, such as PATH

	// Broken does not come to its first call. What Start says of it has BrokenSays in
	// its message or trace.
	Broken     mayfly.Program
	BrokenSays string

	// Silent opens the leash, writes "open\n" to it and never becomes ready. It has no
	// command line if the engine starts nothing before a call.
	Silent mayfly.Program

	Adds    []string // names of variables that the engine adds; "HTTP_*" stands for all that begin so
	Raw     bool     // replies have no status and no headers
	PerCall bool     // a process for each call, whose stdout is the reply: its crash is not the instance's end
}
