package gateway_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/mayfly-run/mayfly/internal/dispatch"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/natstest"
)

// openSeen starts a gateway whose route /seen hands over what it receives.
func openSeen(t *testing.T, o gateway.Options, limits ...dispatch.Options) (*door, chan *nats.Msg) {
	t.Helper()
	o.Functions = projects{route(t, "seen", "/seen", "seen", "")}
	d := open(t, o, limits...)
	seen := make(chan *nats.Msg, 16)
	natstest.Serve(t, d.nc, "seen", func(m *nats.Msg) {
		seen <- m
		m.Respond(m.Data)
	})
	return d, seen
}

// ours are the headers that the gateway itself puts on each message.
var ours = []string{
	"Mayfly-Call", "Mayfly-Deadline", "Mayfly-Host", "Mayfly-Method", "Mayfly-Path", "Mayfly-Remote", "Mayfly-Timeout",
	"Traceparent",
}

func TestFirewall(t *testing.T) {
	t.Parallel()
	d, seen := openSeen(t, gateway.Options{})
	names := []string{
		"Nats-Trace-Dest", "Nats-Trace-Only", "Nats-Rollup", "Nats-Schedule", "Nats-Schedule-Next", "Nats-Schedule-Target", "Nats-Msg-Id", "Nats-TTL",
		"Nats-Expected-Stream", "Nats-Service-Error", "Nats-Service-Error-Code", "Nats-", "Mayfly-Call", "Mayfly-Deadline", "Mayfly-Param-Id", "Mayfly-Hop",
		"Mayfly-Status", "Mayfly-Stream", "Mayfly-Query", "Mayfly-", "Status", "Description", "KV-Operation",
		"Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer", "Upgrade", "HTTP2-Settings",
	}
	cases := []func(string) string{
		func(s string) string { return s }, strings.ToLower, strings.ToUpper,
		func(s string) string { return strings.ToLower(s[:1]) + strings.ToUpper(s[1:]) },
	}
	var many strings.Builder // 101 of them at once
	for n := range 101 {
		many.WriteString(cases[n%len(cases)](names[n%len(names)]) + ": hostile\r\n")
	}
	requests := map[string]string{
		"101 at once":                       many.String(),
		"listed by Connection":              "Connection: close, X-Listed\r\nConnection:x-other ,\r\nX-Listed: 1\r\nX-OTHER: 2\r\n",
		"what we set, listed by Connection": "Connection: X-Forwarded-For, Traceparent, Mayfly-Call\r\n",
		"what net/http takes out":           "Expect: 100-continue\r\n",
	}
	for _, name := range names {
		for _, spell := range cases {
			requests[spell(name)] = spell(name) + ": hostile\r\n"
		}
	}
	for name, headers := range requests {
		a := d.raw(t, "GET /seen HTTP/1.1\r\nHost: localhost\r\n"+headers+"\r\n")
		if a.StatusCode != 200 {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
			continue
		}
		m := <-seen
		if diff := cmp.Diff(ours, slices.Sorted(maps.Keys(m.Header))); diff != "" {
			t.Errorf("%s: headers of the message: %s", name, diff)
		}
		for key, values := range m.Header {
			if slices.Contains(values, "hostile") || len(values) != 1 {
				t.Errorf("%s: %s = %q", name, key, values)
			}
		}
	}
	if len(seen) > 0 {
		t.Errorf("%d messages too many", len(seen))
	}
}

func TestTrailersDoNotPassTheFirewall(t *testing.T) {
	t.Parallel()
	d, seen := openSeen(t, gateway.Options{})
	a := d.raw(t, "POST /seen HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: Nats-Rollup, X-After\r\n\r\n"+
		"5\r\nhello\r\n0\r\nNats-Rollup: all\r\nX-After: 1\r\n\r\n")
	m := <-seen
	if a.StatusCode != 200 || string(m.Data) != "hello" {
		t.Fatalf("%d, message %q", a.StatusCode, m.Data)
	}
	if diff := cmp.Diff(ours, slices.Sorted(maps.Keys(m.Header))); diff != "" {
		t.Error(diff)
	}
}

