package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/dispatch"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/micro"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go"
	natsmicro "github.com/nats-io/nats.go/micro"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A door is a gateway that runs on a bus of its own until the end of the test.
type door struct {
	*gateway.Gateway
	url    string
	client *http.Transport
	bus    *bus.Bus
	nc     *nats.Conn // a user's connection to the same NATS
}

// open starts a gateway. Zero options expose every service.
func open(t *testing.T, o gateway.Options, limits ...dispatch.Options) *door {
	t.Helper()
	b := natstest.New(t)
	dir := micro.OpenDirectory(b, nil)
	t.Cleanup(func() { dir.Close() })
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	d := run(t, b, dir, o, limits...)
	d.bus, d.nc = b, natstest.Connect(t, b)
	return d
}

// run starts a gateway on whatever answers, until the end of the test.
func run(t *testing.T, c dispatch.Caller, dir services, o gateway.Options, limits ...dispatch.Options) *door {
	t.Helper()
	g := newGateway(t, c, dir, o, limits...)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	client := &http.Transport{} // its own, so that its idle connections do not keep the gateway up
	t.Cleanup(func() {
		client.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Errorf("gateway: %v", err)
		}
	})
	return &door{Gateway: g, url: "http://" + g.Addr().String(), client: client}
}

// An answer is what came back, read whole.
type answer struct {
	*http.Response
	body string
}

// ask sends a request and fails the test if no answer comes.
func (d *door) ask(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, d.url+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	resp, err := d.client.RoundTrip(r) // follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(data)}
}

// route returns a route to a subject.
func route(t *testing.T, name, pattern, subject, payload string) mayfly.Route {
	t.Helper()
	p, err := mayfly.ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	s, err := mayfly.ParseSubjectPattern(subject)
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := mayfly.ParseTemplate(payload)
	if err != nil {
		t.Fatal(err)
	}
	return mayfly.Route{Name: name, Pattern: p, Subject: s, Payload: tpl, Project: "test"}
}

func TestServiceIsReachedWithoutConfiguration(t *testing.T) {
	t.Parallel()
	d := open(t, gateway.Options{})
	natstest.AddService(t, d.nc, "Echo", "1.0.0", natstest.Endpoint{Name: "echo"}, natstest.Endpoint{
		Name: "fail", Answer: func(r natsmicro.Request) {
			r.Error("422", "not a story", []byte("why: "+string(r.Data())), natsmicro.WithHeaders(natsmicro.Headers{"X-Reason": {"a", "b"}}))
		},
	}, natstest.Endpoint{Name: "order", Subject: "orders.*.get", Answer: func(r natsmicro.Request) { r.Respond([]byte(r.Subject())) }})

	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"body is the payload", "POST", "/svc/Echo/echo", "hello", 200, "hello"},
		{"rest is the payload without a body", "GET", "/svc/Echo/echo/3", "", 200, "3"},
		{"rest keeps its slashes and loses its escapes", "GET", "/svc/Echo/echo/a/b%20c", "", 200, "a/b c"},
		{"body wins over rest", "POST", "/svc/Echo/echo/3", "4", 200, "4"},
		{"binary", "POST", "/svc/Echo/echo", "\x00\xff\xfe", 200, "\x00\xff\xfe"},
		{"neither body nor rest", "GET", "/svc/Echo/echo", "", 200, ""},
		{"by subject", "GET", "/svc/Echo/orders.*.get/42", "", 200, "orders.42.get"},
		{"wildcard takes its token from the rest", "GET", "/svc/Echo/order/42", "", 200, "orders.42.get"},
		{"too few tokens", "GET", "/svc/Echo/order", "", 404, ""},
		{"too many tokens", "GET", "/svc/Echo/order/1/2", "", 404, ""},
		{"token with a dot", "GET", "/svc/Echo/order/1.2", "", 400, ""},
		{"token that is a wildcard", "GET", "/svc/Echo/order/*", "", 400, ""},
		{"the service's own error", "POST", "/svc/Echo/fail", "x", 422, "why: x"},
		{"unknown endpoint", "GET", "/svc/Echo/nothing", "", 404, ""},
		{"unknown service", "GET", "/svc/Nobody/echo", "", 404, ""},
		{"no endpoint", "GET", "/svc/Echo", "", 404, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := d.ask(t, tt.method, tt.path, tt.body)
			if a.StatusCode != tt.status || tt.want != "" && a.body != tt.want {
				t.Errorf("%s %s = %d %q, want %d %q", tt.method, tt.path, a.StatusCode, a.body, tt.status, tt.want)
			}
			if a.Header.Get("X-Call-Id") == "" || a.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("answer lacks X-Call-Id or nosniff: %v", a.Header)
			}
		})
	}
	a := d.ask(t, "POST", "/svc/Echo/fail", "x")
	if diff := cmp.Diff([]string{"a", "b"}, a.Header["X-Reason"]); diff != "" {
		t.Error(diff)
	}
	if got := a.Header.Get("Nats-Service-Error"); got != "not a story" {
		t.Errorf("Nats-Service-Error = %q", got)
	}
}

