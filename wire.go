package mayfly

// Every name that Mayfly puts on the wire. docs/protocol.md explains each;
// TestProtocolListsTheWire checks that none is missing there.

// Subjects.
const (
	SubjectFunctions = "fn"            // fn.<name> calls a function
	SubjectJobs      = "job"           // job.<function>.<lane>.<id> is a job
	SubjectInternal  = "mayfly"        // mayfly.> is ours alone
	SubjectMicro     = "$SRV"          // $SRV.PING|INFO|STATS asks micro services (ADR-32)
	SubjectRoutes    = "mayfly.routes" // asks every node for its gateway's routes
)

// The one endpoint by which a function is a micro service.
const (
	FunctionEndpoint = "call"
	FunctionQueue    = "q"
)

// FunctionSubject returns the subject that calls the named function.
func FunctionSubject(n Name) string { return SubjectFunctions + "." + string(n) }

// Headers of a call's request. They are set by Mayfly alone: what a client
// sends under these names is dropped.
const (
	HeaderMethod      = "Mayfly-Method"   // HTTP method
	HeaderPath        = "Mayfly-Path"     // escaped path; after the prefix, where there is one
	HeaderQuery       = "Mayfly-Query"    // raw query, without the ?
	HeaderHost        = "Mayfly-Host"     // Host of the request
	HeaderRemote      = "Mayfly-Remote"   // address of the client, host:port
	HeaderCall        = "Mayfly-Call"     // id of the call
	HeaderDeadline    = "Mayfly-Deadline" // Unix time in milliseconds after which nobody waits
	HeaderParamPrefix = "Mayfly-Param-"   // Mayfly-Param-Id holds {id} of the route's pattern
	HeaderTrace       = "Traceparent"     // W3C Trace Context
)

// Headers of a call's reply.
const (
	HeaderStatus    = "Mayfly-Status"           // HTTP status, 200 if absent
	HeaderError     = "Nats-Service-Error"      // text of a service's error (ADR-32)
	HeaderErrorCode = "Nats-Service-Error-Code" // its number; 400 to 599 becomes the HTTP status
)

// Headers of the gateway's answer to an HTTP client.
const (
	HeaderCallID = "X-Call-Id"     // id of the call, on every answer
	HeaderTiming = "Server-Timing" // bus;dur=<milliseconds between request and reply on the bus>
)

// Keys of an endpoint's metadata that give a micro service its HTTP face.
const (
	MetaHTTP     = "mayfly.http"     // patterns such as "GET /top/{n}", one a line
	MetaPayload  = "mayfly.payload"  // Template of the request's payload, or "json"
	MetaTimeout  = "mayfly.timeout"  // how long to wait for a reply, such as 10s
	MetaRequest  = "mayfly.request"  // JSON Schema of the request's body
	MetaResponse = "mayfly.response" // JSON Schema of the reply's body
	MetaSummary  = "mayfly.summary"  // one line for people
)

// NATS accounts of an embedded server.
const (
	AccountMayfly = "MAYFLY" // everybody's
	AccountSystem = "SYS"    // the server's own events
)