func TestForwardedHeadersAreBelievedOnlyFromATrustedProxy(t *testing.T) {
	t.Parallel()
	given := []string{
		"X-Forwarded-For", "6.6.6.6", "X-Forwarded-Host", "evil.test", "X-Forwarded-Proto", "https", "X-Forwarded-Prefix", "/evil", "Forwarded", "for=6.6.6.6",
	}
	for _, tt := range []struct {
		name  string
		trust bool
		given []string
		want  map[string]string
	}{
		{"nothing given", false, nil, map[string]string{}},
		{"not trusted", false, given, map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "shop.test", "X-Forwarded-Proto": "http"}},
		{"trusted", true, given, map[string]string{
			"X-Forwarded-For": "6.6.6.6, 127.0.0.1", "X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/evil", "Forwarded": "for=6.6.6.6",
		}},
		{"trusted, nothing given", true, nil, map[string]string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, seen := openSeen(t, gateway.Options{Trust: tt.trust, Hosts: []string{"shop.test"}})
			if a := d.ask(t, "GET", "/seen", "", append([]string{"Host", "shop.test"}, tt.given...)...); a.StatusCode != 200 {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			got := map[string]string{}
			for name, values := range (<-seen).Header {
				if strings.Contains(name, "Forwarded") {
					got[name] = strings.Join(values, " | ")
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTraceIsKeptIfItIsOne(t *testing.T) {
	t.Parallel()
	d, seen := openSeen(t, gateway.Options{})
	const valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, tt := range []struct {
		name  string
		given []string
		kept  bool
	}{
		{"valid", []string{valid}, true},
		{"none", nil, false},
		{"twice", []string{valid, valid}, false},
		{"empty", []string{""}, false},
		{"capitals", []string{strings.ToUpper(valid)}, false},
		{"too long", []string{valid + "-x"}, false},
		{"another version", []string{"01" + valid[2:]}, false},
		{"no trace", []string{"00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, false},
		{"no parent", []string{"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"}, false},
		{"no hexadecimals", []string{"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01"}, false},
	} {
		headers := []string{"Tracestate", "a=b"}
		for _, v := range tt.given {
			headers = append(headers, "traceparent", v)
		}
		a := d.ask(t, "GET", "/seen", "", headers...)
		h := (<-seen).Header
		got, id := h["Traceparent"], a.Header.Get("X-Call-Id")
		if len(got) != 1 || !gateway.ValidTrace(got[0]) {
			t.Errorf("%s: %q is no trace", tt.name, got)
			continue
		}
		if tt.kept != (got[0] == valid) || tt.kept != (h.Get("Tracestate") == "a=b") {
			t.Errorf("%s: trace %q, state %q; kept should be %v", tt.name, got, h.Get("Tracestate"), tt.kept)
		}
		if !tt.kept && got[0][3:35] != id {
			t.Errorf("%s: trace %q is not the call's, %s", tt.name, got, id)
		}
	}
}

func TestCallsShareNoHeaders(t *testing.T) {
	t.Parallel()
	caller := &recorder{}
	g := newGateway(t, caller, directory{}, gateway.Options{Functions: projects{route(t, "a", "/a/{id}", "a", "")}})
	for _, id := range []string{"1", "2"} {
		serve(g, "GET /a/"+id+" HTTP/1.1\r\nHost: localhost\r\nX-Id: "+id+"\r\n\r\n")
	}
	calls := caller.all()
	if len(calls) != 2 {
		t.Fatalf("%d calls", len(calls))
	}
	first := calls[0].Header.Clone()
	for name, values := range calls[1].Header {
		calls[1].Header[name] = append(values, "added")
		values[0] = "changed"
	}
	if diff := cmp.Diff(first, calls[0].Header); diff != "" {
		t.Errorf("a change of the second call's headers changed the first's: %s", diff)
	}
}
