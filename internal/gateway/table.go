package gateway

import (
	"context"
	"fmt"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
)

// tableRest is how long after a table the next one is made for services: a hundred
// that start together make few tables. Registering 10,000 patterns takes twice as
// long (BenchmarkTable).
const tableRest = 50 * time.Millisecond

// watchRoutes makes a new table at once when this node's routes change, and after a
// rest when services do. A change of a function without patterns makes none.
func (g *Gateway) watchRoutes(ctx context.Context) {
	services, functions := g.options.Directory.Watch(ctx), g.options.Functions.Watch(ctx)
	var due <-chan time.Time // of a table; nil if none is wanted
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-services:
			if due == nil {
				due = time.After(time.Until(last.Add(tableRest)))
			}
			continue
		case <-due:
		case changed := <-functions:
			if _, ok := changed[""]; !ok {
				continue
			}
		}
		g.Refresh()
		due, last = nil, time.Now()
	}
}

// Refresh puts the present routes in force, without waiting for news of a change: this
// node's before those that metadata gave, and these in the order of their services' age.
// A route that comes later and wants a pattern that is taken is shadowed, so that all
// gateways decide alike and nothing goes down. Calls in flight are not touched.
func (g *Gateway) Refresh() {
	g.making.Lock()
	defer g.making.Unlock()
	metadata := metadataRoutes(g.options.Directory.Services(), func(s mayfly.Service) bool { return g.exposed(s.Name) }, g.hasOwnPatterns)
	g.table.Store(newTable(g.table.Load(), slices.Concat(g.options.Functions.Routes(), metadata), g.reserved))
}

// hasOwnPatterns reports whether an endpoint is that of a function of this node whose
// patterns the table has already.
func (g *Gateway) hasOwnPatterns(e mayfly.Endpoint) bool {
	name, ok := strings.CutPrefix(e.Subject, mayfly.SubjectFunctions+".")
	if !ok {
		return false
	}
	f, _ := g.options.Functions.Function(mayfly.Name(name))
	return f != nil && len(f.HTTP) > 0
}

// reserved reports whether no route may have a pattern.
func (g *Gateway) reserved(p mayfly.Pattern) bool {
	_, own := g.own[p.First()]
	return own || p.Reserved()
}

// Routes returns the routes in force and those that are shadowed.
func (g *Gateway) Routes() (active []mayfly.Route, shadowed []Shadowed) {
	t := g.table.Load()
	for _, e := range t.entries {
		active = append(active, e.Route)
	}
	return active, slices.Clone(t.shadowed)
}

// A table says which route takes a request. It is made whole and never changed: a
// new one replaces it while requests go on.
type table struct {
	patterns *patterns
	slots    []*entry // by slot; nil for a pattern that is not in force
	entries  []*entry // those in force, in order of precedence
	shadowed []Shadowed
}

// patterns are what a table matches by. To register them is most of the work of
// making a table, so tables whose routes differ in other things share them.
//
// http.ServeMux does the matching, with the precedence, the 405 and the trailing
// slash of Go's own patterns; its handlers are slots.
type patterns struct {
	mux     *http.ServeMux
	texts   []string // by slot, in order of precedence
	reasons []string // by slot: why a pattern is not in force, or ""
}

// A slot is the position of a pattern. As a handler it notes that it was chosen.
type slot int

func (s slot) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.(*matcher).slot = int(s) }

// An entry is one route in a table.
type entry struct {
	mayfly.Route
	params []string // header names of the path values: Mayfly-Param-Id
}

// A Shadowed route lost its pattern to an older one, or may not have it.
type Shadowed struct {
	mayfly.Route
	Reason string
}

// newTable returns the table of routes, which are in order of precedence. It takes
// its patterns from the table before if they are the same.
func newTable(before *table, routes []mayfly.Route, reserved func(mayfly.Pattern) bool) *table {
	texts := make([]string, len(routes))
	for i := range routes {
		texts[i] = routes[i].Pattern.String()
	}
	t := &table{slots: make([]*entry, len(routes))}
	if before != nil && slices.Equal(before.patterns.texts, texts) {
		t.patterns = before.patterns
	} else {
		t.patterns = register(texts, func(i int) bool { return reserved(routes[i].Pattern) })
	}
	for i, r := range routes {
		if reason := t.patterns.reasons[i]; reason != "" {
			t.shadowed = append(t.shadowed, Shadowed{r, reason})
			continue
		}
		e := &entry{Route: r}
		for _, name := range r.Pattern.Params {
			e.params = append(e.params, textproto.CanonicalMIMEHeaderKey(mayfly.HeaderParamPrefix+name))
		}
		t.slots[i] = e
		t.entries = append(t.entries, e)
	}
	return t
}

