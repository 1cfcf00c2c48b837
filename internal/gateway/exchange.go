package gateway

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"time"
)

// An exchange is one HTTP request on its way through the gateway, with what the
// log and the statistics want to know of it afterwards.
type exchange struct {
	http.ResponseWriter

	id      string
	started time.Time
	bus     time.Duration // between call and reply, on the bus or here; 0 if there was no call
	here    bool          // the call did not cross the bus
	kind    kind
	entry   *entry  // the route that took it, if one did
	target  string  // the subject it calls, wildcards as they stand
	head    bool    // HEAD: the answer has no body
	body    *body   // of the request; nil if it has none
	upload  *upload // reads body while the call is made; nil if nobody does

	status int // 0 until an answer was begun
	bytes  int // of the answer's body
	err    error
	cut    bool // in the middle of its answer
}

// kind says which part of the gateway answered.
type kind int

const (
	kindNone     kind = iota // nobody: not found, refused
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

// newID returns 32 hexadecimal digits: the form of a W3C trace id, so that a call
// that came without a trace can lend it its own.
func newID() string {
	var raw [16]byte
	binary.NativeEndian.PutUint64(raw[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(raw[8:], rand.Uint64()|1) // an id of zeros alone is no trace id
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

// Write notes the size. It keeps the body from a client that asked for the head
// alone.
func (x *exchange) Write(b []byte) (int, error) {
	if x.head {
		return len(b), nil
	}
	n, err := x.ResponseWriter.Write(b)
	x.bytes += n
	return n, err
}

// writeBy moves the end of the time in which the client has to take the answer.
func (x *exchange) writeBy(end time.Time) {
	_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(end) // not every connection has deadlines
}

// route names what took the exchange, for the log: bounded in number, because
// only known services and routes have a name.
func (x *exchange) route() string {
	if x.entry != nil {
		return x.entry.Pattern.String()
	}
	return kindNames[x.kind]
}
