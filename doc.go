// Package mayfly holds the nouns of Mayfly, a home for microservices and
// functions on NATS: names, functions, calls, replies, services, routes and the one
// error type. It imports the standard library only and starts nothing; the programs
// that make the nouns move live under internal.
//
//	curl ──HTTP──► gateway ──Call──► bus ──NATS──► service
//	     ◄────────     │   ◄─Reply──     ◄───────
//	                   └─────Call──► runner ──► instance of a function
//
// # Glossary
//
// One word per thing, in code, documents, flags and subjects alike:
//
//	function   code that answers calls, known by a name
//	revision   one immutable deployed version of a function: hello@7
//	service    a program that itself speaks NATS micro (ADR-32); Mayfly routes to it
//	endpoint   one subject of a service, with a name and metadata
//	instance   one live copy of a revision, or of a service that Mayfly runs
//	engine     how an instance is made and called: http, exec, service
//	runner     the part of a node that keeps functions alive
//	bundle     the built output of a revision, named by its sha256
//	call       one request to a function or service, and its reply
//	job        a call that is stored and tried until it is done or dead
//	route      what turns an HTTP request into a call: a pattern and a target
//	project    what one mayfly.yaml (or one file) describes
//	session    what mayfly up does with projects while they are worked on
//	registry   what is deployed: entries in a bucket, bundles in an object store
//	node       one mayfly process
//	bus        the NATS connection, and the server if we run it
//	directory  the live picture of all services on the bus
//	gateway    the public HTTP door; console is the private one (metrics, pprof)
//	responder  the door of functions on NATS: fn.<name> and $SRV
//	shim       the small program that makes a short form an HTTP server
//	reaper     the process that ends what a killed node leaves
//
// # Invariants
//
// A value of a parsed type (Name, Ref, Subject, Pattern, Template) is proof that
// its text was valid: FuzzParseName, FuzzParseRef, FuzzParseSubject,
// FuzzParsePattern and FuzzParseTemplate guard that. Every name on the wire is a
// constant in wire.go and stands in docs/protocol.md: TestProtocolListsTheWire.
package mayfly
