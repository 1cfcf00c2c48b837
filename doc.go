// Package mayfly holds the nouns of Mayfly, a home for microservices and
// functions on NATS: names, functions, calls, replies, services, routes and the one
// error type. It imports the standard library only and starts nothing; the packages
// under internal do the work.
//
//	curl ──HTTP──► gateway ──Call──► bus ──NATS──► service
//	     ◄────────     │   ◄─Reply──     ◄───────
//	                   └─────Call──► runner ──► instance of a function
//
// # Glossary
//
// One word per thing, in code, documents, flags and subjects:
//
//	function   code that answers calls, known by a name
//	revision   one immutable deployed version of a function: hello@7
//	service    a program that speaks NATS micro (ADR-32) itself; Mayfly routes to it
//	unit       a function or a service that Mayfly runs, as a project lists and deploys them
//	endpoint   one subject of a service, with a name and metadata
//	instance   one running copy of a revision, or of a service that Mayfly runs
//	frame      a piece of a call, of many on one connection between a node and an instance
//	link       that connection
//	trial      a start that only shows whether an instance starts
//	engine     how an instance is started and called: http, exec, service, static
//	runner     the part of a node that runs units
//	roster     what a node serves: deployed units that fit it, and developed ones
//	bundle     the built output of a revision, named by its sha256
//	call       one request to a function or service, and its reply
//	sign       says that a node still works on a call: a sign of life
//	job        a call that is stored and retried until it succeeds or is dead
//	route      maps HTTP requests to calls: a pattern and a target
//	project    what one mayfly.yaml (or one file) describes
//	session    mayfly up during development: build, reload, serve
//	registry   what is deployed: entries in a bucket, bundles in an object store
//	inventory  what the store should hold, to notice a loss
//	node       one mayfly process
//	door       where requests enter a node: gateway, responder, console
//	bus        the NATS connection, and the embedded server if there is one
//	directory  the live picture of all services on the bus
//	gateway    the public HTTP server; console is the private one (metrics, pprof)
//	responder  serves functions on NATS: fn.<name> and $SRV
//	shim       the small program that turns a short form into an HTTP server
//	reaper     the process that kills what a killed node leaves behind
//
// # Invariants
//
// A value of a parsed type (Name, Subject, Pattern, Template) is proof that its text
// was valid: FuzzParseName, FuzzParseSubject, FuzzParsePattern and
// FuzzParseTemplate guard that. Every name on the wire is a
// constant in wire.go and listed in docs/protocol.md: TestProtocolListsTheWire.
package mayfly
