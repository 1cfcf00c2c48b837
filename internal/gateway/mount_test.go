package gateway_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/dispatch"
	"github.com/mayfly-run/mayfly/internal/gateway"
)

// system is a mount as another package would have it.
var system = gateway.Mount{Segment: "system", MaxBody: 10, Serve: func(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return err
	case r.URL.Path == "/system/error":
		return mayfly.Errorf(mayfly.Conflict, "taken").WithHint("choose another")
	case r.URL.Path == "/system/panic":
		panic(errors.New("secret"))
	case r.URL.Path == "/system/empty":
		return nil
	}
	w.Header().Set("Content-Type", "text/plain")
	_, err = io.WriteString(w, r.Method+" "+r.URL.Path+" "+string(body))
	return err
}}

func TestMountHasItsPathsAndTheGuards(t *testing.T) {
	t.Parallel()
	d := run(t, &recorder{}, directory{}, gateway.Options{
		Mounts:    []gateway.Mount{system, {Segment: "jobs", Serve: system.Serve}},
		Functions: projects{route(t, "r", "/system/mine", "r", ""), route(t, "s", "/sys%74em/{rest...}", "r", "")},
	})
	for _, tt := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		want                     string
	}{
		{"its first segment", "GET", "/system", "", nil, 200, "GET /system "},
		{"a path below", "POST", "/system/a/b", "body", nil, 200, "POST /system/a/b body"},
		{"an encoded segment", "GET", "/s%79stem/x", "", nil, 200, "GET /system/x "},
		{"before any route", "GET", "/system/mine", "", nil, 200, "GET /system/mine "},
		{"instead of the placeholder", "GET", "/jobs/7", "", nil, 200, "GET /jobs/7 "},
		{"an empty answer", "GET", "/system/empty", "", nil, 200, ""},
		{"an error is a problem", "GET", "/system/error", "", nil, 409, `"hint":"choose another"`},
		{"a panic is internal", "GET", "/system/panic", "", nil, 500, `"code":"internal"`},
		{"another name", "GET", "/systems", "", nil, 404, "no route"},
		{"a foreign host", "GET", "/system", "", []string{"Host", "evil.test"}, 403, "evil.test"},
		{"another origin", "POST", "/system", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "cross-origin request blocked"},
		{"a WebSocket", "GET", "/system", "", []string{"Connection", "upgrade", "Upgrade", "websocket"}, 501, "WebSockets"},
		{"a dot segment", "GET", "/system/%2e%2e/x", "", nil, 400, "segment"},
		{"a large body", "POST", "/system", strings.Repeat("x", 11), nil, 413, "the limit of /system"},
	} {
		a := d.ask(t, tt.method, tt.path, tt.body, tt.headers...)
		if a.StatusCode != tt.status || !strings.Contains(a.body, tt.want) || a.Header.Get("X-Call-Id") == "" {
			t.Errorf("%s: %d %v %s", tt.name, a.StatusCode, a.Header, a.body)
		}
	}
	if a := d.raw(t, "POST /system HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n"); a.StatusCode != 413 {
		t.Errorf("a large body without a length: %d %s", a.StatusCode, a.body)
	}
	_, shadowed := d.Routes()
	if len(shadowed) != 2 {
		t.Errorf("routes that a mount covers: %+v", shadowed)
	}
	if s := d.Stats(); s.Errors[mayfly.Conflict] != 1 || s.Durations["builtin"].Count == 0 {
		t.Errorf("%+v", s)
	}
}

func TestMountNeedsAFreeSegment(t *testing.T) {
	t.Parallel()
	for _, segments := range [][]string{{""}, {"a/b"}, {"svc"}, {"fn"}, {"healthz"}, {"a", "a"}, {"async", "async"}} {
		var o gateway.Options
		for _, s := range segments {
			o.Mounts = append(o.Mounts, gateway.Mount{Segment: s, Serve: system.Serve})
		}
		if _, err := gateway.New(dispatch.New(&recorder{}, directory{}, dispatch.Options{}), o); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%q: %v", segments, err)
		}
	}
}

// Every kind of destination is guarded alike.
func TestGuardIsTheSameForAllDestinations(t *testing.T) {
	t.Parallel()
	caller := &recorder{}
	services := directory{{Name: "Echo", ID: "1", Endpoints: []mayfly.Endpoint{{Name: "echo", Subject: "echo"}}}}
	g := newGateway(t, caller, services, gateway.Options{Mounts: []gateway.Mount{system}, Functions: projects{route(t, "r", "/r", "r", "")}})
	for _, path := range []string{"/r", "/svc/Echo/echo", "/svc", "/fn/f", "/function/f", "/healthz", "/readyz", "/openapi.json", "/async/f", "/jobs", "/system", "/", "/nothing"} {
		got := map[string]int{}
		for name, text := range map[string]string{
			"host":   "POST " + path + " HTTP/1.1\r\nHost: evil.test\r\n\r\n",
			"origin": "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.test\r\n\r\n",
			"socket": "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n",
		} {
			got[name] = serve(g, text).Code
		}
		if diff := cmp.Diff(map[string]int{"host": 403, "origin": 403, "socket": 501}, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	if calls := caller.all(); len(calls) > 0 {
		t.Errorf("calls were made: %v", calls)
	}
}
