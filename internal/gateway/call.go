package gateway

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/dispatch"
	"github.com/mayfly-run/mayfly/internal/nearest"
)

// serveService answers /svc/<service>/<endpoint>[/<rest>]: the payload is the
// body, or rest if there is no body. An endpoint with wildcards in its subject
// takes them from rest instead.
func (g *Gateway) serveService(x *exchange, r *http.Request) error {
	if r.URL.Path == "/svc" || r.URL.Path == "/svc/" {
		return g.serveServices(x, r)
	}
	segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/svc/"), "/")
	path := "/"
	if len(segments) > 2 {
		path += strings.Join(segments[2:], "/")
	}
	for i := range segments {
		var err error
		if segments[i], err = url.PathUnescape(segments[i]); err != nil {
			return errEscape
		}
	}
	if len(segments) < 2 || segments[0] == "" || segments[1] == "" {
		return mayfly.Errorf(mayfly.NotFound, "the path must be /svc/<service>/<endpoint>").
			WithHint("GET /svc lists services and endpoints")
	}
	service, endpoint, rest := segments[0], segments[1], segments[2:]
	if !g.exposed(service) {
		return mayfly.Errorf(mayfly.NotFound, "no service %q", mayfly.Clip(service)).WithHint("%s", g.exposeHint())
	}
	var err error
	if x.target, err = g.dispatch.Endpoint(r.Context(), service, endpoint); err != nil {
		return err
	}
	if err := x.target.Fill(rest); err != nil {
		return err
	}
	body, err := g.readBody(x)
	if err != nil {
		return err
	}
	if len(body) == 0 && len(rest) > 0 && !x.target.Wild() {
		body = []byte(strings.Join(rest, "/"))
	}
	c := g.newCall(x, r, path)
	c.Body = body
	return g.call(x, r, c)
}

var errEscape = mayfly.Errorf(mayfly.Invalid, "the path has a bad escape")

// serveFunction answers /fn/<name>[/<rest>]. The function sees /<rest>, or
// an empty path if even the slash is missing.
func (g *Gateway) serveFunction(x *exchange, r *http.Request) error {
	name, prefix, rest, err := functionOf(r)
	if err != nil {
		return err
	}
	if wantsAsync(r) {
		return errNoJobs
	}
	if x.target, err = g.dispatch.Function(r.Context(), name); err != nil {
		return cmp.Or(g.checkPage(r, x.destination, nil, name), g.guess(err, name))
	}
	x.prefix = prefix
	g.allowOrigin(x, r, x.target.CORS)
	c := g.newCall(x, r, rest)
	c.Header["X-Forwarded-Prefix"] = x.one(prefix)
	return g.callFunction(x, r, c)
}

// mostGuessed bounds the names that a mistyped one is compared with.
const mostGuessed = 100

// guess returns err, with the function of this node that name may be a typo of as the hint.
func (g *Gateway) guess(err error, name mayfly.Name) error {
	e, ok := errors.AsType[*mayfly.Error](err)
	if !ok || e.Code != mayfly.NotFound || len(g.options.Expose) == 0 {
		return err
	}
	all := g.options.Functions.Functions()
	if len(all) > mostGuessed {
		return err
	}
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = string(f.Name)
	}
	return e.WithHint("%s", nearest.Hint(string(name), names, e.Hint))
}

// functionOf returns the function that /fn/<name>[/<rest>] names, the part of the path
// that the function does not see, and /<rest>, both escaped. As in OpenFaaS, a name may
// have a namespace, of which there is one.
func functionOf(r *http.Request) (name mayfly.Name, prefix, rest string, err error) {
	path := r.URL.EscapedPath()
	first := strings.IndexByte(path[1:], '/') + 2
	if first == 1 {
		first = len(path)
	}
	escaped, _, _ := strings.Cut(path[first:], "/")
	text, err := url.PathUnescape(escaped)
	if err != nil {
		return "", "", "", errEscape
	}
	if name, err = mayfly.ParseName(strings.TrimSuffix(text, ".openfaas-fn")); err != nil {
		err = dispatch.NoFunction(mayfly.Clip(text))
	}
	end := first + len(escaped)
	return name, path[:end], path[end:], err
}

