package gateway

import (
	"cmp"
	"fmt"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// A table says which route takes a request. It is made whole and never changed:
// a new one replaces it while requests go on.
//
// http.ServeMux does the matching, with the precedence, the 405 and the trailing
// slash of Go's own patterns; its handlers only note that they were chosen.
type table struct {
	mux      *http.ServeMux
	entries  []*entry
	shadowed []Shadowed
}

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

// newTable puts the routes into order: a project's before those that metadata
// gave, and these in the order in which they came (the oldest service first).
// Whoever comes later and wants what is taken is listed as shadowed, so that all
// gateways decide alike and nothing goes down.
func newTable(project, metadata []mayfly.Route) *table {
	t := &table{mux: http.NewServeMux()}
	for _, r := range slices.Concat(project, metadata) {
		if r.Pattern.Reserved() {
			t.shadowed = append(t.shadowed, Shadowed{r, "the gateway keeps this path for itself"})
			continue
		}
		e := &entry{Route: r}
		for _, name := range r.Pattern.Params {
			e.params = append(e.params, textproto.CanonicalMIMEHeaderKey(mayfly.HeaderParamPrefix+name))
		}
		if reason := register(t.mux, r.Pattern.String(), e); reason != "" {
			t.shadowed = append(t.shadowed, Shadowed{r, reason})
			continue
		}
		t.entries = append(t.entries, e)
	}
	return t
}

var conflictWith = regexp.MustCompile(`conflicts with pattern "([^"]*)"`)

// register adds a pattern, or returns why it cannot: ServeMux panics where two
// patterns match the same requests and neither is more specific.
func register(mux *http.ServeMux, pattern string, h http.Handler) (reason string) {
	defer func() {
		if v := recover(); v != nil {
			reason = "its pattern conflicts with another route"
			if m := conflictWith.FindStringSubmatch(fmt.Sprint(v)); m != nil {
				reason = fmt.Sprintf("route %q has it", m[1])
			}
		}
	}()
	mux.Handle(pattern, h)
	return ""
}

// match returns the entry that takes r and gives r its path values, or an error
// with the status that ServeMux would answer: 404, 405 with Allow, or a redirect
// that adds a trailing slash.
func (t *table) match(r *http.Request) (*entry, error) {
	m := &matcher{}
	t.mux.ServeHTTP(m, r)
	if m.entry != nil {
		return m.entry, nil
	}
	switch {
	case m.status == http.StatusMethodNotAllowed:
		return nil, notAllowed(r, m.header.Get("Allow"))
	case m.status/100 == 3 && strings.HasPrefix(m.header.Get("Location"), r.URL.EscapedPath()+"/"):
		return nil, &statusError{
			status: m.status, header: http.Header{"Location": m.header["Location"]},
			err: mayfly.Errorf(mayfly.NotFound, "the path ends with a slash"),
		}
	}
	return nil, mayfly.Errorf(mayfly.NotFound, "no route for %s %s", clip(r.Method), clip(r.URL.Path)).
		WithHint("mayfly routes lists what there is; services are under /svc/<service>/<endpoint>")
}

// askedFor returns the entry that a browser's preflight asks about, if it has
// CORS. e is what takes the request as it stands: an OPTIONS route of the user's
// own answers for itself.
func (t *table) askedFor(r *http.Request, e *entry) *entry {
	if r.Method != http.MethodOptions || e != nil && e.Pattern.Method == http.MethodOptions {
		return nil
	}
	method := r.Header.Get("Access-Control-Request-Method")
	if method == "" || r.Header.Get("Origin") == "" {
		return nil
	}
	later := r.WithContext(r.Context()) // a shallow copy
	later.Method = method
	if e, _ = t.match(later); e == nil || e.CORS == nil {
		return nil
	}
	return e
}

// A matcher stands where ServeMux writes the answer and learns what it would be.
type matcher struct {
	entry  *entry
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

// ServeHTTP notes that e was chosen.
func (e *entry) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.(*matcher).entry = e }

// metadataRoutes returns the routes that the services' metadata asks for, each
// once however many instances there are: of services that are exposed and subjects
// that are wanted. A value that makes no sense loses its
// route, not its endpoint.
func metadataRoutes(services []mayfly.Service, exposed, wanted func(string) bool) []mayfly.Route {
	services = slices.SortedFunc(slices.Values(services), byAge)
	var routes []mayfly.Route
	type key struct{ service, endpoint, pattern string }
	seen := map[key]bool{}
	for _, s := range services {
		if !exposed(s.Name) {
			continue
		}
		for _, e := range s.Endpoints {
			if e.Metadata[mayfly.MetaHTTP] == "" || !wanted(e.Subject) {
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

// byAge orders services as their patterns win: the oldest first, then by name.
// Those whose age is not known yet come last.
func byAge(a, b mayfly.Service) int {
	if x, y := a.Started.IsZero(), b.Started.IsZero(); x != y {
		if x {
			return 1
		}
		return -1
	}
	return cmp.Or(a.Started.Compare(b.Started), strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
}

// clip shortens text from outside for an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
