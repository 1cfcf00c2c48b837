package gateway_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/gateway"
)

// A shelf holds functions with the same code.
type shelf struct {
	functionsFunc
	units  map[mayfly.Name]*mayfly.Unit
	routes []mayfly.Route
}

func (s shelf) Function(name mayfly.Name) (*mayfly.Unit, bool) { return s.units[name], false }
func (s shelf) Routes() []mayfly.Route                         { return s.routes }

func (s shelf) Call(ctx context.Context, name mayfly.Name, c *mayfly.Call) (mayfly.Reply, error) {
	c.Subject = mayfly.Subject(name)
	return s.functionsFunc(ctx, c)
}

// openFunctions starts a gateway with functions that do CORS themselves ("own", "any"), not
// at all ("plain"), or leave it to the gateway ("declared").
func openFunctions(t *testing.T, o gateway.Options) *door {
	t.Helper()
	code := func(_ context.Context, c *mayfly.Call) (mayfly.Reply, error) {
		answer := reply(200, c.Method+" "+c.Path+" "+c.Header.Get("Mayfly-Param-Id"))
		if c.Stream != nil {
			answer.Header.Set("X-Streamed", "yes")
			_, _ = io.Copy(io.Discard, c.Stream)
		}
		origin := c.Header.Get("Origin")
		switch c.Subject {
		case "plain":
			return answer, nil
		case "any":
			answer.Header.Set("Access-Control-Allow-Origin", "*")
		default:
			if origin == "https://shop.example" {
				answer.Header.Set("Access-Control-Allow-Origin", origin)
				answer.Header.Set("Access-Control-Allow-Credentials", "true")
			}
		}
		if c.Method == http.MethodOptions {
			answer.Status = 204
			answer.Header.Set("X-By", "function")
		}
		return answer, nil
	}
	shop := &mayfly.CORS{Origins: []string{"https://shop.example"}}
	to := func(name, pattern string, function mayfly.Name) mayfly.Route {
		r := route(t, name, pattern, "x", "")
		r.Subject, r.Project, r.Function = mayfly.SubjectPattern{}, "p", function
		return r
	}
	service := to("by-service", "POST /service/{id}", "")
	service.Service, service.Endpoint = "own", "call"
	o.Functions = shelf{code, map[mayfly.Name]*mayfly.Unit{
		"own": {Name: "own"}, "any": {Name: "any"}, "plain": {Name: "plain"}, "declared": {Name: "declared", CORS: shop},
		"script": {Name: "script", Program: mayfly.Program{Engine: mayfly.EngineExec}},
		"cgi":    {Name: "cgi", Program: mayfly.Program{Engine: mayfly.EngineExec, CGI: true}},
	}, []mayfly.Route{
		to("own", "POST /own/{id}", "own"), to("to-plain", "/plain", "plain"), to("to-declared", "POST /declared", "declared"), service,
	}}
	return run(t, replying(reply(500, "the bus")), directory{}, o)
}

// A said is a log whose lines a test waits for.
type said chan string

func (s said) Write(line []byte) (int, error) {
	s <- string(line)
	return len(line), nil
}

