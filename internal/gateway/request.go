package gateway

import (
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly"
)

// checkTarget refuses targets that no route or service can mean: CONNECT, which
// asks for a proxy, dot segments, which some proxies fold and some do not, control
// characters and what is not UTF-8.
func checkTarget(r *http.Request) error {
	if r.Method == http.MethodConnect {
		return &statusError{
			status: http.StatusMethodNotAllowed, header: http.Header{"Allow": {""}}, // there is no other method for a proxy's target
			err: mayfly.Errorf(mayfly.Invalid, "this is no proxy"),
		}
	}
	path := r.URL.Path
	if s := r.URL.Scheme; s != "" && (s != "http" && s != "https" || r.URL.Host == "") || path == "" || path[0] != '/' {
		return mayfly.Errorf(mayfly.Invalid, "the request's target is no path")
	}
	for i := range len(path) {
		switch c := path[i]; {
		case c < ' ' || c == 0x7f:
			return mayfly.Errorf(mayfly.Invalid, "the path has a control character")
		case c >= utf8.RuneSelf:
			if !utf8.ValidString(path) {
				return mayfly.Errorf(mayfly.Invalid, "the path is not UTF-8")
			}
		}
	}
	if strings.Contains(path, "/.") {
		for segment := range strings.SplitSeq(path, "/") {
			if segment == "." || segment == ".." {
				return mayfly.Errorf(mayfly.Invalid, "the path has the segment %q", segment)
			}
		}
	}
	return nil
}

// checkUpgrade refuses a WebSocket, which nobody could speak: a call is one request
// and one reply. Any other upgrade is an offer, which a server may pass over.
func checkUpgrade(r *http.Request) error {
	for _, list := range r.Header["Upgrade"] {
		for protocol := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(protocol), "websocket") {
				return withStatus(http.StatusNotImplemented, mayfly.Errorf(mayfly.Invalid, "this gateway has no WebSockets").
					WithHint("a function can stream to its client, such as server-sent events; WebSockets of NATS go to the NATS server"))
			}
		}
	}
	return nil
}

// firewall returns the headers of r that may travel with its call. The map has
// room for the eight that the gateway and the bus add. The values are shared with
// r and must not be changed.
func (g *Gateway) firewall(r *http.Request) http.Header {
	h := make(http.Header, len(r.Header)+8)
	proxied := r.TLS != nil
	for name, values := range r.Header {
		if mayfly.IsForwarded(name) {
			proxied = true
			if !g.options.Trust {
				continue
			}
		}
		if !mayfly.IsHopByHop(name) && !mayfly.IsReserved(name) {
			h[name] = values
		}
	}
	for _, list := range r.Header["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			delete(h, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)))
		}
	}
	if proxied {
		forward(h, r)
	}
	return h
}

// forward says who asked, where and how, as proxies do; each where a trusted
// proxy before us has not said it. It does so where a client or proxy said
// anything of the kind, true or not, and for HTTPS. Else Mayfly-Remote and
// Mayfly-Host say all there is, and each header less is half a microsecond of the
// service's time.
func forward(h http.Header, r *http.Request) {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	values := [...]string{client, r.Host, scheme}
	if before := h["X-Forwarded-For"]; len(before) > 0 {
		values[0] = strings.Join(before, ", ") + ", " + client
	}
	h["X-Forwarded-For"] = values[0:1:1]
	if len(h["X-Forwarded-Host"]) == 0 {
		h["X-Forwarded-Host"] = values[1:2:2]
	}
	if len(h["X-Forwarded-Proto"]) == 0 {
		h["X-Forwarded-Proto"] = values[2:3:3]
	}
}

// traceparent keeps the client's trace, or begins one whose id is the call's.
func traceparent(h http.Header, id string) {
	if given := h[mayfly.HeaderTrace]; len(given) == 1 && validTrace(given[0]) {
		return
	}
	delete(h, "Tracestate") // belongs to the trace that is not valid
	// Nobody samples yet, so the flags say 00. The parent is the end of the id.
	h[mayfly.HeaderTrace] = []string{"00-" + id + "-" + id[16:] + "-00"}
}

// validTrace reports whether s is a version 00 traceparent (W3C Trace Context).
func validTrace(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	hexes := func(s string) (zeros, ok bool) {
		zeros = true
		for i := range len(s) {
			if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false, false
			} else if c != '0' {
				zeros = false
			}
		}
		return zeros, true
	}
	trace, ok1 := hexes(s[3:35])
	parent, ok2 := hexes(s[36:52])
	_, ok3 := hexes(s[53:])
	return ok1 && ok2 && ok3 && !trace && !parent
}

// wantsAsync reports whether the client prefers not to wait (RFC 7240).
func wantsAsync(r *http.Request) bool {
	for _, list := range r.Header["Prefer"] {
		for p := range strings.SplitSeq(list, ",") {
			p, _, _ = strings.Cut(p, ";")
			if strings.EqualFold(strings.TrimSpace(p), "respond-async") {
				return true
			}
		}
	}
	return false
}

// newCall makes the call that r asks for. path is what the callee sees of the
// path, still escaped; body is the payload.
func (g *Gateway) newCall(x *exchange, r *http.Request, subject mayfly.Subject, path string, body []byte, timeout time.Duration) mayfly.Call {
	h := g.firewall(r)
	traceparent(h, x.id)
	return mayfly.Call{
		ID: x.id, Subject: subject,
		Method: r.Method, Path: path, Query: r.URL.RawQuery, Host: r.Host, Remote: r.RemoteAddr,
		Header: h, Body: body, Deadline: time.Now().Add(timeout),
	}
}

// call makes the call and answers with its reply.
func (g *Gateway) call(x *exchange, r *http.Request, c mayfly.Call) error {
	if wantsAsync(r) {
		return g.send(x, r, c)
	}
	asked := time.Now()
	if c.Deadline.Sub(asked) > g.options.WriteTimeout {
		// HTTP/2 cuts a stream when its time to write is over, even if nothing is
		// written yet.
		x.writeBy(c.Deadline.Add(g.options.WriteTimeout))
	}
	reply, err := g.admission.call(r.Context(), g.caller, x.target, c)
	x.bus = time.Since(asked)
	if err != nil {
		return err
	}
	return g.writeReply(x, r, reply)
}

// send publishes the call and answers 202: sent, not stored.
func (g *Gateway) send(x *exchange, r *http.Request, c mayfly.Call) error {
	asked := time.Now()
	err := g.caller.Send(r.Context(), c)
	x.bus = time.Since(asked)
	if err != nil {
		return err
	}
	h := x.Header()
	h.Set("Preference-Applied", "respond-async")
	h.Set("Content-Length", "0")
	h["X-Content-Type-Options"] = nosniff
	g.begin(x, http.StatusAccepted)
	return nil
}
