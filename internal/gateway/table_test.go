package gateway_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/natstest"
)

// service returns an instance whose one endpoint asks for patterns.
func service(name, id string, started time.Time, patterns ...string) mayfly.Service {
	return mayfly.Service{Name: name, ID: id, Started: started, Endpoints: []mayfly.Endpoint{{
		Name: "do", Subject: name + ".do", Metadata: map[string]string{mayfly.MetaHTTP: strings.Join(patterns, "\n")},
	}}}
}

// listing says of each route whether it is in force, or why not.
func listing(g *gateway.Gateway) (list []string) {
	active, shadowed := g.Routes()
	for _, r := range active {
		list = append(list, r.Pattern.String()+" -> "+r.Target())
	}
	for _, s := range shadowed {
		list = append(list, s.Pattern.String()+" -> "+s.Target()+": "+s.Reason)
	}
	return list
}

func TestTableOrder(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	services := directory{
		service("young", "1", noon.Add(time.Hour), "/a", "/young"),
		service("old", "2", noon, "/a", "/b"),
		service("alike", "3", noon, "/b", "/c/{x}"),
		service("unknown", "4", time.Time{}, "/a", "/c/{y}", "/unknown"),
		service("old", "5", noon.Add(2*time.Hour), "/a", "/late"),
		service("young", "6", noon.Add(time.Hour), "/young"),
		service("greedy", "7", noon.Add(-time.Hour), "/svc/x", "/healthz", "/fn/y", "/mine"),
	}
	want := []string{
		"/mine -> mine",
		"/b -> alike/do",
		"/c/{x} -> alike/do",
		"/a -> old/do",
		"/young -> young/do",
		"/late -> old/do",
		"/unknown -> unknown/do",
		"/svc/x -> greedy/do: the gateway reserves this path",
		"/healthz -> greedy/do: the gateway reserves this path",
		"/fn/y -> greedy/do: the gateway reserves this path",
		`/mine -> greedy/do: conflicts with route "/mine"`,
		`/b -> old/do: conflicts with route "/b"`,
		`/a -> young/do: conflicts with route "/a"`,
		`/a -> unknown/do: conflicts with route "/a"`,
		`/c/{y} -> unknown/do: conflicts with route "/c/{x}"`,
	}
	mine := []mayfly.Route{route(t, "mine", "/mine", "mine", "")}
	for range 50 {
		rand.Shuffle(len(services), func(i, j int) { services[i], services[j] = services[j], services[i] })
		g := newGateway(t, &recorder{}, slices.Clone(services), gateway.Options{Functions: projects(mine)})
		if diff := cmp.Diff(want, listing(g)); diff != "" {
			t.Fatal(diff)
		}
		if s := g.Stats(); s.Routes != 7 || s.Shadowed != 8 {
			t.Errorf("stats %+v", s)
		}
	}
}

