package gateway

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/dispatch"
)

// An exchange is one HTTP request on its way through the gateway, with what the log
// and the statistics need afterwards.
type exchange struct {
	http.ResponseWriter

	id          string
	trace       string // a traceparent with the id
	started     time.Time
	bus         time.Duration   // between call and reply, on the bus or here; 0 if there was no call
	destination destination     // once guarded
	target      dispatch.Target // of its call
	cors        *mayfly.CORS    // whose headers the answer has; nil leaves them to the reply
	prefix      string          // of the path that the function does not see: /fn/hello
	head        bool            // HEAD: the answer has no body
	body        *body           // of the request, in room; nil if it has none
	upload      *upload         // reads body during the call; nil if nothing does

	status int // 0 until the answer began
	bytes  int // of the answer's body
	err    error
	cut    bool // the connection, in the middle of the answer

	room   body
	values [6]string // backs what one returned
	given  int       // of values
}

// one returns the values of a header that has one.
func (x *exchange) one(value string) []string {
	n := x.given
	if n == len(x.values) {
		return []string{value}
	}
	x.given++
	x.values[n] = value
	return x.values[n : n+1 : n+1]
}

// kind says which part of the gateway answered.
type kind int

const (
	kindNone     kind = iota // nothing: not found, rejected
	kindBuiltin              // the gateway itself
	kindService              // /svc
	kindFunction             // /fn
	kindRoute                // a pattern
	kinds
)

var kindNames = [kinds]string{"none", "builtin", "svc", "fn", "route"}

func newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{ResponseWriter: w, trace: newTrace(), started: time.Now(), head: r.Method == http.MethodHead}
	x.id = x.trace[len("00-"):][:32]
	if hasBody(r) {
		x.room.begin(w, r)
		x.body = &x.room
	}
	return x
}

// newTrace returns a traceparent (W3C Trace Context) with a new trace id of 32 hexadecimal
// digits, which is the id of the call too. Nothing is sampled yet, so the flags are 00. The
// parent is the end of the id.
func newTrace() string {
	var raw [16]byte
	binary.NativeEndian.PutUint64(raw[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(raw[8:], rand.Uint64()|1) // all zeros is not a trace id
	text := make([]byte, 0, 55)
	text = hex.AppendEncode(append(text, "00-"...), raw[:])
	text = hex.AppendEncode(append(text, '-'), raw[8:])
	return string(append(text, "-00"...))
}

// Unwrap lets http.ResponseController find the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// WriteHeader notes the status, once it is written.
func (x *exchange) WriteHeader(status int) {
	x.ResponseWriter.WriteHeader(status)
	x.status = status
}

// Write notes the size. The answer to HEAD gets no body.
func (x *exchange) Write(b []byte) (int, error) {
	if x.head {
		return len(b), nil
	}
	n, err := x.ResponseWriter.Write(b)
	x.bytes += n
	return n, err
}

// writeBy moves the deadline for the client to take the answer.
func (x *exchange) writeBy(end time.Time) {
	_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(end) // not every connection has deadlines
}

// route names what took the exchange, for the log. Only routes and mounts have names
// of their own, so there are few.
func (x *exchange) route() string {
	switch to := &x.destination; {
	case to.entry != nil:
		return to.entry.Pattern.String()
	case to.mount != nil:
		return "/" + to.mount.Segment
	default:
		return kindNames[to.kind]
	}
}
