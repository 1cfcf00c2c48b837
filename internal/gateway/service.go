package gateway

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/openapi"
)

// exposed reports whether /svc and metadata patterns may reach a service.
func (g *Gateway) exposed(service string) bool {
	return slices.ContainsFunc(g.options.Expose, func(pattern string) bool {
		ok, _ := path.Match(pattern, service) // New has checked the patterns
		return ok
	})
}

// serveService answers /svc/<service>/<endpoint>[/<rest>]: the payload is the
// body, or rest when there is no body. An endpoint with wildcards in its subject
// takes them from rest instead.
func (g *Gateway) serveService(x *exchange, r *http.Request) error {
	x.kind = kindService
	segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/svc/"), "/")
	escapedRest := ""
	if len(segments) > 2 {
		escapedRest = strings.Join(segments[2:], "/")
	}
	for i := range segments {
		var err error
		if segments[i], err = url.PathUnescape(segments[i]); err != nil {
			return mayfly.Errorf(mayfly.Invalid, "the path has a bad escape")
		}
	}
	if len(segments) < 2 || segments[0] == "" || segments[1] == "" {
		return mayfly.Errorf(mayfly.NotFound, "the path must be /svc/<service>/<endpoint>").
			WithHint("GET /svc lists the services and their endpoints")
	}
	service, name, rest := segments[0], segments[1], segments[2:]
	if !g.exposed(service) {
		return mayfly.Errorf(mayfly.NotFound, "no service %q", clip(service)).
			WithHint("this gateway reaches the services that gateway.expose lists")
	}
	endpoint, err := g.directory.Lookup(r.Context(), service, name)
	if err != nil {
		return err
	}
	if isFunction(endpoint) {
		return mayfly.Errorf(mayfly.NotFound, "%q is a function, not a service", clip(service)).
			WithHint("call it by /fn/%s", clip(service))
	}
	subject, body, err := g.target(x, r, endpoint, rest)
	if err != nil {
		return err
	}
	timeout := endpoint.Timeout()
	if timeout == 0 {
		timeout = g.options.Timeout
	}
	return g.call(x, r, g.newCall(x, r, subject, "/"+escapedRest, body, timeout))
}

// target says where a request by /svc goes and with what.
func (g *Gateway) target(x *exchange, r *http.Request, e mayfly.Endpoint, rest []string) (mayfly.Subject, []byte, error) {
	pattern, err := mayfly.ParseSubjectPattern(e.Subject)
	if err != nil {
		return "", nil, err
	}
	body, err := g.readBody(x, g.options.MaxBody, "gateway.maxbody")
	if err != nil {
		return "", nil, err
	}
	x.target = e.Subject
	if !pattern.Wild() {
		if len(body) == 0 && len(rest) > 0 {
			body = []byte(strings.Join(rest, "/"))
		}
		return mayfly.Subject(e.Subject), body, nil
	}
	subject, err := pattern.Fill(rest)
	return subject, body, err
}

// isFunction reports whether an endpoint is that of a function.
func isFunction(e mayfly.Endpoint) bool {
	return strings.HasPrefix(e.Subject, mayfly.SubjectFunctions+".")
}

// listing is one service in the answer to GET /svc.
type listing struct {
	Name        string            `json:"name"`
	Version     string            `json:"version"`
	Description string            `json:"description,omitempty"`
	Instances   int               `json:"instances"`
	Endpoints   []endpointListing `json:"endpoints"`
}

type endpointListing struct {
	Name    string   `json:"name"`
	Subject string   `json:"subject"`
	URL     string   `json:"url"`
	HTTP    []string `json:"http,omitempty"`
	Summary string   `json:"summary,omitempty"`
}

// listServices answers GET /svc from the live picture.
func (g *Gateway) listServices(x *exchange, r *http.Request) error {
	x.kind = kindBuiltin
	if err := allowGet(r); err != nil {
		return err
	}
	byName := map[string]*listing{}
	for _, s := range g.directory.Services() {
		if !g.exposed(s.Name) {
			continue
		}
		l := byName[s.Name]
		if l == nil {
			l = &listing{Name: s.Name, Version: s.Version, Description: s.Description, Endpoints: []endpointListing{}}
			byName[s.Name] = l
		}
		l.Instances++
		for _, e := range s.Endpoints {
			same := func(have endpointListing) bool { return have.Name == e.Name && have.Subject == e.Subject }
			if !isFunction(e) && !slices.ContainsFunc(l.Endpoints, same) {
				l.Endpoints = append(l.Endpoints, listEndpoint(s.Name, e))
			}
		}
	}
	list := make([]*listing, 0, len(byName))
	for _, l := range byName {
		if len(l.Endpoints) > 0 {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b *listing) int { return strings.Compare(a.Name, b.Name) })
	return g.writeJSON(x, map[string]any{"services": list})
}

