package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/gateway"
)

// openCORS starts a gateway with routes of all kinds of CORS, answered 200.
func openCORS(t *testing.T) *door {
	t.Helper()
	with := func(name, pattern string, c *mayfly.CORS) mayfly.Route {
		r := route(t, name, pattern, name, "")
		r.CORS = c
		return r
	}
	shop := []string{"https://shop.example"}
	caller := replying(reply(200, "answer", "Vary", "Accept", "Access-Control-Allow-Origin", "https://evil.example"))
	return run(t, caller, directory{}, gateway.Options{Functions: projects{
		with("none", "/none", nil),
		with("post", "POST /shared", &mayfly.CORS{Origins: shop, Headers: []string{"Content-Type", "X-Key"}, MaxAge: mayfly.Duration(time.Hour), Credentials: true}),
		with("get", "GET /shared", &mayfly.CORS{Origins: []string{"*"}, Expose: []string{"X-Total"}}),
		with("every", "/every", &mayfly.CORS{Origins: shop}),
		with("limited", "/limited", &mayfly.CORS{Origins: shop, Methods: []string{"PUT"}}),
		with("own", "/own", &mayfly.CORS{Origins: shop}),
		with("own-options", "OPTIONS /own", nil),
		with("left", "GET /cross/{x}", &mayfly.CORS{Origins: shop}),
		with("right", "PUT /{x}/cross", &mayfly.CORS{Origins: shop}),
	}})
}

func TestPreflightIsAnsweredForTheRouteItAsksAbout(t *testing.T) {
	t.Parallel()
	d := openCORS(t)
	for _, tt := range []struct {
		name, path, origin, method string
		status                     int
		want                       map[string]string
	}{
		{"POST", "/shared", "https://shop.example", "POST", 204, map[string]string{
			"Origin": "https://shop.example", "Methods": "POST", "Headers": "Content-Type, X-Key", "Max-Age": "3600", "Credentials": "true",
		}},
		{"GET on the same path", "/shared", "https://other.example", "GET", 204, map[string]string{"Origin": "*", "Methods": "GET, HEAD", "Headers": "Content-Type"}},
		{"HEAD is GET's", "/shared", "https://other.example", "HEAD", 204, map[string]string{"Origin": "*", "Methods": "GET, HEAD", "Headers": "Content-Type"}},
		{"another origin", "/shared", "https://evil.example", "POST", 204, nil},
		{"an origin that begins alike", "/shared", "https://shop.example.evil.example", "POST", 204, nil},
		{"another scheme", "/shared", "http://shop.example", "POST", 204, nil},
		{"a method without a route", "/shared", "https://shop.example", "DELETE", 405, nil},
		{"a route without CORS", "/none", "https://shop.example", "POST", 200, nil}, // takes every method, so also OPTIONS
		{"every method", "/every", "https://shop.example", "PATCH", 204, map[string]string{
			"Origin": "https://shop.example", "Methods": "GET, HEAD, POST, PUT, PATCH, DELETE", "Headers": "Content-Type",
		}},
		{"limited methods", "/limited", "https://shop.example", "PUT", 204, map[string]string{"Origin": "https://shop.example", "Methods": "PUT", "Headers": "Content-Type"}},
		{"an OPTIONS route of the user's own", "/own", "https://shop.example", "POST", 200, nil},
		{"patterns that cross, one", "/cross/x", "https://shop.example", "GET", 204, map[string]string{"Origin": "https://shop.example", "Methods": "GET, HEAD", "Headers": "Content-Type"}},
		{"patterns that cross, the other", "/x/cross", "https://shop.example", "PUT", 204, map[string]string{"Origin": "https://shop.example", "Methods": "PUT", "Headers": "Content-Type"}},
		{"no origin is no preflight", "/shared", "", "POST", 405, nil},
		{"unknown path", "/unknown", "https://shop.example", "POST", 404, nil},
		{"no route of the user's", "/svc/Echo/echo", "https://shop.example", "POST", 404, nil},
	} {
		headers := []string{"Access-Control-Request-Method", tt.method, "Sec-Fetch-Site", "cross-site"}
		if tt.origin != "" {
			headers = append(headers, "Origin", tt.origin)
		}
		a := d.ask(t, "OPTIONS", tt.path, "", headers...)
		if a.StatusCode != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, a.StatusCode, a.body, tt.status)
		}
		if tt.status == 200 {
			continue // the service's own answer
		}
		for short, full := range map[string]string{
			"Origin": "Allow-Origin", "Methods": "Allow-Methods", "Headers": "Allow-Headers", "Max-Age": "Max-Age", "Credentials": "Allow-Credentials",
		} {
			if got := a.Header.Get("Access-Control-" + full); got != tt.want[short] {
				t.Errorf("%s: %s = %q, want %q", tt.name, full, got, tt.want[short])
			}
		}
		if tt.status == 204 && a.Header.Get("Vary") != "Origin" {
			t.Errorf("%s: Vary = %q", tt.name, a.Header.Get("Vary"))
		}
	}
}

