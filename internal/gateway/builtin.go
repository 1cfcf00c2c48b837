package gateway

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/dispatch"
	"github.com/mayfly-run/mayfly/internal/openapi"
)

// The paths that the gateway answers itself.

func (g *Gateway) serveHealth(x *exchange, r *http.Request) error {
	return g.writeHealth(x, r, "OK\n", nil)
}

func (g *Gateway) serveReady(x *exchange, r *http.Request) error {
	said := "OK\n"
	if off := g.options.Off; off != nil {
		said += off.Error() + "\n"
	}
	return g.writeHealth(x, r, said, g.options.Ready())
}

func (g *Gateway) writeHealth(x *exchange, r *http.Request, said string, err error) error {
	if refused := allowGet(r); refused != nil {
		return refused
	}
	if err != nil {
		return err
	}
	return g.writeOwn(x, "text/plain; charset=utf-8", []byte(said))
}

func (g *Gateway) serveNoJobs(*exchange, *http.Request) error { return errNoJobs }

var errNoJobs = withStatus(http.StatusNotImplemented, mayfly.Errorf(mayfly.Unavailable, "this version has no jobs").
	WithHint("call the function and wait for its reply; services accept the header Prefer: respond-async"))

// serveHome answers GET / where no route takes it: what this is and what can be
// called.
func (g *Gateway) serveHome(x *exchange, r *http.Request) error {
	if err := allowGet(r); err != nil {
		return err
	}
	home := struct {
		Name      string   `json:"name"`
		Version   string   `json:"version"`
		Functions []string `json:"functions,omitempty"`
		Routes    []string `json:"routes,omitempty"`
		Links     []string `json:"links"`
	}{Name: "mayfly", Version: g.options.Version, Links: []string{"/openapi.json", "/healthz", "/readyz"}}
	if len(g.options.Expose) > 0 {
		home.Links = append([]string{"/svc"}, home.Links...)
		for _, e := range g.table.Load().entries {
			home.Routes = append(home.Routes, e.Pattern.String())
		}
		for _, f := range g.options.Functions.Functions() {
			home.Functions = append(home.Functions, "/fn/"+string(f.Name))
		}
		slices.Sort(home.Functions)
	}
	return g.writeJSON(x, home)
}

// Expose returns the patterns of the services that /svc and metadata may reach.
func (g *Gateway) Expose() []string { return g.options.Expose }

// exposed reports whether /svc and metadata patterns may reach a service.
func (g *Gateway) exposed(service string) bool {
	return slices.ContainsFunc(g.options.Expose, func(pattern string) bool {
		ok, _ := path.Match(pattern, service) // New has checked the patterns
		return ok
	})
}

const exposeNone = "no service is exposed: set --gateway.expose 'NAME,...', or '*' for all"

func (g *Gateway) exposeHint() string {
	if len(g.options.Expose) == 0 {
		return exposeNone
	}
	return "GET /svc lists the services that --gateway.expose names"
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

// serveServices answers GET /svc.
func (g *Gateway) serveServices(x *exchange, r *http.Request) error {
	x.destination.kind = kindBuiltin
	if err := allowGet(r); err != nil {
		return err
	}
	byName := map[string]*listing{}
	for _, s := range g.options.Directory.Services() {
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
			if !dispatch.IsFunction(e) && !slices.ContainsFunc(l.Endpoints, same) {
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
	answer := struct {
		Services []*listing `json:"services"`
		Hint     string     `json:"hint,omitempty"`
	}{Services: list}
	if len(g.options.Expose) == 0 {
		answer.Hint = exposeNone
	}
	return g.writeJSON(x, answer)
}

// serveOpenAPI answers GET /openapi.json from the routes in force and the services'
// metadata.
func (g *Gateway) serveOpenAPI(x *exchange, r *http.Request) error {
	if err := allowGet(r); err != nil {
		return err
	}
	c := openapi.Contents{Version: g.options.Version, Server: g.reachedAt(r), Functions: g.options.Functions.Functions(), Own: describedPaths}
	for _, e := range g.table.Load().entries {
		c.Routes = append(c.Routes, e.Route)
	}
	for _, s := range g.options.Directory.Services() {
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

// reachedAt returns the URL of this gateway that the client used.
func (g *Gateway) reachedAt(r *http.Request) string {
	h := http.Header{}
	if g.options.Trust {
		h["X-Forwarded-Host"], h["X-Forwarded-Proto"] = r.Header["X-Forwarded-Host"], r.Header["X-Forwarded-Proto"]
	}
	forward(h, r)
	u := url.URL{Scheme: h.Get("X-Forwarded-Proto"), Host: h.Get("X-Forwarded-Host")}
	if u.Host == "" {
		return ""
	}
	return u.String()
}

// describedPaths are the gateway's own in its OpenAPI document.
var describedPaths = []openapi.Path{
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

// writeJSON answers 200 with v, indented for people.
func (g *Gateway) writeJSON(x *exchange, v any) error {
	body, err := encode(v, "  ")
	if err != nil {
		return mayfly.Errorf(mayfly.Internal, "write JSON: %w", err)
	}
	return g.writeOwn(x, "application/json", body)
}

// writeOwn answers 200 with a body that the gateway made.
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

// allowGet rejects methods other than GET and HEAD.
func allowGet(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	return notAllowed(r, "GET, HEAD")
}

// notAllowed returns the error for a method that the path does not take.
func notAllowed(r *http.Request, allowed string) error {
	return &statusError{
		status: http.StatusMethodNotAllowed, header: http.Header{"Allow": {allowed}},
		err: mayfly.Errorf(mayfly.Invalid, "method %s is not allowed here", mayfly.Clip(r.Method)).WithHint("use %s", allowed),
	}
}
