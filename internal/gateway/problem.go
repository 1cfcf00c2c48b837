package gateway

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/mayfly-run/mayfly"
)

// A problem is the body of every error that the gateway reports (RFC 9457), as
// application/problem+json.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
	Call   string `json:"call,omitempty"`
	Trace  string `json:"trace,omitempty"` // of the function's language; in development only

	header http.Header // headers of the answer that belong to the problem
}

// A statusError has a status that only HTTP knows.
type statusError struct {
	status int
	header http.Header
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// withStatus gives err a status that no code stands for.
func withStatus(status int, err error) error { return &statusError{status: status, err: err} }

// retrySoon is the Retry-After of 429 and 503, in seconds.
const retrySoon = "1"

// problemOf translates an error into an answer: the one place of the gateway that
// does. The text of an internal error stays in the log, except in development.
func problemOf(err error, call string, development bool) problem {
	code := mayfly.CodeOf(err)
	p := problem{Status: code.Status(), Code: code.String(), Detail: err.Error(), Hint: mayfly.HintOf(err), Call: call}
	if code == mayfly.Internal && !development {
		p.Detail = "internal error; the node's log has details under this call id"
	}
	if trace, ok := errors.AsType[mayfly.Trace](err); ok && development {
		p.Trace = string(trace)
	}
	if errors.Is(err, mayfly.ErrTooLarge) {
		p.Status = http.StatusRequestEntityTooLarge
	}
	if e, ok := errors.AsType[*statusError](err); ok {
		p.Status, p.header = e.status, e.header
	}
	p.Title = cmp.Or(http.StatusText(p.Status), "Client Closed Request") // the only status without a text
	return p
}

// statusClientLeft is the status in log and statistics of an exchange whose client
// left before the answer.
const statusClientLeft = 499

// refuse answers with err, unless the answer has begun.
func (g *Gateway) refuse(x *exchange, r *http.Request, err error) {
	x.err = err
	if x.status != 0 {
		return
	}
	// A client that closed only its sending half counts as gone too, but still reads:
	// without the problem it would get an empty 200.
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		err = errClosed
	}
	g.writeProblem(x, problemOf(err, x.id, g.options.Development))
	if r.Context().Err() != nil {
		x.status = statusClientLeft
	}
}

var errClosed = withStatus(statusClientLeft, mayfly.Errorf(mayfly.Timeout, "the client closed its side of the connection, which cancels the call").
	WithHint("keep it open until the answer has come"))

func (g *Gateway) writeProblem(x *exchange, p problem) {
	h := x.Header()
	for k, vs := range p.header {
		h[k] = vs
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		h.Set("Retry-After", retrySoon)
	}
	body, _ := encode(p, "") // strings and numbers always marshal
	h.Set("Content-Length", strconv.Itoa(len(body)))
	g.begin(x, p.Status)
	_, _ = x.Write(body) // the client may be gone
}

// encode returns v as JSON with a line feed. It leaves < and > as they are, because people
// read it.
func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(v)
	return b.Bytes(), err
}
