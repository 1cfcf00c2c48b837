package gateway

import (
	"cmp"
	"io"
	"net/http"
)

// A Mount gives the paths under one first segment to another package. Its requests
// pass the same guards as all others, have a call id, and are counted and logged.
type Mount struct {
	Segment string // "system" takes /system and all below; no route can
	MaxBody int64  // bytes of a request; gateway.maxbody if zero

	// Serve answers a request. An error is answered as a problem, unless the answer has
	// begun. A long answer moves its own deadline, by http.ResponseController.
	Serve func(w http.ResponseWriter, r *http.Request) error
}

func (g *Gateway) serveMount(x *exchange, r *http.Request) error {
	m := x.destination.mount
	x.target.MaxBody, x.target.Limit = cmp.Or(m.MaxBody, g.dispatch.MaxBody()), "the limit of /"+m.Segment
	if b := x.body; b != nil {
		up, err := g.newUpload(x)
		if err != nil {
			return err
		}
		r = r.WithContext(r.Context()) // a shallow copy: the request is the server's
		r.Body = io.NopCloser(up)
	}
	w := &mounted{x, g}
	if err := m.Serve(w, r); err != nil {
		if cause := x.upload.failure(); cause != nil {
			return cause // the client's fault
		}
		return err
	}
	w.begin()
	return nil
}

// A mounted is the answer of a mount.
type mounted struct {
	*exchange
	gateway *Gateway
}

func (m *mounted) begin() { m.WriteHeader(http.StatusOK) }

// WriteHeader begins the answer, once.
func (m *mounted) WriteHeader(status int) {
	if m.status == 0 {
		m.gateway.begin(m.exchange, status)
	}
}

// Write implements io.Writer.
func (m *mounted) Write(b []byte) (int, error) {
	m.begin()
	return m.exchange.Write(b)
}

// FlushError implements what http.ResponseController looks for.
func (m *mounted) FlushError() error {
	m.begin()
	return http.NewResponseController(m.ResponseWriter).Flush()
}
