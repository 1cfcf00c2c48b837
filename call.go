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
	ID      string  // tells this call from all others, in logs and answers
	Subject Subject // where it goes

	// The HTTP face of the request. All are empty for a call that did not come
	// by HTTP.
	Method string
	Path   string // escaped
	Query  string // raw
	Host   string
	Remote string // host:port

	// Header holds the headers that travel with the call. The callee of a
	// function that takes a Call owns it and may add to it.
	Header http.Header

	// Body is the whole body, unless Stream is set: then the body is what Stream
	// gives, Length bytes of it, and Body is empty. Only carriers within this
	// process take a Stream.
	Body   []byte
	Stream io.Reader
	Length int64 // of Stream; -1 if unknown

	Deadline time.Time // after it nobody waits for the reply
}

// A Reply is what came back.
type Reply struct {
	Status int         // HTTP status; 200 unless the reply says otherwise
	Error  string      // the service's own words (Nats-Service-Error); empty for success
	Header http.Header // never holds Mayfly-* or Nats-* names

	// Body is the whole body, unless Stream is set: then the body is what Stream
	// gives until io.EOF, and Body is empty. Whoever gets a reply with a Stream
	// must close it; the call is over then, and not before.
	Body   []byte
	Stream io.ReadCloser
	Length int64 // of Stream; -1 if unknown
}

// Err returns nil for a reply that succeeded, or what the service said went wrong,
// with the code that fits its status.
func (r Reply) Err() error {
	if r.Error == "" && r.Status < 400 {
		return nil
	}
	text := cmp.Or(r.Error, http.StatusText(r.Status), "status "+strconv.Itoa(r.Status))
	return &Error{Code: CodeOfStatus(r.Status), Message: text}
}
