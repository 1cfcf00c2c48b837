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
	bus     time.Duration // between request and reply on the bus; 0 if it was not asked
	kind    kind
	entry   *entry // the route that took it, if one did

	status int // 0 until an answer was begun
	bytes  int // of the answer's body
	err    error
}

// kind says which part of the gateway answered.
type kind int

const (
	kindNone    kind = iota // nobody: not found, refused
	kindBuiltin             // the gateway itself
	kindService             // /svc
	kindRoute               // a pattern
	kinds
)

var kindNames = [kinds]string{"none", "builtin", "svc", "route"}

func newExchange(w http.ResponseWriter) *exchange {
	return &exchange{ResponseWriter: w, id: newID(), started: time.Now()}
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

// WriteHeader notes the status.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write notes the size.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	n, err := x.ResponseWriter.Write(b)
	x.bytes += n
	return n, err
}

// route names what took the exchange, for the log: bounded in number, because
// only known services and routes have a name.
func (x *exchange) route() string {
	if x.entry != nil {
		return x.entry.Pattern.String()
	}
	return kindNames[x.kind]
}

// statusClientLeft is what the log and the statistics call an exchange whose
// client left before its answer; it never reaches anybody.
const statusClientLeft = 499

// refuse writes err as the answer.
func (x *exchange) refuse(r *http.Request, err error, development bool) {
	x.err = err
	if r.Context().Err() != nil {
		x.status = statusClientLeft
		return
	}
	if x.status != 0 {
		return // too late to say anything
	}
	writeProblem(x, problemOf(err, x.id, development))
}
