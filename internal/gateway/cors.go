package gateway

import (
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// Web pages of other origins. Where a route or function has `cors:`, the gateway answers
// preflights and writes the headers, and no reply can add to them. A function without it
// decides for itself: the gateway passes its headers on and lets in what it permits.

const (
	allowedOrigin = "Access-Control-Allow-Origin"
	requestMethod = "Access-Control-Request-Method"
)

// isPreflight reports whether a browser asks if a page of another origin may send a
// request.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get(requestMethod) != "" && r.Header.Get("Origin") != ""
}

// preflightOfFunction returns what answers the preflight of /fn/<name>: the gateway for
// the function's CORS, or else the function, or the error for one that cannot be found.
func (g *Gateway) preflightOfFunction(r *http.Request, to destination) destination {
	if name, _, _, err := functionOf(r); err == nil {
		t, err := g.dispatch.Function(r.Context(), name)
		if err != nil {
			to.err = g.guess(err, name) // a second try might wait again
		} else if t.CORS != nil {
			return destination{kind: kindBuiltin, cors: t.CORS, serve: (*Gateway).servePreflight}
		}
	}
	return to
}

// preflightOfRoute is the same for a route. It returns false for a service without CORS.
func (g *Gateway) preflightOfRoute(r *http.Request, t *table) (to destination, ok bool) {
	e, later := t.askedFor(r)
	if e == nil {
		return to, false
	}
	if to = (destination{kind: kindBuiltin, entry: e, cors: e.CORS, serve: (*Gateway).servePreflight}); to.cors != nil {
		return to, true
	}
	target, err := g.dispatch.Route(r.Context(), &e.Route)
	if err != nil {
		if to.kind, to.err = kindRoute, err; e.Function != "" {
			to.kind = kindFunction
		}
		return to, true
	}
	if target.Function == "" {
		return to, false
	}
	if to.cors = target.CORS; to.cors == nil {
		*r = *later // the function sees its path values
		to.kind, to.serve = kindFunction, (*Gateway).serveRoute
	}
	return to, true
}

// allowOrigin lets a web page of another origin read the answer if the route allows
// it (the CORS protocol of the Fetch standard), and reports whether it does.
func (g *Gateway) allowOrigin(x *exchange, r *http.Request, c *mayfly.CORS) bool {
	if x.cors = c; c == nil {
		return false
	}
	h := x.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !originAllowed(c, origin) {
		return false
	}
	if slices.Contains(c.Origins, "*") {
		origin = "*"
	}
	h.Set(allowedOrigin, origin)
	if c.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	expose := append([]string{mayfly.HeaderCallID, mayfly.HeaderTiming}, c.Expose...)
	h.Set("Access-Control-Expose-Headers", strings.Join(expose, ", "))
	return true
}

func originAllowed(c *mayfly.CORS, origin string) bool {
	return origin != "" && (slices.Contains(c.Origins, "*") || slices.Contains(c.Origins, origin))
}

// servePreflight answers a browser's preflight request for the route. An origin that
// is not allowed gets no CORS headers, which the browser takes for no.
func (g *Gateway) servePreflight(x *exchange, r *http.Request) error {
	c := x.destination.cors
	h := x.Header()
	if g.allowOrigin(x, r, c) {
		h.Del("Access-Control-Expose-Headers")
		h.Set("Access-Control-Allow-Methods", strings.Join(corsMethods(c, x.destination.entry), ", "))
		headers := c.Headers
		if len(headers) == 0 {
			headers = []string{"Content-Type"}
		}
		h.Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
		if c.MaxAge > 0 {
			h.Set("Access-Control-Max-Age", strconv.Itoa(int(time.Duration(c.MaxAge)/time.Second)))
		}
	}
	g.begin(x, http.StatusNoContent)
	return nil
}

// corsMethods are those that a web page of an allowed origin may use on a route, or on a
// function without one.
func corsMethods(c *mayfly.CORS, e *entry) []string {
	method := ""
	if e != nil {
		method = e.Pattern.Method
	}
	switch {
	case len(c.Methods) > 0:
		return c.Methods
	case method == "":
		return []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	case method == http.MethodGet:
		return []string{http.MethodGet, http.MethodHead}
	default:
		return []string{method}
	}
}