// serveRoute answers a request that a route's pattern took.
func (g *Gateway) serveRoute(x *exchange, r *http.Request) (err error) {
	e := x.destination.entry
	g.allowOrigin(x, r, e.CORS) // an error, too, is for the page
	if e.Function != "" && wantsAsync(r) {
		return errNoJobs
	}
	if x.target, err = g.dispatch.Route(r.Context(), &e.Route); err != nil {
		return cmp.Or(g.checkPage(r, x.destination, x.cors, e.Function), err)
	}
	if x.cors == nil {
		g.allowOrigin(x, r, x.target.CORS)
	}
	c := g.newCall(x, r, r.URL.EscapedPath())
	for i, name := range e.params {
		c.Header[name] = x.one(r.PathValue(e.Pattern.Params[i]))
	}
	if x.target.Function != "" {
		return g.callFunction(x, r, c)
	}
	if err := g.checkPage(r, x.destination, x.cors, ""); err != nil {
		return err
	}
	if x.target.Wild() {
		if err := x.target.Fill(e.Pattern.Values(r)); err != nil {
			return err
		}
	}
	if c.Body, err = g.readBody(x); err != nil {
		return err
	}
	e.fill(r, &c)
	return g.call(x, r, c)
}

// fill gives a call without a body the route's payload.
func (e *entry) fill(r *http.Request, c *mayfly.Call) {
	if len(c.Body) == 0 && e.Payload.String() != "" {
		c.Body = e.Payload.Fill(valueOf(r, e), func() map[string]string { return valuesOf(r, e) })
	}
}

// callFunction calls a function with the request's body. A body for this node that
// is too long to wait for travels as a stream.
func (g *Gateway) callFunction(x *exchange, r *http.Request, c mayfly.Call) (err error) {
	e := x.destination.entry
	if err := g.checkCaller(x, r, c); err != nil {
		return err
	}
	if !x.target.Here || x.body.short() {
		if c.Body, err = g.readBody(x); err != nil {
			return err
		}
		if e != nil {
			e.fill(r, &c)
		}
		return g.call(x, r, c)
	}
	up, err := g.newUpload(x)
	if err != nil {
		return err
	}
	c.Stream, c.Length = up, x.body.length
	return g.call(x, r, c)
}

// call makes the call and answers with its reply.
func (g *Gateway) call(x *exchange, r *http.Request, c mayfly.Call) error {
	t := &x.target
	if wantsAsync(r) {
		return g.send(x, r, c)
	}
	asked := time.Now()
	switch {
	case t.Here:
		// The runner ends calls that take too long; an upload has deadlines of its own.
		x.writeBy(time.Time{})
	case t.Timeout > g.options.WriteTimeout:
		// HTTP/2 cuts a stream at its write deadline, even if nothing was written.
		x.writeBy(asked.Add(t.Timeout + g.options.WriteTimeout))
	}
	reply, err := g.dispatch.Call(r.Context(), t, c)
	x.bus = time.Since(asked)
	if err != nil {
		if cause := x.upload.failure(); cause != nil {
			return cause // the client's fault, not the function's
		}
		return err
	}
	if t.Here {
		x.writeBy(time.Now().Add(g.options.WriteTimeout))
	}
	return g.writeReply(x, r, reply)
}

// send publishes the call and answers 202: sent, not stored.
func (g *Gateway) send(x *exchange, r *http.Request, c mayfly.Call) error {
	asked := time.Now()
	err := g.dispatch.Send(r.Context(), &x.target, c)
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

// valueOf looks a placeholder up: the path's value, else the query's first.
func valueOf(r *http.Request, e *entry) func(name string) (string, bool) {
	var query url.Values
	return func(name string) (string, bool) {
		if slices.Contains(e.Pattern.Params, name) {
			return r.PathValue(name), true
		}
		if query == nil {
			query = r.URL.Query()
		}
		return query.Get(name), query.Has(name)
	}
}

// valuesOf returns all values of path and query; the path's win.
func valuesOf(r *http.Request, e *entry) map[string]string {
	all := map[string]string{}
	for name, values := range r.URL.Query() {
		all[name] = values[0]
	}
	for _, name := range e.Pattern.Params {
		all[name] = r.PathValue(name)
	}
	return all
}