func TestTableMatchesAsServeMuxDoes(t *testing.T) {
	t.Parallel()
	g := newGateway(t, echoSubject, directory{}, gateway.Options{Hosts: []string{"shop.test"}, Functions: projects{
		route(t, "id", "/orders/{id}", "orders.one", ""),
		route(t, "new", "GET /orders/new", "orders.new", ""),
		route(t, "post", "POST /orders/{id}", "orders.post", ""),
		route(t, "tree", "/tree/", "tree", ""),
		route(t, "end", "GET /end/{$}", "end", ""),
		route(t, "rest", "/rest/{rest...}", "rest.>", ""),
		route(t, "host", "shop.test/orders/{id}", "orders.shop", ""),
		route(t, "purge", "PURGE /cache", "cache", ""),
		route(t, "get", "GET /cache", "read", ""),
		route(t, "crosses", "GET /orders/{id...}", "never", ""), // neither is more specific than /orders/{id}
		route(t, "twice", "/orders/{other}", "never", ""),       // the same requests
		route(t, "svc", "/svc/mine", "never", ""),
		route(t, "jobs", "/jobs", "never", ""),
		route(t, "fine", "/svcs", "svcs", ""),
	}})
	for _, tt := range []struct {
		name, method, host, path string
		status                   int
		want                     string // the subject, or a header
	}{
		{"a value", "GET", "localhost", "/orders/7", 200, "orders.one"},
		{"every method", "DELETE", "localhost", "/orders/7", 200, "orders.one"},
		{"a method of one's own", "BREW", "localhost", "/orders/7", 200, "orders.one"},
		{"the method is more specific", "POST", "localhost", "/orders/7", 200, "orders.post"},
		{"the literal is more specific", "GET", "localhost", "/orders/new", 200, "orders.new"},
		{"the host is more specific", "GET", "shop.test", "/orders/7", 200, "orders.shop"},
		{"no value", "GET", "localhost", "/orders/", 404, ""},
		{"one segment too many", "GET", "localhost", "/orders/7/8", 404, ""},
		{"a tree", "GET", "localhost", "/tree/a/b", 200, "tree"},
		{"a tree without its slash", "GET", "localhost", "/tree?x=1", 307, "/tree/?x=1"},
		{"posted, so it must be posted again", "POST", "localhost", "/tree", 307, "/tree/"},
		{"the end", "GET", "localhost", "/end/", 200, "end"},
		{"HEAD is GET's", "HEAD", "localhost", "/end/", 200, ""},
		{"behind the end", "GET", "localhost", "/end/x", 404, ""},
		{"rest", "GET", "localhost", "/rest/a/b/c", 200, "rest.a.b.c"},
		{"rest without anything", "GET", "localhost", "/rest/", 404, ""},
		{"rest without its slash", "GET", "localhost", "/rest", 307, "/rest/"},
		{"another method", "PURGE", "localhost", "/cache", 200, "cache"},
		{"a method nobody takes", "POST", "localhost", "/cache", 405, "GET, HEAD, PURGE"},
		{"almost reserved", "GET", "localhost", "/svcs", 200, "svcs"},
		{"reserved", "GET", "localhost", "/svc/mine/x", 404, ""},
		{"reserved too", "GET", "localhost", "/jobs", 501, ""},
		{"two slashes", "GET", "localhost", "//orders/7", 404, ""},
	} {
		w := serve(g, tt.method+" "+tt.path+" HTTP/1.1\r\nHost: "+tt.host+"\r\n\r\n")
		got := w.Body.String()
		switch tt.status {
		case 307:
			got = w.Header().Get("Location")
		case 405:
			got = w.Header().Get("Allow")
		case 404, 501:
			got = ""
		}
		if w.Code != tt.status || got != tt.want {
			t.Errorf("%s: %s %s = %d %q, want %d %q", tt.name, tt.method, tt.path, w.Code, got, tt.status, tt.want)
		}
	}
	_, shadowed := g.Routes()
	var reasons []string
	for _, s := range shadowed {
		reasons = append(reasons, s.Name+": "+s.Reason)
	}
	want := []string{
		`crosses: conflicts with route "/orders/{id}"`, `twice: conflicts with route "/orders/{id}"`,
		"svc: the gateway reserves this path", "jobs: the gateway reserves this path",
	}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Error(diff)
	}
}

// echoSubject answers with the subject that was called.
var echoSubject = callerFunc(func(_ context.Context, c mayfly.Call) (mayfly.Reply, error) {
	return mayfly.Reply{Status: 200, Body: []byte(c.Subject)}, nil
})

func TestRoutesAreInForceWhenRefreshReturns(t *testing.T) {
	t.Parallel()
	node := newRouted(projects{}, route(t, "a", "/a", "a", ""))
	g := newGateway(t, echoSubject, directory{}, gateway.Options{Functions: node})
	node.now.Store(&[]mayfly.Route{route(t, "b", "/b", "b", "")})
	g.Refresh()
	for path, status := range map[string]int{"/a": 404, "/b": 200} {
		if w := serve(g, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); w.Code != status {
			t.Errorf("%s = %d, want %d", path, w.Code, status)
		}
	}
}