// checkPage rejects what a web page of another origin makes a browser send, unless c lets
// that origin in. function is the target, if it is one.
func (g *Gateway) checkPage(r *http.Request, to destination, c *mayfly.CORS, function mayfly.Name) error {
	if g.protection.Check(r) == nil || g.sameHost(r) {
		return nil
	}
	origin := r.Header.Get("Origin")
	if c != nil && originAllowed(c, origin) && slices.Contains(corsMethods(c, to.entry), r.Method) {
		return nil
	}
	refused := &statusError{status: mayfly.Denied.Status(), err: blocked(origin, to, function)}
	if origin != "" { // the page may read why
		refused.header = http.Header{allowedOrigin: {origin}, "Vary": {"Origin"}}
	}
	return refused
}

// blocked is the error for a page of an origin that may not use a destination: its hint says
// how to let it in.
func blocked(origin string, to destination, function mayfly.Name) *mayfly.Error {
	write := origin
	if write == "" || write == "null" {
		write = "ORIGIN"
	}
	e := mayfly.Errorf(mayfly.Denied, "cross-origin request blocked")
	switch entry := to.entry; {
	case entry != nil && entry.Function != "" && entry.Name == string(entry.Function), entry == nil && function != "":
		e = e.WithHint("write `cors: %s` in mayfly.yaml at functions.%s, or answer preflights (OPTIONS) in the function", write, function)
	case entry != nil && entry.Project != "":
		e = e.WithHint("write `cors: %s` in mayfly.yaml at routes.%s", write, entry.Name)
	case entry != nil || to.kind == kindService:
		e = e.WithHint("write a route with `cors: %s` in mayfly.yaml", write)
	}
	if origin == "null" && e.Hint != "" {
		e = e.WithHint("%s; the origin null (of files, sandboxed frames and Referrer-Policy: no-referrer) matches `*` alone", e.Hint)
	}
	return e
}

// warnPreflight tells the developer of a function that does not answer a preflight: the
// browser tells the page nothing, and the gateway gets no request that it could refuse.
func (g *Gateway) warnPreflight(x *exchange, r *http.Request) {
	function := x.target.Function
	if !g.options.Development || function == "" || x.cors != nil || !isPreflight(r) || x.Header().Get(allowedOrigin) != "" {
		return
	}
	origin := mayfly.Clip(r.Header.Get("Origin"))
	e := blocked(origin, x.destination, function)
	g.options.Log.Warn(e.Error(), telemetry.KeyFunction, function, telemetry.KeyAddr, origin, "hint", e.Hint)
}

// sameHost reports whether a trusted proxy was asked for the host of the page.
func (g *Gateway) sameHost(r *http.Request) bool {
	if !g.options.Trust {
		return false
	}
	u, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && u.Host != "" && u.Host == r.Header.Get("X-Forwarded-Host")
}

// checkCaller is checkPage for the call c of a function. One without CORS decides itself: a
// browser has asked it, or the gateway asks as a browser would.
func (g *Gateway) checkCaller(x *exchange, r *http.Request, c mayfly.Call) error {
	err := g.checkPage(r, x.destination, x.cors, x.target.Function)
	if err == nil || x.cors == nil && (isPreflighted(r) || g.permits(x, r, c)) {
		return nil
	}
	return err
}

// unasked are the types of bodies that browsers send to other origins without asking: those
// of forms (Fetch standard, "CORS-safelisted"), of pings and of reports.
var unasked = []string{
	"application/x-www-form-urlencoded", "multipart/form-data", "text/plain",
	"text/ping", "application/csp-report", "application/reports+json",
}

// isPreflighted reports whether browsers ask before they let a page of another origin send
// r, apart from GET and HEAD.
func isPreflighted(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return true
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "cors" {
		return false
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && !slices.Contains(unasked, media)
}

// permits asks a function whether a page may send what no browser asks about. The function
// must name the origin if the request has a login.
func (g *Gateway) permits(x *exchange, r *http.Request, c mayfly.Call) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || x.target.NoHeaders {
		return false
	}
	c.Method, c.Header = http.MethodOptions, maps.Clone(c.Header)
	c.Header[requestMethod] = []string{r.Method}
	for _, name := range []string{"Cookie", "Authorization", "Content-Type"} { // as in a preflight
		delete(c.Header, name)
	}
	reply, err := g.dispatch.Call(r.Context(), &x.target, c)
	if err != nil {
		return false
	}
	if reply.Stream != nil {
		_ = reply.Stream.Close()
	}
	login := r.Header["Cookie"] != nil || r.Header["Authorization"] != nil
	switch reply.Header.Get(allowedOrigin) {
	case origin:
		return reply.Status/100 == 2 && (!login || reply.Header.Get("Access-Control-Allow-Credentials") == "true")
	case "*":
		return reply.Status/100 == 2 && !login
	}
	return false
}