func TestAnswersTellErrorsApart(t *testing.T) {
	t.Parallel()
	silent := route(t, "silent", "/silent", "silent", "")
	silent.Timeout = mayfly.Duration(50 * time.Millisecond)
	d := open(t, gateway.Options{Functions: projects{
		route(t, "nobody", "/nobody", "nobody", ""), silent, route(t, "get", "GET /only-get", "echo", ""),
	}})
	if _, err := d.nc.Subscribe("silent", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	natstest.Serve(t, d.nc, "echo", func(m *nats.Msg) { m.Respond(m.Data) })
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		code                     string
	}{
		{"nobody is there", "GET", "/nobody", "", 503, "unavailable"},
		{"somebody is silent", "GET", "/silent", "", 504, "timeout"},
		{"unknown path", "GET", "/unknown", "", 404, "not_found"},
		{"wrong method", "POST", "/only-get", "x", 405, "invalid"},
		{"too large", "POST", "/nobody", strings.Repeat("x", 3<<20), 413, "invalid"},
		{"no functions yet", "GET", "/fn/hello", "", 404, "not_found"},
		{"no jobs yet", "POST", "/async/hello", "x", 501, "unavailable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := d.ask(t, tt.method, tt.path, tt.body)
			var p struct {
				Status             int
				Code, Detail, Call string
			}
			if err := json.Unmarshal([]byte(a.body), &p); err != nil {
				t.Fatalf("%d %q: %v", a.StatusCode, a.body, err)
			}
			if a.StatusCode != tt.status || p.Status != tt.status || p.Code != tt.code {
				t.Errorf("answer %d, problem %+v, want %d %s", a.StatusCode, p, tt.status, tt.code)
			}
			if a.Header.Get("Content-Type") != "application/problem+json" || p.Call == "" || p.Call != a.Header.Get("X-Call-Id") {
				t.Errorf("problem %+v with headers %v", p, a.Header)
			}
		})
	}
	if a := d.ask(t, "POST", "/only-get", ""); a.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("Allow = %q", a.Header.Get("Allow"))
	}
	if a := d.ask(t, "GET", "/nobody", ""); a.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	a := d.ask(t, "POST", "/nobody", strings.Repeat("x", 3<<20))
	if !strings.Contains(a.body, "1048576") || !strings.Contains(a.body, "max_payload") {
		t.Errorf("413 does not name the limit: %s", a.body)
	}
}

func TestHeadersTravelBothWays(t *testing.T) {
	t.Parallel()
	d := open(t, gateway.Options{Functions: projects{route(t, "r", "/r/{id}", "r", "")}})
	got := make(chan nats.Header, 1)
	natstest.Serve(t, d.nc, "r", func(m *nats.Msg) {
		got <- m.Header
		reply := nats.NewMsg(m.Reply)
		reply.Header = nats.Header{"x-lower": {"1"}, "Set-Cookie": {"a=1", "b=2"}, "Mayfly-Status": {"201"}, "Nats-Secret": {"x"}, "Connection": {"close"}, "Content-Length": {"99"}}
		reply.Data = []byte(`{"ok":true}`)
		m.RespondMsg(reply)
	})
	a := d.ask(t, "PUT", "/r/7?q=1&q=2", "body", "X-Two", "1", "X-Two", "2", "Cookie", "c=d", "X-Forwarded-For", "6.6.6.6")
	h := <-got
	want := map[string][]string{
		"X-Two": {"1", "2"}, "Cookie": {"c=d"}, "Mayfly-Method": {"PUT"}, "Mayfly-Path": {"/r/7"},
		"Mayfly-Query": {"q=1&q=2"}, "Mayfly-Param-Id": {"7"}, "X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"},
		"Mayfly-Call": {a.Header.Get("X-Call-Id")},
	}
	for name, values := range want {
		if diff := cmp.Diff(values, h[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if h.Get("Traceparent") == "" || h.Get("Mayfly-Deadline") == "" {
		t.Errorf("no trace or deadline: %v", h)
	}
	if a.StatusCode != 201 || a.Header.Get("X-Lower") != "1" || len(a.Header["Set-Cookie"]) != 2 || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("answer %d %v", a.StatusCode, a.Header)
	}
	if a.Header.Get("Nats-Secret") != "" || a.Header.Get("Mayfly-Status") != "" || a.body != `{"ok":true}` {
		t.Errorf("answer %v %q", a.Header, a.body)
	}
	if !strings.HasPrefix(a.Header.Get("Server-Timing"), "bus;dur=") {
		t.Errorf("Server-Timing = %q", a.Header.Get("Server-Timing"))
	}
	if !bytes.Equal([]byte(a.Header.Get("X-Call-Id")), []byte(h.Get("Traceparent")[3:35])) {
		t.Errorf("a call without a trace begins one of its own id: %q", h.Get("Traceparent"))
	}
}