func TestMetadataMakesRoutes(t *testing.T) {
	t.Parallel()
	d := open(t, gateway.Options{})
	meta := func(http, payload string) map[string]string {
		return map[string]string{mayfly.MetaHTTP: http, mayfly.MetaPayload: payload}
	}
	natstest.AddService(t, d.nc, "HackerNews", "1.0.0",
		natstest.Endpoint{Name: "top", Metadata: meta("GET /top/{n}", "{n}")},
		natstest.Endpoint{Name: "all", Metadata: meta("GET /all/{n}", "json")},
		natstest.Endpoint{Name: "several", Metadata: meta("GET /one/{n}\n  GET /two\nno pattern\n\nPOST /three", `{"n":{n}}`)},
		natstest.Endpoint{Name: "bad", Metadata: meta("GET /bad/{", "{n}")},
		natstest.Endpoint{Name: "badpayload", Metadata: meta("GET /badpayload", strings.Repeat("x", mayfly.MaxTemplate+1))},
		natstest.Endpoint{Name: "empty", Metadata: meta("", "")},
	)
	d.ask(t, "GET", "/svc/HackerNews/top", "") // asked for by name, a service is known before the next round
	d.waitFor(t, "/three")
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/top/3", "", 200, "3"},
		{"GET", "/top/%22x%22", "", 200, `"x"`},
		{"GET", "/all/3?user=Ada&n=4", "", 200, `{"n":"3","user":"Ada"}`},
		{"GET", "/one/3", "", 200, `{"n":3}`},
		{"GET", "/two?n=x%22y", "", 200, `{"n":"x\"y"}`},
		{"GET", "/two", "", 200, `{"n":null}`},
		{"POST", "/three", "body", 200, "body"},
		{"GET", "/bad/1", "", 404, ""},
		{"GET", "/badpayload", "", 404, ""},
		{"GET", "/svc/HackerNews/bad/still", "", 200, "still"},
		{"GET", "/svc/HackerNews/badpayload/still", "", 200, "still"},
	} {
		if a := d.ask(t, tt.method, tt.path, tt.body); a.StatusCode != tt.status || tt.status == 200 && a.body != tt.want {
			t.Errorf("%s %s = %d %q, want %d %q", tt.method, tt.path, a.StatusCode, a.body, tt.status, tt.want)
		}
	}
	doc := d.ask(t, "GET", "/openapi.json", "")
	for _, path := range []string{"/top/{n}", "/all/{n}", "/one/{n}", "/two", "/three", "/svc/HackerNews/bad"} {
		if !strings.Contains(doc.body, `"`+path+`"`) {
			t.Errorf("/openapi.json lacks %s", path)
		}
	}
}

// waitFor returns when a pattern with that path is in force.
func (d *door) waitFor(t *testing.T, path string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for range ticks.C {
		active, _ := d.Routes()
		if slices.ContainsFunc(active, func(r mayfly.Route) bool { return r.Pattern.Path == path }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come", path)
		}
	}
}

func TestRoutesChangeUnderLoad(t *testing.T) {
	t.Parallel()
	fixed := route(t, "fixed", "/fixed/{id}", "fixed.*", "")
	node := newRouted(projects{}, fixed)
	d := open(t, gateway.Options{Functions: node})
	natstest.Serve(t, d.nc, "fixed.*", func(m *nats.Msg) { m.Respond([]byte(m.Subject)) })
	natstest.AddService(t, d.nc, "Stays", "1.0.0", natstest.Endpoint{Name: "echo", Metadata: map[string]string{mayfly.MetaHTTP: "/stays"}})
	d.ask(t, "GET", "/svc/Stays/echo", "")
	d.waitFor(t, "/stays")

	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var called atomic.Int64
	for n := range 16 {
		clients.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				path, want := fmt.Sprintf("/fixed/%d", i), fmt.Sprintf("fixed.%d", i)
				switch (n + i) % 3 {
				case 1:
					path, want = "/svc/Stays/echo/x", "x"
				case 2:
					path, want = "/stays", ""
				}
				if a := d.ask(t, http.MethodGet, path, ""); a.StatusCode != 200 || a.body != want {
					t.Errorf("%s = %d %q", path, a.StatusCode, a.body)
					return
				}
				called.Add(1)
			}
		})
	}
	for n := range 10 {
		path := fmt.Sprintf("/comes/%d", n)
		s := natstest.AddService(t, d.nc, fmt.Sprintf("Comes%d", n), "1.0.0", natstest.Endpoint{
			Name: "echo", Subject: fmt.Sprintf("comes%d", n), Metadata: map[string]string{mayfly.MetaHTTP: path},
		})
		for i := range 20 {
			node.now.Store(&[]mayfly.Route{fixed, route(t, "other", fmt.Sprintf("/other/%d/%d", n, i), "other", "")})
			d.Refresh()
		}
		if a := d.ask(t, "GET", fmt.Sprintf("/svc/Comes%d/echo/x", n), ""); a.StatusCode != 200 {
			t.Errorf("the service that came: %d %s", a.StatusCode, a.body)
		}
		d.waitFor(t, path)
		s.Stop()
	}
	stop()
	clients.Wait()
	if called.Load() < 100 {
		t.Errorf("only %d calls", called.Load())
	}
}

