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
	started     time.Time
	bus         time.Duration   // between call and reply, on the bus or here; 0 if there was no call
	destination destination     // once guarded
	target      dispatch.Target // of its call
	cors        *mayfly.CORS    // whose headers the answer has; nil leaves them to the reply
	prefix      string          // of the path that the function does not see: /fn/hello
	head        bool            // HEAD: the answer has no body
	body        *body           // of the request; nil if it has none
	upload      *upload         // reads body during the call; nil if nothing does

	status int // 0 until the answer began
	bytes  int // of the answer's body
	err    error
	cut    bool // the connection, in the middle of the answer
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
	return &exchange{ResponseWriter: w, id: newID(), started: time.Now(), head: r.Method == http.MethodHead, body: newBody(w, r)}
}

// newID returns 32 hexadecimal digits: the form of a W3C trace id, so that a new
// trace can have the id of its call.
func newID() string {
	var raw [16]byte
	binary.NativeEndian.PutUint64(raw[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(raw[8:], rand.Uint64()|1) // all zeros is not a trace id
	var text [32]byte
	hex.Encode(text[:], raw[:])
	return string(text[:])
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