// openAPI answers GET /openapi.json from the routes in force and the services' live
// metadata.
func (g *Gateway) openAPI(x *exchange, r *http.Request) error {
	x.kind = kindBuiltin
	if err := allowGet(r); err != nil {
		return err
	}
	c := openapi.Contents{Version: g.options.Version, Functions: g.functions.Functions(), Own: ownPaths}
	for _, e := range g.table.Load().entries {
		c.Routes = append(c.Routes, e.Route)
	}
	for _, s := range g.directory.Services() {
		if g.exposed(s.Name) {
			c.Services = append(c.Services, s)
		}
	}
	body, err := g.openapi.Write(c)
	if err != nil {
		return err
	}
	return g.writeOwn(x, "application/json", body)
}

// ownPaths are the gateway's own in its OpenAPI document.
var ownPaths = []openapi.Path{
	{Path: "/healthz", Summary: "Is the process alive?"},
	{Path: "/readyz", Summary: "Can calls be made?"},
	{Path: "/openapi.json", Summary: "This document"},
	{Path: "/svc", Summary: "The services and endpoints that can be called"},
}

func listEndpoint(service string, e mayfly.Endpoint) endpointListing {
	l := endpointListing{
		Name: e.Name, Subject: e.Subject, Summary: e.Metadata[mayfly.MetaSummary],
		URL: "/svc/" + url.PathEscape(service) + "/" + url.PathEscape(e.Name),
	}
	for _, r := range e.Routes(service) {
		l.HTTP = append(l.HTTP, r.Pattern.String())
	}
	return l
}

// serveRoute answers a request that a route's pattern took.
func (g *Gateway) serveRoute(x *exchange, r *http.Request, e *entry) error {
	x.kind, x.entry = kindRoute, e
	g.allowOrigin(x, r, e.CORS)
	if e.Function != "" {
		return g.callFunction(x, r, e.Function, r.URL.EscapedPath(), "", e)
	}
	body, err := g.readBody(x, g.options.MaxBody, "gateway.maxbody")
	if err != nil {
		return err
	}
	subject, timeout, err := g.resolve(x, r, e)
	if err != nil {
		return err
	}
	if len(body) == 0 && e.Payload.String() != "" {
		body = e.Payload.Fill(valueOf(r, e), func() map[string]string { return valuesOf(r, e) })
	}
	c := g.newCall(x, r, subject, r.URL.EscapedPath(), body, timeout)
	for i, name := range e.params {
		c.Header[name] = []string{r.PathValue(e.Pattern.Params[i])}
	}
	return g.call(x, r, c)
}

// resolve says where a route's call goes and how long it may take. A manifest's
// route to a service by name asks the directory, each time, because the service
// may have moved.
func (g *Gateway) resolve(x *exchange, r *http.Request, e *entry) (mayfly.Subject, time.Duration, error) {
	pattern, timeout := e.Subject, e.Timeout
	if e.Service != "" && e.Project != "" {
		endpoint, err := g.directory.Lookup(r.Context(), e.Service, e.Endpoint)
		if err != nil {
			return "", 0, mayfly.Errorf(mayfly.Unavailable, "route %q has nobody to call: %w", e.Name, err)
		}
		if pattern, err = mayfly.ParseSubjectPattern(endpoint.Subject); err != nil {
			return "", 0, err
		}
		if timeout == 0 {
			timeout = endpoint.Timeout()
		}
	}
	if timeout == 0 {
		timeout = g.options.Timeout
	}
	x.target = pattern.String()
	if !pattern.Wild() {
		return mayfly.Subject(pattern.String()), timeout, nil
	}
	subject, err := pattern.Fill(e.Pattern.Values(r))
	return subject, timeout, err
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

// writeJSON answers 200 with v, for people too: indented.
func (g *Gateway) writeJSON(x *exchange, v any) error {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return mayfly.Errorf(mayfly.Internal, "write JSON: %w", err)
	}
	return g.writeOwn(x, "application/json", append(body, '\n'))
}

// writeOwn answers 200 with a body of the gateway's own.
func (g *Gateway) writeOwn(x *exchange, contentType string, body []byte) error {
	h := x.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h["X-Content-Type-Options"] = nosniff
	g.begin(x, http.StatusOK)
	_, _ = x.Write(body) // the client may be gone
	return nil
}

// allowGet refuses other methods than GET and HEAD: a path of the gateway's own
// can only be read.
func allowGet(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	return notAllowed(r, "GET, HEAD")
}

// notAllowed returns the error of a method that the path does not take.
func notAllowed(r *http.Request, allowed string) error {
	return &statusError{
		status: http.StatusMethodNotAllowed, header: http.Header{"Allow": {allowed}},
		err: mayfly.Errorf(mayfly.Invalid, "method %s is not allowed here", clip(r.Method)).WithHint("use %s", allowed),
	}
}
