package project

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

// routeKeys are all that a route may say.
var routeKeys = []string{"http", "subject", "service", "payload", "timeout", "summary", "request", "response", "cors"}

// target is an endpoint of a service, as ADR-32 names both.
var target = regexp.MustCompile(`^([A-Za-z0-9_-]+)/([A-Za-z0-9_-]+)$`)

// parseRoutes returns the routes of a manifest, which has none if n is nil.
func (p *Project) parseRoutes(n *yamlfile.Node, taken *patterns) ([]mayfly.Route, error) {
	if n == nil {
		return nil, nil
	}
	fields, err := n.Map()
	if err != nil {
		return nil, err
	}
	var routes []mayfly.Route
	for _, f := range fields {
		name, err := mayfly.ParseName(f.Key.Text)
		if err != nil {
			return nil, f.Key.Wrap(err)
		}
		route, err := p.parseRoute(f)
		if err != nil {
			return nil, err
		}
		route.Name = string(name)
		for _, item := range f.Value.Get("http").Each() {
			if route.Pattern, err = parsePattern(item); err != nil {
				return nil, err
			}
			if !fits(route.Subject, route.Pattern) {
				return nil, item.Errorf("pattern %q does not give subject %q a value for each wildcard", route.Pattern, route.Subject).
					WithHint("a {value} stands for one *, and {rest...} for >")
			}
			if err := taken.take(item, route.Pattern, "routes."+route.Name); err != nil {
				return nil, err
			}
			routes = append(routes, route)
		}
	}
	return routes, nil
}

// parseRoute returns a route without name and pattern.
func (p *Project) parseRoute(f yamlfile.Field) (r mayfly.Route, err error) {
	n := f.Value
	for _, f := range n.Fields {
		if f.Key.Text == "auth" {
			return r, notYet(n, f.Key)
		}
	}
	if err := n.Only(routeKeys...); err != nil {
		return r, err
	}
	if list := n.Get("http"); list == nil || list.Kind == yamlfile.List && len(list.Items) == 0 {
		return r, f.Key.Errorf("%s has no http: no request reaches it", n.Path).WithHint(`write http: "GET /orders/{id}"`)
	}
	r.Project = p.Name
	if err := parseTarget(&r, f); err != nil {
		return r, err
	}
	if v := n.Get("payload"); v != nil {
		text, err := v.Str()
		if err != nil {
			return r, err
		}
		if r.Payload, err = mayfly.ParseTemplate(text); err != nil {
			return r, v.Wrap(err)
		}
	}
	if v := n.Get("timeout"); v != nil {
		if r.Timeout, err = parseTimeout(v); err != nil {
			return r, err
		}
	}
	if v := n.Get("summary"); v != nil {
		if r.Summary, err = v.Str(); err != nil {
			return r, err
		}
	}
	if v := n.Get("request"); v != nil {
		if r.Request, err = p.parseSchema(v); err != nil {
			return r, err
		}
	}
	if v := n.Get("response"); v != nil {
		if r.Response, err = p.parseSchema(v); err != nil {
			return r, err
		}
	}
	if v := n.Get("cors"); v != nil {
		if r.CORS, err = parseCORS(v); err != nil {
			return r, err
		}
	}
	return r, nil
}

// parseTarget reads where the route's calls go: a subject or an endpoint.
func parseTarget(r *mayfly.Route, f yamlfile.Field) error {
	subject, service := f.Value.Get("subject"), f.Value.Get("service")
	switch {
	case subject == nil && service == nil:
		return f.Key.Errorf("%s has neither subject nor service: a call has nowhere to go", f.Value.Path)
	case subject != nil && service != nil:
		return service.Errorf("%s has both subject and service: a call goes to one of them", f.Value.Path)
	case subject != nil:
		text, err := subject.Str()
		if err != nil {
			return err
		}
		if r.Subject, err = mayfly.ParseSubjectPattern(text); err != nil {
			return subject.Wrap(err)
		}
		return nil
	default:
		text, err := service.Str()
		if err != nil {
			return err
		}
		parts := target.FindStringSubmatch(text)
		if parts == nil {
			return service.Errorf("service %q is not Name/endpoint", clip(text)).
				WithHint("both are made of letters, digits, _ and -, as `nats micro info` shows them")
		}
		r.Service, r.Endpoint = parts[1], parts[2]
		return nil
	}
}

func parsePattern(n *yamlfile.Node) (mayfly.Pattern, error) {
	text, err := n.Str()
	if err != nil {
		return mayfly.Pattern{}, err
	}
	p, err := mayfly.ParsePattern(text)
	if err != nil {
		return p, n.Wrap(err)
	}
	if p.Reserved() {
		return p, n.Errorf("pattern %q lies under a path that the gateway keeps for itself", p)
	}
	return p, nil
}

func parseTimeout(n *yamlfile.Node) (time.Duration, error) {
	d, err := n.Duration()
	if err != nil {
		return 0, err
	}
	if d <= 0 {
		return 0, n.Errorf("timeout %s is not more than 0", n.Text)
	}
	return d, nil
}

// fits reports whether requests that p takes can fill all wildcards of s. A
// subject without wildcards leaves the values to the payload.
func fits(s mayfly.SubjectPattern, p mayfly.Pattern) bool {
	if !s.Wild() {
		return true
	}
	stars := strings.Count(s.String(), "*")
	tail := strings.HasSuffix(s.String(), ">")
	values := len(p.Params) // at least; a {rest...} gives one or more
	rest := strings.HasSuffix(p.Path, "...}")
	switch {
	case tail && rest:
		return true
	case tail:
		return values > stars
	case rest:
		return values <= stars
	default:
		return values == stars
	}
}

// patterns knows which requests a project takes, by routes and by functions.
// http.ServeMux is the judge, because the gateway asks it too; it says no by a
// panic.
type patterns struct {
	mux   *http.ServeMux
	taken []claim
}

// A claim is a pattern and the path in the manifest of who wants it.
type claim struct {
	pattern mayfly.Pattern
	owner   string
}

// take gives the pattern's requests to the owner, unless somebody has some of them.
func (t *patterns) take(n *yamlfile.Node, p mayfly.Pattern, owner string) error {
	if takes(t.mux, p) {
		t.taken = append(t.taken, claim{p, owner})
		return nil
	}
	other := claim{p, owner}
	for _, c := range t.taken {
		mux := http.NewServeMux()
		if takes(mux, c.pattern) && !takes(mux, p) {
			other = c
			break
		}
	}
	if other.pattern.String() == p.String() {
		return n.Errorf("pattern %q stands there twice: first in %s", p, other.owner)
	}
	return n.Errorf("pattern %q takes requests of %q in %s, and neither is the narrower one", p, other.pattern, other.owner)
}

// takes reports whether mux takes p beside what it has.
func takes(mux *http.ServeMux, p mayfly.Pattern) (ok bool) {
	defer func() { ok = recover() == nil }()
	mux.Handle(p.String(), http.NotFoundHandler())
	return true
}

// clip shortens text from the file for a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
