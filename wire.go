package mayfly

// Every name that Mayfly puts on the wire. docs/protocol.md explains each;
// TestProtocolListsTheWire checks that none is missing there.

// Subjects.
const (
	SubjectFunctions = "fn"            // fn.<name> calls a function
	SubjectJobs      = "job"           // job.<function>.<lane>.<id> is a stored job
	SubjectInternal  = "mayfly"        // mayfly.> is reserved for Mayfly
	SubjectMicro     = "$SRV"          // $SRV.PING|INFO|STATS asks micro services (ADR-32)
	SubjectRoutes    = "mayfly.routes" // asks every node for its gateway's routes
	SubjectNodes     = "mayfly.nodes"  // asks every node for its identity
	SubjectSync      = "mayfly.sync"   // asks the node that runs the server to flush what is stored
	SubjectNode      = "mayfly.node"   // mayfly.node.<node>.prepare asks one node to start a revision
	SubjectCore      = "mayfly.core"   // in users' account: answered if Mayfly's state has its own account
)

// The endpoint that makes a function a micro service.
const (
	FunctionEndpoint = "call"
	FunctionQueue    = "q"
)

// FunctionSubject returns the subject that calls the named function.
func FunctionSubject(n Name) string { return SubjectFunctions + "." + string(n) }

// FunctionSubjectAt returns the subject that calls the named function on one node.
func FunctionSubjectAt(n Name, node string) string { return FunctionSubject(n) + "." + node }

// Headers of a call's request. Only Mayfly sets them; a client's are dropped.
const (
	HeaderMethod      = "Mayfly-Method"   // HTTP method
	HeaderPath        = "Mayfly-Path"     // escaped path; after the prefix, if there is one
	HeaderQuery       = "Mayfly-Query"    // raw query, without the ?
	HeaderHost        = "Mayfly-Host"     // Host of the request
	HeaderRemote      = "Mayfly-Remote"   // address of the client, host:port
	HeaderCall        = "Mayfly-Call"     // id of the call
	HeaderDeadline    = "Mayfly-Deadline" // Unix time in milliseconds after which the reply is discarded, by the caller's clock
	HeaderTimeout     = "Mayfly-Timeout"  // milliseconds left until then, which need no common clock
	HeaderSigns       = "Mayfly-Signs"    // asks a function's node for signs of life, see HeaderWorking
	HeaderParamPrefix = "Mayfly-Param-"   // Mayfly-Param-Id holds {id} of the route's pattern
	HeaderTrace       = "Traceparent"     // W3C Trace Context
)

// Headers of a call's reply.
const (
	HeaderStatus    = "Mayfly-Status"           // HTTP status, 200 if absent
	HeaderError     = "Nats-Service-Error"      // text of a service's error (ADR-32)
	HeaderErrorCode = "Nats-Service-Error-Code" // its code; 400 to 599 becomes the HTTP status
	HeaderFault     = "Mayfly-Error"            // Code.String of an error from Mayfly itself, not the function
	HeaderHint      = "Mayfly-Hint"             // how to fix it, with Mayfly-Error
)

// HeaderWorking marks a sign of life: a message without a body that precedes the reply of
// a call with HeaderSigns. Its value is the name of the node that works on the call.
const HeaderWorking = "Mayfly-Working"

// Headers of the gateway's response to an HTTP client.
const (
	HeaderCallID = "X-Call-Id"     // id of the call, on every response
	HeaderTiming = "Server-Timing" // bus;dur=<milliseconds between request and reply on the bus>
)

// Keys of an endpoint's metadata that expose it over HTTP.
const (
	MetaHTTP     = "mayfly.http"     // patterns such as "GET /top/{n}", one per line
	MetaPayload  = "mayfly.payload"  // Template of the request's payload, or "json"
	MetaTimeout  = "mayfly.timeout"  // how long to wait for a reply, such as 10s
	MetaRequest  = "mayfly.request"  // JSON Schema of the request's body
	MetaResponse = "mayfly.response" // JSON Schema of the reply's body
	MetaSummary  = "mayfly.summary"  // one-line description
	MetaCORS     = "mayfly.cors"     // CORS as JSON: {"origins":["https://shop.example"]}
)

// MetaNode is a key of a function's own metadata: the id of the node that runs it, which
// sends signs of life and takes calls at FunctionSubjectAt.
const MetaNode = "mayfly.node"

// NATS accounts of an embedded server.
const (
	AccountCore   = "CORE"   // Mayfly's state, and mayfly.>
	AccountMayfly = "MAYFLY" // shared: users, functions and services
	AccountSystem = "SYS"    // the server's own events

	UserCore = "core" // logs in to CORE with the key in core.key
)

// Environment of an instance, besides PATH, HOME, TMPDIR, LANG, TZ, PORT, NATS_URL
// and NATS_URI. exec instances also get the CGI variables of RFC 3875 and the call's.
const (
	EnvFunction = "MAYFLY_FUNCTION" // name
	EnvRevision = "MAYFLY_REVISION" // number, 0 in development
	EnvInstance = "MAYFLY_INSTANCE" // id
	EnvURL      = "MAYFLY_URL"      // of the gateway on this machine
	EnvLink     = "MAYFLY_LINK"     // path of the unix socket to connect to for frames
	EnvSocket   = "MAYFLY_SOCKET"   // path of the unix socket to answer HTTP on
	EnvCall     = "MAYFLY_CALL"     // exec: id of the call
	EnvDeadline = "MAYFLY_DEADLINE" // exec: Unix time in milliseconds
	EnvParam    = "MAYFLY_PARAM_"   // exec: MAYFLY_PARAM_ID holds {id} of the route's pattern
)

// HeaderCrash marks a 502 with which a shim reports that the user's code failed. Its
// value is the error on one line; the body is the stack trace.
const HeaderCrash = "Mayfly-Crash"

// State in JetStream.
const (
	BucketRegistry = "mayfly_registry" // KV: function/<name>, service/<name>, route/<name>
	BucketCode     = "mayfly_code"     // Object Store: bundles by sha256
	BucketSecrets  = "mayfly_secrets"  // KV: age-encrypted values
	BucketMeta     = "mayfly_meta"     // KV: format version
	StreamLogs     = "MAYFLY_LOGS"     // lines of instances
	SubjectLogs    = "mayfly.log"      // mayfly.log.<function>.<instance>
)
