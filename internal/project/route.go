package project

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

// A route is an entry of routes. Each of its patterns becomes a mayfly.Route.
type route struct {
	mayfly.Route
	patterns []*yamlfile.Node
}

var routeKeys = table[route]{
	own("http", asPatterns.schema.with(schema{"minItems": 1}), readRoutePatterns,
		"`[METHOD ][HOST]/path/{name}/{rest...}` as in Go's http.ServeMux, or a list of them. Without a method, all methods match.").required("no request reaches it", "GET /orders/{id}"),
	set("subject", asSubject, func(r *route) *mayfly.SubjectPattern { return &r.Subject },
		"Subject to call. Its wildcards take the values of the path, in order."),
	own("service", matching("^[A-Za-z0-9_-]+/[A-Za-z0-9_.-]+$"), readEndpoint,
		"Endpoint to call instead, as Service/endpoint. It is found by name on each call, so it may move."),
	set("function", asName, func(r *route) *mayfly.Name { return &r.Function },
		"Function to call instead, of this project or another.").and(checkOneTarget),
	set("payload", asTemplate, func(r *route) *mayfly.Template { return &r.Payload },
		"Body of requests that have none: a template such as {n}, or `json` for an object of all values of path and query."),
	set("timeout", asDuration, func(r *route) *mayfly.Duration { return &r.Timeout },
		"Time to wait for the reply. By default `gateway.timeout`."),
	set("summary", asText, func(r *route) *string { return &r.Summary },
		"One line for people and for /openapi.json."),
	jsonSchema("request", func(r *route) *json.RawMessage { return &r.Request },
		"JSON Schema of the request body, or a file with one, for /openapi.json. Bodies are not checked."),
	jsonSchema("response", func(r *route) *json.RawMessage { return &r.Response },
		"JSON Schema of the reply's body, or a file with one."),
	cors("cors", func(r *route) **mayfly.CORS { return &r.CORS },
		"Origins whose pages may use the route: one, a list, or a map. By default none."),
}

// The kinds of values that routes take, and functions for their own paths.
var (
	asPatterns = asList(kind[mayfly.Pattern]{matching(`^([A-Z]+[ \t]+)?(localhost|[^/ ]*[.:][^/ ]*)?/[^ ]*$`), readPattern})
	asSubject  = kind[mayfly.SubjectPattern]{matching(`^[^ \t]+$`), func(n *yamlfile.Node) (mayfly.SubjectPattern, error) {
		return parsed(n, mayfly.ParseSubjectPattern)
	}}
	asTemplate = kind[mayfly.Template]{asText.schema, func(n *yamlfile.Node) (mayfly.Template, error) {
		return parsed(n, mayfly.ParseTemplate)
	}}

	// endpoint names one of a service, as ADR-32 has them; some libraries allow dots.
	endpoint = regexp.MustCompile(`^([A-Za-z0-9_-]+)/([A-Za-z0-9_.-]+)$`)
)

// route reads one entry of routes.
func (m *manifest) route(f yamlfile.Field) error {
	name, err := mayfly.ParseName(f.Key.Text)
	if err != nil {
		return f.Key.Wrap(err)
	}
	if err := checkReserved(f.Value); err != nil {
		return err
	}
	r := route{Route: mayfly.Route{Name: string(name), Project: m.Name}}
	if err := routeKeys.read(m, f.Key, f.Value, &r); err != nil {
		return err
	}
	if r.Service == "" && r.Subject.String() == "" && r.Function == "" {
		return f.Key.Errorf("%s needs a subject, a service or a function", f.Value.Path)
	}
	for _, item := range r.patterns {
		if r.Pattern, err = readPattern(item); err != nil {
			return err
		}
		if !fits(r.Subject, r.Pattern) {
			return item.Errorf("pattern %q does not have a value for each wildcard of subject %q", r.Pattern, r.Subject).
				WithHint("a {value} fills one *, and {rest...} fills >")
		}
		if err := m.taken.take(item, r.Pattern, "routes."+r.Name); err != nil {
			return err
		}
		m.Routes = append(m.Routes, r.Route)
	}
	return nil
}

func readRoutePatterns(_ *manifest, n *yamlfile.Node, r *route) error {
	if r.patterns = n.Each(); len(r.patterns) == 0 {
		return n.Errorf("%s is empty: no request reaches the route", n.Path).WithHint("add a pattern, such as GET /orders/{id}")
	}
	return nil
}