// A browser that gets no permission sends nothing that the gateway could refuse, so the
// developer's terminal says what to write.
func TestPreflightThatAFunctionDoesNotAnswerIsTold(t *testing.T) {
	t.Parallel()
	log := make(said, 100)
	d := openFunctions(t, gateway.Options{Development: true, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	ask := func(path, origin string) {
		d.ask(t, "OPTIONS", path, "", "Origin", origin, "Access-Control-Request-Method", "POST")
	}
	ask("/fn/own", "https://shop.example") // permits it
	ask("/fn/declared", "https://evil.example")
	ask("/fn/plain", "https://shop.example")
	ask("/to-plain", "https://shop.example") // is no path
	ask("/own/7", "https://evil.example")
	for _, want := range []string{"cors: https://shop.example` in mayfly.yaml at functions.plain", "cors: https://evil.example` in mayfly.yaml at functions.own"} {
		if line := <-log; !strings.Contains(line, want) || !strings.Contains(line, "cross-origin request blocked") {
			t.Errorf("the log says %s, not %s", line, want)
		}
	}
	if len(log) > 0 {
		t.Errorf("the log says also %s", <-log)
	}
}

// A page of another origin uses a function as the function or its cors: says, whether the
// gateway is public or not.
func TestPageOfAnotherOriginUsesFunctions(t *testing.T) {
	t.Parallel()
	const shop, evil = "https://shop.example", "https://evil.example"
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		d := openFunctions(t, gateway.Options{Addr: addr})
		for _, tt := range []struct {
			method, path, origin string
			more                 []string
			status               int
			allowed              string // origin of the answer
			want                 string // in the body or headers
		}{
			{"OPTIONS", "/fn/own", shop, nil, 204, shop, "function"},
			{"OPTIONS", "/function/own", shop, nil, 204, shop, "function"},
			{"OPTIONS", "/own/7", shop, nil, 204, shop, "function"}, // the pattern takes POST alone
			{"OPTIONS", "/service/7", shop, nil, 204, shop, "function"},
			{"OPTIONS", "/fn/own", evil, nil, 204, "", "function"},
			{"OPTIONS", "/fn/plain", shop, nil, 200, "", ""},
			{"OPTIONS", "/fn/declared", shop, nil, 204, shop, "GET, HEAD, POST"},
			{"OPTIONS", "/declared", shop, nil, 204, shop, "POST"},
			{"OPTIONS", "/fn/declared", evil, nil, 204, "", ""},
			{"POST", "/fn/own/a", shop, []string{"Content-Type", "application/json"}, 200, shop, "POST /a"},
			{"POST", "/fn/own/a", shop, []string{"Content-Type", "text/plain", "Cookie", "a=b"}, 200, shop, "POST /a"},
			{"POST", "/fn/own", evil, []string{"Content-Type", "text/plain; charset=application/json"}, 403, evil, "functions.own"},
			{"POST", "/fn/own", "null", nil, 403, "null", "cors: ORIGIN"},
			{"POST", "/fn/own", "null", nil, 403, "null", "matches `*` alone"},
			{"POST", "/fn/own", evil, []string{"Content-Type", "application/json", "Sec-Fetch-Mode", "cors"}, 200, "", "POST"},
			{"POST", "/fn/own", evil, []string{"Content-Type", "application/json", "Sec-Fetch-Mode", "no-cors"}, 403, evil, "functions.own"},
			{"POST", "/fn/own", evil, []string{"Content-Type", "text/ping"}, 403, evil, "functions.own"},
			{"POST", "/fn/own", evil, []string{"Content-Type", "application/csp-report"}, 403, evil, "functions.own"},
			{"POST", "/fn/own", evil, []string{"Content-Type", "application/reports+json"}, 403, evil, "functions.own"},
			{"POST", "/fn/own", shop, []string{"Content-Type", "application/reports+json"}, 200, shop, "POST"},
			{"POST", "/fn/own", evil, nil, 403, evil, "functions.own"}, // no type
			{"POST", "/fn/script", shop, nil, 403, shop, "functions.script"},
			{"POST", "/fn/cgi", shop, nil, 200, shop, "POST"},
			{"DELETE", "/fn/own", shop, nil, 200, shop, "DELETE"},
			{"POST", "/own/7", shop, []string{"Content-Type", "application/json"}, 200, shop, "7"},
			{"POST", "/service/7", shop, []string{"Content-Type", "application/json"}, 200, shop, "7"},
			{"POST", "/fn/any", evil, nil, 200, "*", "POST"},
			{"POST", "/fn/any", evil, []string{"Cookie", "a=b"}, 403, evil, "functions.any"},
			{"POST", "/fn/plain", shop, nil, 403, shop, "write `cors: https://shop.example` in mayfly.yaml at functions.plain"},
			{"POST", "/plain", shop, nil, 403, shop, "write `cors: https://shop.example` in mayfly.yaml at routes.to-plain"},
			{"POST", "/fn/declared", shop, nil, 200, shop, "POST"},
			{"POST", "/declared", shop, nil, 200, shop, "POST"},
			{"POST", "/fn/declared", evil, nil, 403, evil, "functions.declared"},
			{"GET", "/fn/declared", shop, nil, 200, shop, "GET"},
			{"GET", "/fn/own", shop, nil, 200, shop, "GET"},
			{"POST", "/fn/declared", shop, []string{"long", ""}, 200, shop, "yes"},
			{"POST", "/declared", shop, []string{"long", ""}, 200, shop, "yes"},
			{"POST", "/service/7", shop, []string{"long", "", "Content-Type", "application/json"}, 200, shop, "yes"},
		} {
			headers := append([]string{"Origin", tt.origin, "Sec-Fetch-Site", "cross-site"}, tt.more...)
			body := "x"
			if i := slices.Index(headers, "long"); i >= 0 {
				headers, body = slices.Delete(headers, i, i+2), strings.Repeat("x", 1<<20)
			}
			if tt.method == http.MethodOptions {
				headers, body = append(headers, "Access-Control-Request-Method", "POST"), ""
			}
			a := d.ask(t, tt.method, tt.path, body, headers...)
			got := a.body + a.Header.Get("X-By") + a.Header.Get("X-Streamed") + a.Header.Get("Access-Control-Allow-Methods")
			if a.StatusCode != tt.status || a.Header.Get("Access-Control-Allow-Origin") != tt.allowed || !strings.Contains(got, tt.want) {
				t.Errorf("%s: %s %s %s %q: %d %v %s, want %d, %q, %q", addr, tt.method, tt.path, tt.origin, tt.more, a.StatusCode, a.Header, a.body, tt.status, tt.allowed, tt.want)
			}
		}
	}
}

func TestProxyThatIsTrustedNamesTheHostOfThePage(t *testing.T) {
	t.Parallel()
	for _, trust := range []bool{false, true} {
		d := openFunctions(t, gateway.Options{Trust: trust})
		a := d.ask(t, "POST", "/fn/plain", "x", "Origin", "http://shop.example", "X-Forwarded-Host", "shop.example")
		if ok := a.StatusCode == 200; ok != trust {
			t.Errorf("trust is %v: %d %s", trust, a.StatusCode, a.body)
		}
	}
}

func TestFunctionIsFoundByItsNameInOpenFaaS(t *testing.T) {
	t.Parallel()
	d := openFunctions(t, gateway.Options{})
	if a := d.ask(t, "GET", "/function/plain.openfaas-fn/a", ""); a.StatusCode != 200 || !strings.HasPrefix(a.body, "GET /a") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// A function names its paths as it sees them; below /fn/<name> the client needs others.
func TestRedirectsAndCookiesStayBelowThePrefix(t *testing.T) {
	t.Parallel()
	var header http.Header
	f := functionsFunc(func(context.Context, *mayfly.Call) (mayfly.Reply, error) {
		return mayfly.Reply{Status: 302, Header: header.Clone()}, nil
	})
	units := map[mayfly.Name]*mayfly.Unit{"f": {Name: "f"}}
	g := newGateway(t, replying(reply(200, "")), directory{}, gateway.Options{
		Functions: shelf{f, units, []mayfly.Route{route(t, "home", "/dashboard/{page...}", "x", ""), route(t, "post", "POST /posts", "x", ""), route(t, "site", "/{path...}", "x", "")}},
		Mounts:    []gateway.Mount{{Segment: "system", Serve: func(http.ResponseWriter, *http.Request) error { return nil }}},
	})
	for _, tt := range []struct{ name, given, want string }{
		{"Location", "/dashboard/home?a=b", "/dashboard/home?a=b"},
		{"Location", "http://localhost:80/dashboard/", "http://localhost:80/dashboard/"},
		{"Location", "/posts", "/fn/f/posts"}, // GET has no route
		{"Location", "/system/x", "/system/x"},
		{"Location", "/healthz", "/healthz"},
		{"Location", "/healthz/x", "/fn/f/healthz/x"},
		{"Location", "/openapi.json", "/openapi.json"},
		{"Location", "/jobs", "/fn/f/jobs"},
		{"Location", "/login?to=/x", "/fn/f/login?to=/x"},
		{"Location", "/", "/fn/f/"},
		{"Location", "login", "login"},
		{"Location", "/fn/f/login", "/fn/f/login"},
		{"Location", "/fn/other", "/fn/other"},
		{"Location", "//evil.test/x", "//evil.test/x"},
		{"Location", "https://evil.test/x", "https://evil.test/x"},
		{"Location", "http://localhost:80/items/", "http://localhost:80/fn/f/items/"},
		{"Set-Cookie", "a=b; Path=/; HttpOnly", "a=b; Path=/fn/f; HttpOnly"},
		{"Set-Cookie", "a=b; HttpOnly; path=/admin", "a=b; HttpOnly; path=/fn/f/admin"},
		{"Set-Cookie", "a=b; HttpOnly", "a=b; HttpOnly"},
		{"Set-Cookie", "a=Path=/; Path=/fn/f", "a=Path=/; Path=/fn/f"},
		{"Set-Cookie", "__Host-a=b; Path=/; Secure", "__Host-a=b; Path=/; Secure"},
	} {
		header = http.Header{tt.name: {tt.given}}
		w := serve(g, "GET /fn/f/x HTTP/1.1\r\nHost: localhost:80\r\n\r\n")
		if got := w.Header().Get(tt.name); got != tt.want {
			t.Errorf("%s %q becomes %q, want %q", tt.name, tt.given, got, tt.want)
		}
		if header.Get(tt.name) != tt.given {
			t.Error("the reply's own header was changed")
		}
	}
}

func TestProblemsLeaveSignsAlone(t *testing.T) {
	t.Parallel()
	g := newGateway(t, replying(reply(200, "")), directory{}, gateway.Options{Expose: []string{}})
	for path, want := range map[string]string{"/fn/none": "/svc/<service>/<endpoint>", "/none": "--gateway.expose 'NAME,...'", "/svc/A/b": "--gateway.expose 'NAME,...'"} {
		if w := serve(g, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); w.Code != 404 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
