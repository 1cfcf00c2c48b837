package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/gateway"
)

// Whatever comes by the wire is answered, and what is published goes to a subject
// that may be published to, with headers that may travel.
func FuzzServeHTTP(f *testing.F) {
	for _, text := range []string{
		"GET /one/7 HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST /rest/a/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi",
		"POST /svc/S/one/%2a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
		"GET /svc/S/rest/$JS/API?x=%zz HTTP/1.1\r\nHost: localhost\r\nNats-Trace-Dest: x\r\nConnection: mayfly-call,,\r\n\r\n",
		"GET http://localhost/meta/%ff?n=1 HTTP/1.0\r\nTraceparent: 00-0-0-0\r\nPrefer: respond-async;a, b\r\n\r\n",
		"OPTIONS /cors HTTP/1.1\r\nHost: localhost\r\nOrigin: https://shop.example\r\nAccess-Control-Request-Method: CONNECT\r\n\r\n",
		"CONNECT one:7 HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"HEAD /svc HTTP/1.1\r\nHost: [::1]:80\r\nIf-None-Match: \"\",W/*\r\n\r\n",
		"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: ,\r\n\r\n",
		"* * HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /meta/a%2fb/..%2f HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	services := directory{{Name: "S", ID: "1", Endpoints: []mayfly.Endpoint{
		{Name: "one", Subject: "one.*.get"},
		{Name: "rest", Subject: "rest.>"},
		{Name: "meta", Subject: "meta", Metadata: map[string]string{mayfly.MetaHTTP: "/meta/{n}", mayfly.MetaPayload: `{"n":{n},"q":"{q}"}`}},
	}}}
	routes := []mayfly.Route{fuzzRoute(f, "/one/{id}", "one.*.get"), fuzzRoute(f, "/rest/{rest...}", "rest.>"), fuzzRoute(f, "POST /cors", "cors")}
	routes[2].CORS = &mayfly.CORS{Origins: []string{"*"}}
	f.Fuzz(func(t *testing.T, wire []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
		if err != nil {
			return
		}
		caller := callerFunc(func(_ context.Context, c mayfly.Call) (mayfly.Reply, error) {
			if wrong := wrongCall(c); wrong != "" {
				t.Error(wrong)
			}
			return reply(200, "ok", "Etag", `"1"`), nil
		})
		g := newGateway(t, caller, services, gateway.Options{Functions: projects(routes)})
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code == 500 || g.Stats().Statuses[w.Code] != 1 || len(w.Header()["X-Call-Id"]) != 1 {
			t.Errorf("%d %s, headers %v", w.Code, w.Body, w.Header())
		}
	})
}

// wrongCall says what a call must not be, or "".
func wrongCall(c mayfly.Call) string {
	if _, err := mayfly.ParseSubject(string(c.Subject)); err != nil {
		return fmt.Sprintf("published to %q: %v", c.Subject, err)
	}
	subject := string(c.Subject)
	one := strings.HasPrefix(subject, "one.") && strings.HasSuffix(subject, ".get") && strings.Count(subject, ".") == 2
	if !one && !strings.HasPrefix(subject, "rest.") && subject != "meta" && subject != "cors" {
		return fmt.Sprintf("published to %q, which nobody meant", subject)
	}
	for name, values := range c.Header {
		lower := strings.ToLower(name)
		switch {
		case strings.HasPrefix(lower, "nats-"), lower == "status", lower == "description", lower == "kv-operation", lower == "connection",
			strings.HasPrefix(lower, "mayfly-") && !strings.HasPrefix(lower, "mayfly-param-"):
			return fmt.Sprintf("published the header %s: %q", name, values)
		}
	}
	if trace := c.Header["Traceparent"]; len(trace) != 1 || !gateway.ValidTrace(trace[0]) {
		return fmt.Sprintf("published the trace %q", trace)
	}
	return ""
}

func fuzzRoute(f *testing.F, path, subject string) mayfly.Route {
	s, err := mayfly.ParseSubjectPattern(subject)
	if err != nil {
		f.Fatal(err)
	}
	return mayfly.Route{Name: "r", Pattern: pattern(f, path), Subject: s, Project: "test"}
}

func FuzzTraceparent(f *testing.F) {
	for _, s := range []string{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "", "00-", strings.Repeat("0", 55), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// A second way to say the same.
		var trace, parent [2]uint64
		var flags uint8
		n, err := fmt.Sscanf(s, "00-%16x%16x-%16x-%2x", &trace[0], &trace[1], &parent[0], &flags)
		want := err == nil && n == 4 && trace != [2]uint64{} && parent[0] != 0 &&
			s == fmt.Sprintf("00-%016x%016x-%016x-%02x", trace[0], trace[1], parent[0], flags)
		if got := gateway.ValidTrace(s); got != want {
			t.Errorf("ValidTrace(%q) = %v, want %v", s, got, want)
		}
	})
}
