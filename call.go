package mayfly

import (
	"cmp"
	"io"
	"net/http"
	"strconv"
	"time"
)

// A Call is one request to a service or function.
type Call struct {
	ID      string  // identifies the call in logs and responses
	Subject Subject // its destination

	// The HTTP request; empty if the call did not arrive by HTTP.
	Method string
	Path   string // escaped; empty is the root, asked for without its slash
	Query  string // raw
	Host   string
	Remote string // host:port

	// Header holds the headers that are forwarded. A function that receives a Call
	// owns it and may add to it.
	Header http.Header

	// Body is the whole body, unless Stream is set: then Body is empty and the body
	// is read from Stream, Length bytes of it. Only carriers within this process
	// take a Stream.
	Body   []byte
	Stream io.Reader
	Length int64 // of Stream; -1 if unknown

	Deadline time.Time // after which the reply is discarded

	// Signs reports that whoever takes the call sends signs of life while it works, so
	// that silence means that the call is lost.
	Signs bool

	// Once reports that the caller has another subject for the call: where nothing listens,
	// it fails at once.
	Once bool
}

// A Reply is the result of a call.
type Reply struct {
	Status int         // HTTP status; 200 unless the reply says otherwise
	Error  string      // the service's error message (Nats-Service-Error); empty for success
	Header http.Header // never holds Mayfly-* or Nats-* names

	// Body is the whole body, unless Stream is set: then Body is empty and the body
	// is read from Stream until io.EOF. The receiver must close the Stream; the
	// call lasts until then.
	Body   []byte
	Stream io.ReadCloser
	Length int64 // of Stream; -1 if unknown
}

// Err returns nil for a successful reply, or the service's error message with the
// code for its status.
func (r Reply) Err() error {
	if r.Error == "" && r.Status < 400 {
		return nil
	}
	text := cmp.Or(r.Error, http.StatusText(r.Status), "status "+strconv.Itoa(r.Status))
	return &Error{Code: CodeOfStatus(r.Status), Message: text}
}