func register(texts []string, reserved func(slot int) bool) *patterns {
	p := &patterns{mux: http.NewServeMux(), texts: texts, reasons: make([]string, len(texts))}
	for i, text := range texts {
		if reserved(i) {
			p.reasons[i] = "the gateway reserves this path"
		} else {
			p.reasons[i] = p.add(text, slot(i))
		}
	}
	return p
}

var conflictWith = regexp.MustCompile(`conflicts with pattern "([^"]*)"`)

// add registers a pattern, or returns why it cannot: ServeMux panics where two
// patterns match the same requests and neither is more specific.
func (p *patterns) add(text string, s slot) (reason string) {
	defer func() {
		if v := recover(); v != nil {
			reason = "its pattern conflicts with another route"
			if m := conflictWith.FindStringSubmatch(fmt.Sprint(v)); m != nil {
				reason = fmt.Sprintf("conflicts with route %q", m[1])
			}
		}
	}()
	p.mux.Handle(text, s)
	return ""
}

// match returns the entry that takes r and gives r its path values, or an error
// with the status that ServeMux would answer: 404, 405 with Allow, or a redirect
// that adds a trailing slash.
func (t *table) match(r *http.Request) (*entry, error) {
	m := &matcher{slot: -1}
	t.patterns.mux.ServeHTTP(m, r)
	if m.slot >= 0 {
		return t.slots[m.slot], nil
	}
	switch {
	case m.status == http.StatusMethodNotAllowed:
		return nil, notAllowed(r, m.header.Get("Allow"))
	case m.status/100 == 3 && strings.HasPrefix(m.header.Get("Location"), r.URL.EscapedPath()+"/"):
		return nil, &statusError{
			status: m.status, header: http.Header{"Location": m.header["Location"]},
			err: mayfly.Errorf(mayfly.NotFound, "the path needs a trailing slash"),
		}
	}
	return nil, mayfly.Errorf(mayfly.NotFound, "no route for %s %s", mayfly.Clip(r.Method), mayfly.Clip(r.URL.Path)).
		WithHint("run mayfly routes to see the routes; services are at /svc/<service>/<endpoint>")
}

// askedFor returns the entry that a browser's preflight asks about, or nil, and r with its
// path values.
func (t *table) askedFor(r *http.Request) (*entry, *http.Request) {
	later := r.WithContext(r.Context()) // a shallow copy
	later.Method = r.Header.Get(requestMethod)
	e, _ := t.match(later)
	later.Method = r.Method
	return e, later
}

// A matcher takes the answer that ServeMux would write.
type matcher struct {
	slot   int // -1 if none was chosen
	status int
	header http.Header
}

func (m *matcher) Header() http.Header {
	if m.header == nil {
		m.header = http.Header{}
	}
	return m.header
}

func (m *matcher) WriteHeader(status int)      { m.status = status }
func (m *matcher) Write(b []byte) (int, error) { return len(b), nil }

// metadataRoutes returns the routes that services' metadata asks for, each once
// however many instances there are: those of exposed services, without endpoints to
// skip. An invalid value loses its route, not its endpoint.
func metadataRoutes(services []mayfly.Service, exposed func(mayfly.Service) bool, skip func(mayfly.Endpoint) bool) []mayfly.Route {
	asks := func(e mayfly.Endpoint) bool { return e.Metadata[mayfly.MetaHTTP] != "" && !skip(e) }
	var asking []mayfly.Service // few of many, so that little is sorted
	for _, s := range services {
		if slices.ContainsFunc(s.Endpoints, asks) && exposed(s) {
			asking = append(asking, s)
		}
	}
	slices.SortFunc(asking, mayfly.Service.Compare)
	var routes []mayfly.Route
	type key struct{ service, endpoint, pattern string }
	seen := map[key]bool{}
	for _, s := range asking {
		for _, e := range s.Endpoints {
			if !asks(e) {
				continue
			}
			for _, r := range e.Routes(s.Name) {
				k := key{s.Name, e.Name, r.Pattern.String()}
				if !seen[k] {
					seen[k] = true
					routes = append(routes, r)
				}
			}
		}
	}
	return routes
}
