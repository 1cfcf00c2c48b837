package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// An accessLog remembers what it was told.
type accessLog struct{ told []telemetry.Access }

func (l *accessLog) Log(a telemetry.Access) { l.told = append(l.told, a) }

func TestAccessLogIsToldOfEachExchange(t *testing.T) {
	t.Parallel()
	log := &accessLog{}
	services := directory{{Name: "Echo", ID: "1", Endpoints: []mayfly.Endpoint{{Name: "echo", Subject: "echo"}}}}
	g := newGateway(t, replying(reply(200, "hello")), services, gateway.Options{
		Access: log, Functions: projects{route(t, "r", "GET /orders/{id}", "orders.one", "")},
	})
	for _, tt := range []struct {
		name, request string
		want          telemetry.Access
	}{
		{"a route", "GET /orders/7?token=secret", telemetry.Access{Method: "GET", Path: "/orders/7", Status: 200, Bytes: 5, Route: "GET /orders/{id}"}},
		{"HEAD", "HEAD /orders/7", telemetry.Access{Method: "HEAD", Path: "/orders/7", Status: 200, Route: "GET /orders/{id}"}},
		{"a service", "GET /svc/Echo/echo", telemetry.Access{Method: "GET", Path: "/svc/Echo/echo", Status: 200, Bytes: 5, Route: "svc"}},
		{"our own", "GET /healthz", telemetry.Access{Method: "GET", Path: "/healthz", Status: 200, Bytes: 3, Route: "builtin"}},
		{"nothing", "GET /x%0a%1b%5b31m", telemetry.Access{Method: "GET", Path: "/x%0a%1b%5b31m", Status: 400, Route: "none", Err: "the path has a control character"}},
		{"a long path", "GET /" + strings.Repeat("a", 200), telemetry.Access{Method: "GET", Path: "/" + strings.Repeat("a", 119) + "...", Status: 404, Route: "none"}},
	} {
		log.told = nil
		w := serve(g, tt.request+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if len(log.told) != 1 {
			t.Fatalf("%s: told %d times", tt.name, len(log.told))
		}
		got := log.told[0]
		if got.Call == "" || got.Call != w.Header().Get("X-Call-Id") || got.Took < 0 || got.Took != got.Took.Round(time.Microsecond) {
			t.Errorf("%s: %+v", tt.name, got)
		}
		if tt.want.Status >= 400 && tt.want.Err == "" {
			tt.want.Err = got.Err
		}
		if tt.want.Bytes == 0 && tt.want.Method != http.MethodHead {
			tt.want.Bytes = w.Body.Len()
		}
		tt.want.Call, tt.want.Took = got.Call, got.Took
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestStatsCountExchanges(t *testing.T) {
	t.Parallel()
	services := directory{{Name: "Echo", ID: "1", Endpoints: []mayfly.Endpoint{{Name: "echo", Subject: "echo"}}}}
	g := newGateway(t, replying(reply(201, "")), services, gateway.Options{Functions: projects{route(t, "r", "/r", "r", "")}})
	for path, times := range map[string]int{"/r": 3, "/svc/Echo/echo": 2, "/healthz": 4, "/none": 5, "/svc/Nobody/x": 1} {
		for range times {
			serve(g, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		}
	}
	s := g.Stats()
	if diff := cmp.Diff(map[int]uint64{201: 5, 200: 4, 404: 6}, s.Statuses); diff != "" {
		t.Error(diff)
	}
	kinds := map[string]uint64{}
	for kind, d := range s.Durations {
		kinds[kind] = d.Count
	}
	if diff := cmp.Diff(map[string]uint64{"route": 3, "svc": 3, "builtin": 4, "fn": 0, "none": 5}, kinds); diff != "" {
		t.Error(diff)
	}
	if s.Errors[mayfly.NotFound] != 6 || s.Errors[mayfly.Internal] != 0 {
		t.Errorf("errors by code: %v", s.Errors)
	}
	if s.InFlight != 0 || s.Routes != 1 || s.Shadowed != 0 {
		t.Errorf("%+v", s)
	}
}

// A discarding answers to nobody, so that a benchmark measures the gateway alone.
type discarding struct{ header http.Header }

func (d discarding) Header() http.Header         { return d.header }
func (d discarding) WriteHeader(int)             {}
func (d discarding) Write(b []byte) (int, error) { return len(b), nil }

func BenchmarkServeHTTP(b *testing.B) {
	services := directory{{Name: "Echo", ID: "1", Endpoints: []mayfly.Endpoint{{Name: "echo", Subject: "echo"}}}}
	g := newGateway(b, replying(reply(200, `{"ok":true}`)), services, gateway.Options{Functions: projects{mustRoute(b, "/orders/{id}")}})
	for _, path := range []string{"/orders/7", "/svc/Echo/echo", "/healthz", "/none"} {
		b.Run(strings.ReplaceAll(path[1:], "/", "-"), func(b *testing.B) {
			r := httptest.NewRequest("POST", path, nil)
			if path == "/healthz" {
				r.Method = "GET"
			}
			r.Host, r.RemoteAddr = "localhost", "127.0.0.1:1234"
			r.Header = http.Header{"User-Agent": {"bench"}, "Accept": {"*/*"}, "Content-Type": {"application/json"}}
			w := discarding{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				g.ServeHTTP(w, r)
			}
		})
	}
}

func mustRoute(b *testing.B, path string) mayfly.Route {
	s, err := mayfly.ParseSubjectPattern("orders.one")
	if err != nil {
		b.Fatal(err)
	}
	return mayfly.Route{Name: "r", Pattern: pattern(b, path), Subject: s, Project: "test"}
}
