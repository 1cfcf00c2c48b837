package gateway

import (
	"fmt"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func routesTo(t testing.TB, subject string, patterns ...string) []mayfly.Route {
	t.Helper()
	s, err := mayfly.ParseSubjectPattern(subject)
	if err != nil {
		t.Fatal(err)
	}
	var routes []mayfly.Route
	for _, text := range patterns {
		p, err := mayfly.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, mayfly.Route{Name: text, Pattern: p, Subject: s})
	}
	return routes
}

// Registering patterns is most of the work of a table.
func TestTablesShareTheirPatterns(t *testing.T) {
	t.Parallel()
	free := func(mayfly.Pattern) bool { return false }
	first := newTable(nil, routesTo(t, "a", "/x", "GET /y/{id}", "/x"), free)
	same := newTable(first, routesTo(t, "b", "/x", "GET /y/{id}", "/x"), free)
	if same.patterns != first.patterns {
		t.Error("the same patterns were registered again")
	}
	if same.entries[0].Subject.String() != "b" || len(same.entries) != 2 || len(same.shadowed) != 1 {
		t.Errorf("entries %v, shadowed %v", same.entries, same.shadowed)
	}
	for _, other := range [][]string{{"/x", "GET /y/{id}"}, {"GET /y/{id}", "/x", "/x"}, {"/x", "/y/{id}", "/x"}, {}} {
		if newTable(first, routesTo(t, "a", other...), free).patterns == first.patterns {
			t.Errorf("%q match by the patterns of other routes", other)
		}
	}
}

// Only endpoints that ask for patterns are looked at, each a fixed number of times,
// however many functions and routes this node has.
func TestMetadataIsLookedAtOnce(t *testing.T) {
	t.Parallel()
	var services []mayfly.Service
	for n := range 1000 {
		e := mayfly.Endpoint{Name: "do", Subject: fmt.Sprintf("s%d", n)}
		if n%10 == 0 {
			e.Metadata = map[string]string{mayfly.MetaHTTP: fmt.Sprintf("/s%d", n)}
		}
		services = append(services, mayfly.Service{Name: fmt.Sprintf("S%d", n), Endpoints: []mayfly.Endpoint{e}})
	}
	exposed, skipped := 0, 0
	routes := metadataRoutes(services, func(mayfly.Service) bool { exposed++; return true }, func(mayfly.Endpoint) bool { skipped++; return false })
	if len(routes) != 100 || exposed != 100 || skipped != 200 {
		t.Errorf("%d routes, exposed was asked %d times, skip %d times", len(routes), exposed, skipped)
	}
}
