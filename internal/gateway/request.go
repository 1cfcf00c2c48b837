package gateway

import (
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// firewall returns the headers of r that may travel with its call: usually the same map,
// without the others. The values are shared and must not be changed.
func (g *Gateway) firewall(r *http.Request) http.Header {
	h, named := r.Header, coupled(r.Header)
	if len(named) > 0 {
		h = maps.Clone(h) // the gateway itself still goes by them
	}
	proxied := r.TLS != nil
	for name := range h {
		forwarded := mayfly.IsForwarded(name)
		proxied = proxied || forwarded
		if forwarded && !g.options.Trust || mayfly.IsHopByHop(name) || mayfly.IsReserved(name) {
			delete(h, name)
		}
	}
	for _, name := range named {
		delete(h, name)
	}
	if proxied {
		forward(h, r)
	}
	return h
}

// coupled returns those of the headers that Connection names.
func coupled(h http.Header) (named []string) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
			if _, ok := h[name]; ok {
				named = append(named, name)
			}
		}
	}
	return named
}

// forward adds X-Forwarded-* as proxies do, keeping what a trusted proxy in front
// has set. It is called where the client or a proxy sent any such header, true or
// not, and for HTTPS. Otherwise Mayfly-Remote and Mayfly-Host suffice, and each
// header saved is half a microsecond of the service's time.
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

// traceparent keeps the client's trace, or starts one with the id of the call.
func (x *exchange) traceparent(h http.Header) {
	if given := h[mayfly.HeaderTrace]; len(given) == 1 && validTrace(given[0]) {
		return
	}
	delete(h, "Tracestate") // belongs to the invalid trace
	h[mayfly.HeaderTrace] = x.one(x.trace)
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

// newCall makes the call that r asks for, still without a body. path is what the
// callee sees of the path, escaped.
func (g *Gateway) newCall(x *exchange, r *http.Request, path string) mayfly.Call {
	h := g.firewall(r)
	x.traceparent(h)
	return mayfly.Call{
		ID: x.id, Method: r.Method, Path: path, Query: r.URL.RawQuery, Host: r.Host, Remote: r.RemoteAddr, Header: h,
	}
}
