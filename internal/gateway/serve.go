package gateway

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/door"
)

// The path of a request: resolve finds its destination, guard checks whether it may
// go there, and the destination's serve answers it.

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r)
	g.held.RLock()
	defer g.held.RUnlock()
	defer g.leave(x)
	g.inFlight.Add(1)
	defer g.finish(x, r)
	if err := g.handle(x, r); err != nil {
		g.refuse(x, r, err)
	}
}

func (g *Gateway) handle(x *exchange, r *http.Request) error {
	if err := checkTarget(r); err != nil {
		return err
	}
	to := g.resolve(r)
	if err := g.guard(r, to); err != nil {
		return err
	}
	x.destination = to
	if to.err != nil {
		return to.err
	}
	return to.serve(g, x, r)
}

// A destination is what a request is for: a path of the gateway's own, a service, a
// function, a route or a mount.
type destination struct {
	kind  kind
	exact bool         // takes its own path only, nothing below
	entry *entry       // the route, or the one that a preflight asks about
	cors  *mayfly.CORS // that a preflight asks about
	mount *Mount
	serve func(*Gateway, *exchange, *http.Request) error
	err   error // why nothing takes the request
}

// ownDestinations returns those that the gateway and its mounts keep for themselves,
// by the first segment of their paths.
func ownDestinations(mounts []Mount) (map[string]destination, error) {
	noJobs := destination{serve: (*Gateway).serveNoJobs}
	function := destination{kind: kindFunction, serve: (*Gateway).serveFunction}
	own := map[string]destination{
		"svc":          {kind: kindService, serve: (*Gateway).serveService},
		"fn":           function,
		"function":     function,
		"healthz":      {kind: kindBuiltin, exact: true, serve: (*Gateway).serveHealth},
		"readyz":       {kind: kindBuiltin, exact: true, serve: (*Gateway).serveReady},
		"openapi.json": {kind: kindBuiltin, exact: true, serve: (*Gateway).serveOpenAPI},
		"async":        noJobs, "async-function": noJobs, "jobs": noJobs,
	}
	for i := range mounts {
		m := &mounts[i]
		have, taken := own[m.Segment]
		if taken && (have.kind != kindNone || have.mount != nil) || m.Segment == "" || strings.Contains(m.Segment, "/") {
			return nil, mayfly.Errorf(mayfly.Invalid, "cannot mount at %q: the path prefix is taken", m.Segment)
		}
		own[m.Segment] = destination{kind: kindBuiltin, mount: m, serve: (*Gateway).serveMount}
	}
	return own, nil
}

// resolve finds the destination of a request. The gateway's own paths come first, so
// that no route can take them.
func (g *Gateway) resolve(r *http.Request) destination {
	first, _, deeper := strings.Cut(r.URL.Path[1:], "/")
	if to, ok := g.own[first]; ok && !(to.exact && deeper) {
		if to.kind == kindFunction && isPreflight(r) {
			return g.preflightOfFunction(r, to)
		}
		return to
	}
	t := g.table.Load()
	e, err := t.match(r)
	if isPreflight(r) && (e == nil || e.Pattern.Method != http.MethodOptions) { // a user's own OPTIONS route comes first
		if to, ok := g.preflightOfRoute(r, t); ok {
			return to
		}
	}
	switch {
	case err == nil && e.Function != "":
		return destination{kind: kindFunction, entry: e, serve: (*Gateway).serveRoute}
	case err == nil:
		return destination{kind: kindRoute, entry: e, serve: (*Gateway).serveRoute}
	case r.URL.Path == "/":
		return destination{kind: kindBuiltin, serve: (*Gateway).serveHome}
	}
	if mayfly.CodeOf(err) == mayfly.NotFound && len(g.options.Expose) == 0 {
		err = mayfly.Errorf(mayfly.NotFound, "%w", err).WithHint("mayfly routes lists the routes; %s", exposeNone)
	}
	return destination{err: err}
}

// guard rejects requests that must not reach their destination, whatever it is. The
// limit of the body is the target's and guarded where it is read, by readBody.
func (g *Gateway) guard(r *http.Request, to destination) error {
	if g.loopback && !door.Own(r, g.options.Hosts) {
		return mayfly.Errorf(mayfly.Denied, "this gateway does not answer to host %q", mayfly.Clip(r.Host)).
			WithHint("use localhost, or add the name to gateway.hosts")
	}
	if err := checkUpgrade(r); err != nil {
		return err
	}
	if to.kind == kindFunction || to.entry != nil {
		return nil // checkPage follows, once the target is known
	}
	return g.checkPage(r, to, nil, "")
}

// checkTarget rejects what no route or service can mean: CONNECT, which asks for a proxy,
// TRACE, whose echo may show a page its cookies, dot segments, which some proxies fold and
// some do not, control characters and what is not UTF-8.
func checkTarget(r *http.Request) error {
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		text := "this gateway is not a proxy"
		if r.Method == http.MethodTrace {
			text = "this gateway does not echo requests"
		}
		return &statusError{
			status: http.StatusMethodNotAllowed, header: http.Header{"Allow": {""}}, // what the path allows is not known yet
			err: mayfly.Errorf(mayfly.Invalid, "%s", text),
		}
	}
	path := r.URL.Path
	if s := r.URL.Scheme; s != "" && (s != "http" && s != "https" || r.URL.Host == "") || path == "" || path[0] != '/' {
		return mayfly.Errorf(mayfly.Invalid, "the request target is not a path")
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

// checkUpgrade rejects WebSockets: a call is one request and one reply. Any other
// upgrade is an offer, which a server may ignore.
func checkUpgrade(r *http.Request) error {
	for _, list := range r.Header["Upgrade"] {
		for protocol := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(protocol), "websocket") {
				return withStatus(http.StatusNotImplemented, mayfly.Errorf(mayfly.Invalid, "this gateway does not support WebSockets").
					WithHint("stream from a function, such as with server-sent events; for NATS over WebSocket, connect to the NATS server"))
			}
		}
	}
	return nil
}