func readEndpoint(_ *manifest, n *yamlfile.Node, r *route) error {
	text, err := n.Str()
	if err != nil {
		return err
	}
	if r.Subject.String() != "" {
		return n.Errorf("%s: a route has a subject or a service, not both", n.Path)
	}
	parts := endpoint.FindStringSubmatch(text)
	if parts == nil {
		return n.Errorf("service %q is not of the form Service/endpoint", mayfly.Clip(text)).
			WithHint("both consist of letters, digits, _ and -, and endpoints of dots too, as `nats micro info` shows them")
	}
	r.Service, r.Endpoint = parts[1], parts[2]
	return nil
}

func checkOneTarget(n *yamlfile.Node, r *route) error {
	if r.Service != "" || r.Subject.String() != "" {
		return n.Errorf("%s: set only one of subject, service and function", n.Path)
	}
	return nil
}

func readPattern(n *yamlfile.Node) (mayfly.Pattern, error) {
	p, err := parsed(n, mayfly.ParsePattern)
	if err == nil && p.Reserved() {
		err = n.Errorf("pattern %q is under a path that the gateway reserves", p)
	}
	return p, err
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
// http.ServeMux decides, as in the gateway; it panics to say no.
type patterns struct {
	mux   *http.ServeMux
	taken []claim
}

// A claim is a pattern and the path in the manifest of who wants it.
type claim struct {
	pattern mayfly.Pattern
	owner   string
}

// take gives the pattern's requests to the owner, unless others have some of them.
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
		return n.Errorf("pattern %q is already used by %s", p, other.owner)
	}
	return n.Errorf("pattern %q overlaps %q in %s, and neither is more specific", p, other.pattern, other.owner)
}

// takes reports whether mux takes p beside what it has.
func takes(mux *http.ServeMux, p mayfly.Pattern) (ok bool) {
	defer func() { ok = recover() == nil }()
	mux.Handle(p.String(), http.NotFoundHandler())
	return true
}

// jsonSchema is a key whose value is a JSON Schema, as a map or as the name of a file
// (JSON, or YAML by its name) below the manifest's folder.
func jsonSchema(name string, field func(*route) *json.RawMessage, doc string) key[route] {
	return own(name, schema{"type": []string{"object", "string"}}, func(m *manifest, n *yamlfile.Node, r *route) (err error) {
		switch n.Kind {
		case yamlfile.Map:
			*field(r), err = n.JSON()
		case yamlfile.String:
			*field(r), err = m.readSchema(n)
		default:
			err = n.Errorf("%s must be a JSON Schema or the name of a file with one, not %s", n.Path, n.Kind)
		}
		return err
	}, doc)
}

func (m *manifest) readSchema(n *yamlfile.Node) (json.RawMessage, error) {
	name := path.Clean(n.Text)
	if !fs.ValidPath(name) {
		return nil, n.Errorf("file %q is not below the manifest's folder", mayfly.Clip(n.Text))
	}
	// A root does not follow a link out of the folder either.
	root, err := os.OpenRoot(m.Folder)
	if err != nil {
		return nil, n.Errorf("read %s: %w", mayfly.Clip(name), err)
	}
	defer root.Close()
	m.Files = append(m.Files, filepath.Join(m.Folder, filepath.FromSlash(name)))
	data, err := readFile(root.FS(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, n.Wrap(missing(filepath.Join(m.Folder, filepath.FromSlash(name)), "no file %s in the manifest's folder", mayfly.Clip(name)))
	}
	if err != nil {
		return nil, n.Errorf("read %s: %w", mayfly.Clip(name), err)
	}
	if ext := path.Ext(name); ext == ".yaml" || ext == ".yml" {
		schema, err := yamlfile.Parse(name, data)
		if err != nil {
			return nil, n.Wrap(err)
		}
		if schema.Kind != yamlfile.Map {
			return nil, n.Errorf("%s is not a JSON Schema: it must be a map", mayfly.Clip(name))
		}
		return schema.JSON()
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		return nil, n.Errorf("%s is not a JSON Schema: it must be a JSON object", mayfly.Clip(name))
	}
	return data, nil
}
