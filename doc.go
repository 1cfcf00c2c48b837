// Package mayfly holds the nouns of Mayfly, a home for microservices and
// functions on NATS: names, calls, replies, services, routes and the one error
// type. It imports the standard library only and starts nothing; the programs
// that make the nouns move live under internal.
//
//	curl ──HTTP──► gateway ──Call──► bus ──NATS──► service
//	     ◄────────         ◄─Reply──     ◄───────
//
// # Glossary
//
// One word per thing, in code, documents, flags and subjects alike:
//
//	function   code that answers calls, known by a name
//	revision   one immutable deployed version of a function: hello@7
//	service    a program that itself speaks NATS micro (ADR-32); Mayfly routes to it
//	endpoint   one subject of a service, with a name and metadata
//	call       one request to a function or service, and its reply
//	job        a call that is stored and tried until it is done or dead
//	route      what turns an HTTP request into a call: a pattern and a target
//	project    what one mayfly.yaml (or one file) describes
//	node       one mayfly process
//	bus        the NATS connection, and the server if we run it
//	directory  the live picture of all services on the bus
//	gateway    the public HTTP door; console is the private one (metrics, pprof)
//
// # Invariants
//
// A value of a parsed type (Name, Ref, Subject, Pattern, Template) is proof that
// its text was valid: FuzzParseName, FuzzParseRef, FuzzParseSubject,
// FuzzParsePattern and FuzzParseTemplate guard that. Every name on the wire is a
// constant in wire.go and stands in docs/protocol.md: TestProtocolListsTheWire.
package mayfly