func TestAnswerMayBeReadByOriginsOfTheRoute(t *testing.T) {
	t.Parallel()
	d := openCORS(t)
	for _, tt := range []struct {
		name, method, path, origin string
		allowed                    []string
		expose                     string
	}{
		{"its origin", "POST", "/shared", "https://shop.example", []string{"https://shop.example"}, "X-Call-Id, Server-Timing"},
		{"any origin", "GET", "/shared", "https://other.example", []string{"*"}, "X-Call-Id, Server-Timing, X-Total"},
		{"the origin null", "GET", "/shared", "null", []string{"*"}, "X-Call-Id, Server-Timing, X-Total"},
		{"another origin", "GET", "/every", "https://evil.example", nil, ""},
		{"no origin", "GET", "/every", "", nil, ""},
		{"a route without CORS is the service's own affair", "GET", "/none", "https://evil.example", []string{"https://evil.example"}, ""},
	} {
		var headers []string
		if tt.origin != "" {
			headers = []string{"Origin", tt.origin}
		}
		if tt.method == "POST" {
			headers = append(headers, "Sec-Fetch-Site", "cross-site")
		}
		a := d.ask(t, tt.method, tt.path, "", headers...)
		if a.StatusCode != 200 {
			t.Errorf("%s: %d %s", tt.name, a.StatusCode, a.body)
		}
		if got := a.Header["Access-Control-Allow-Origin"]; strings.Join(got, "|") != strings.Join(tt.allowed, "|") {
			t.Errorf("%s: allowed %q, want %q", tt.name, got, tt.allowed)
		}
		if got := a.Header.Get("Access-Control-Expose-Headers"); got != tt.expose {
			t.Errorf("%s: exposes %q, want %q", tt.name, got, tt.expose)
		}
		vary := strings.Join(a.Header["Vary"], ", ")
		if want := "Accept"; !strings.HasSuffix(vary, want) || strings.HasPrefix(vary, "Origin") != (tt.path != "/none") {
			t.Errorf("%s: Vary = %q", tt.name, vary)
		}
	}
}

func TestWebPageOfAnotherOriginMayNotCall(t *testing.T) {
	t.Parallel()
	d := openCORS(t)
	for _, tt := range []struct {
		name, method, path string
		headers            []string
		status             int
	}{
		{"cross-site POST", "POST", "/none", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"same-site POST", "POST", "/none", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"same-origin POST", "POST", "/none", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"typed by a person", "POST", "/none", []string{"Sec-Fetch-Site", "none"}, 200},
		{"an old browser", "POST", "/none", []string{"Origin", "https://evil.example"}, 403},
		{"no browser", "POST", "/none", nil, 200},
		{"cross-site POST to a service", "POST", "/svc/Echo/echo", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"cross-site GET", "GET", "/none", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		{"an origin of the route", "POST", "/every", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://shop.example"}, 200},
		{"not an origin of the route", "POST", "/every", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"not a method for the origin", "POST", "/limited", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://shop.example"}, 403},
	} {
		a := d.ask(t, tt.method, tt.path, "x", tt.headers...)
		if a.StatusCode != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, a.StatusCode, a.body, tt.status)
		}
		if a.StatusCode == http.StatusForbidden && !strings.Contains(a.body, "cors:") {
			t.Errorf("%s: %s does not say how to allow it", tt.name, a.body)
		}
	}
}

// A slow is the function "f", whose build does not end while callers wait.
type slow struct {
	functionsFunc
	routes         []mayfly.Route
	waited, listed atomic.Int64
}

func (s *slow) Function(mayfly.Name) (*mayfly.Unit, bool) { return nil, true }
func (s *slow) Routes() []mayfly.Route                    { return s.routes }

func (s *slow) Functions() []*mayfly.Unit {
	s.listed.Add(1)
	return nil
}

func (s *slow) Built(context.Context, mayfly.Name) error {
	s.waited.Add(1)
	return mayfly.Errorf(mayfly.Unavailable, "it is being built")
}

func TestPreflightWaitsForABuildOnce(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/fn/f", "/r"} {
		r := route(t, "r", "/r", "f", "")
		r.Subject, r.Function = mayfly.SubjectPattern{}, "f"
		f := &slow{routes: []mayfly.Route{r}}
		g := newGateway(t, &recorder{}, directory{}, gateway.Options{Functions: f})
		w := serve(g, "OPTIONS "+path+" HTTP/1.1\r\nHost: localhost\r\nOrigin: http://page.example\r\nAccess-Control-Request-Method: POST\r\n\r\n")
		if n := f.waited.Load(); w.Code != http.StatusServiceUnavailable || n != 1 {
			t.Errorf("%s: %d %s after %d waits", path, w.Code, w.Body, n)
		}
	}
}