// A thousand is a node with 10,000 functions, of which a thousand have a pattern, and
// a thousand routes. Its functions are on the bus too, as services.
type thousand struct {
	functionsFunc
	functions map[mayfly.Name]*mayfly.Unit
	projects  []mayfly.Route
	routes    []mayfly.Route // of the functions
}

func (t *thousand) Function(name mayfly.Name) (*mayfly.Unit, bool) {
	return t.functions[name], false
}
func (t *thousand) Routes() []mayfly.Route { return slices.Concat(t.projects, t.routes) }

// BenchmarkChange measures how long a change takes until it is in force.
func BenchmarkChange(b *testing.B) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	node := &thousand{functions: map[mayfly.Name]*mayfly.Unit{}}
	var services directory
	for n := range 10_000 {
		f := &mayfly.Unit{Name: mayfly.Name(fmt.Sprintf("f%d", n))}
		e := mayfly.Endpoint{Name: mayfly.FunctionEndpoint, Subject: "fn." + string(f.Name), Metadata: map[string]string{}}
		if n%10 == 0 {
			p := pattern(b, fmt.Sprintf("GET /f%d/{id}", n))
			f.HTTP = []mayfly.Pattern{p}
			e.Metadata[mayfly.MetaHTTP] = p.String()
			node.routes = append(node.routes, mayfly.Route{Name: string(f.Name), Pattern: p, Function: f.Name})
		}
		node.functions[f.Name] = f
		services = append(services, mayfly.Service{Name: string(f.Name), ID: "1", Started: noon, Endpoints: []mayfly.Endpoint{e}})
	}
	for n := range 1000 {
		node.projects = append(node.projects, mustRoute(b, fmt.Sprintf("/r%d/{id}", n)))
	}
	g := newGateway(b, &recorder{}, services, gateway.Options{Functions: node})
	last := len(node.routes) - 1
	n := 0
	for name, change := range map[string]func(){
		"function":         g.Refresh,
		"function-pattern": func() { node.routes[last].Pattern = pattern(b, fmt.Sprintf("GET /changed%d", n)); g.Refresh() },
		"route-target":     func() { node.projects[500].Summary = fmt.Sprint(n); g.Refresh() },
		"route-pattern":    func() { node.projects[500].Pattern = pattern(b, fmt.Sprintf("/r%d", n)); g.Refresh() },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n++
				change()
			}
		})
	}
}

func BenchmarkTable(b *testing.B) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for name, format := range map[string]string{"prefixes": "GET /s%d/{n}", "suffixes": "/{a}/{b}/s%d", "conflicts": "/{a%d}/same"} {
		b.Run(name, func(b *testing.B) {
			var services directory
			for n := range 10_000 {
				services = append(services, service(fmt.Sprintf("S%d", n), "1", noon, fmt.Sprintf(format, n)))
			}
			g := newGateway(b, &recorder{}, services, gateway.Options{})
			b.ReportAllocs()
			for b.Loop() {
				g.Refresh()
			}
		})
	}
}
