//go:build unix

package node_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mayfly-run/mayfly"
)

// The same headers come in by every door, and the same of them reach every engine
// and a service, and come back. Each header's value is its name, so that it is
// found wherever it ends up.

// hopByHop and reserved reach nothing in either direction.
var (
	hopByHop = []string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer", "Upgrade", "HTTP2-Settings",
	}
	reserved = []string{"Nats-Msg-Id", "Nats-Trace-Dest", "Mayfly-Other", "Status", "Description", "KV-Operation"}
	framing  = []string{"Content-Length", "Transfer-Encoding", "Expect"} // HTTP itself rejects what these cannot mean
	claims   = []string{"X-Forwarded-Other", "Forwarded"}                // what proxies say
	kept     = []string{"Accept", "Authorization", "Www-Authenticate", "X-Kept", "Statuses"}
)

func marker(name string) string { return "is-" + strings.ToLower(name) + ";" }

// found returns which of the headers text holds.
func found(text string) (names []string) {
	for _, name := range slices.Concat(hopByHop, reserved, framing, claims, kept) {
		if strings.Contains(text, marker(name)) {
			names = append(names, name)
		}
	}
	return names
}

func TestTheSameHeadersReachEveryEngine(t *testing.T) {
	t.Parallel()
	replied := slices.Concat(hopByHop, reserved, kept)
	for _, local := range []bool{true, false} {
		o := options(t)
		o.Config.Gateway.Local = local
		n := start(t, o)
		nc := connect(t, n.NATS)
		set(t, n, web("web"), t.TempDir())
		set(t, n, headerScript(replied), t.TempDir())
		serveHeaders(t, nc, replied)
		eventually(t, "the service is known", func() bool {
			resp, err := http.Get(n.Gateway + "/svc/seen/call")
			if err == nil {
				resp.Body.Close()
			}
			return err == nil && resp.StatusCode == http.StatusOK
		})

		query := url.Values{}
		for _, name := range replied {
			query[name] = []string{marker(name)}
		}
		for path, want := range map[string][2][]string{ // what came in, what came back
			"/fn/web":                         {kept, nil},
			"/fn/web/reply?" + query.Encode(): {nil, kept},
			"/fn/sh":                          {kept, kept},
			"/svc/seen/call":                  {kept, kept},
		} {
			r := request{to: path}
			for _, name := range slices.Concat(hopByHop, reserved, claims, kept) {
				r.header = append(r.header, name+": "+marker(name))
			}
			status, text := r.send(t, n.Gateway)
			head, body, _ := strings.Cut(text, "framing")
			if status != http.StatusOK || !cmp.Equal(found(body), want[0]) || !cmp.Equal(found(head), want[1]) {
				t.Errorf("local %v, %.20s over HTTP: %d, in %q, back %q\n%s", local, path, status, found(body), found(head), text)
			}
		}
		believed := slices.Concat(claims, kept) // a client of NATS may be another node's gateway
		for subject, want := range map[string][2][]string{
			"fn.web": {believed, nil},
			"fn.sh":  {believed, kept},
		} {
			m := &nats.Msg{Subject: subject, Header: nats.Header{}}
			for _, name := range slices.Concat(hopByHop, reserved, framing, claims, kept) {
				m.Header[name] = []string{marker(name)}
			}
			reply, err := nc.RequestMsg(m, patience)
			if err != nil {
				t.Fatal(err)
			}
			if in, back := found(string(reply.Data)), found(fmt.Sprint(reply.Header)); !cmp.Equal(in, want[0]) || !cmp.Equal(back, want[1]) {
				t.Errorf("local %v, %s: in %q, back %q", local, subject, in, back)
			}
		}
	}
}

// headerScript is a CGI program that replies the headers it is told, and its
// environment.
func headerScript(names []string) mayfly.Unit {
	var lines strings.Builder
	for _, name := range names {
		if name != "Status" { // CGI gives it a meaning
			fmt.Fprintf(&lines, "%s: %s\n", name, marker(name))
		}
	}
	f := mayfly.Unit{Name: "sh"}
	f.Engine, f.CGI, f.Start = mayfly.EngineExec, true, []string{"/bin/sh", "-c", `printf '%s\n' "$0"; env`, lines.String()}
	return f
}

// serveHeaders is a service that replies headers, and those of the request as its
// body.
func serveHeaders(t *testing.T, nc *nats.Conn, names []string) {
	t.Helper()
	headers := micro.Headers{}
	for _, name := range names {
		headers[name] = []string{marker(name)}
	}
	service, err := micro.AddService(nc, micro.Config{Name: "seen", Version: "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	err = service.AddEndpoint("call", micro.HandlerFunc(func(r micro.Request) {
		if err := r.Respond([]byte(fmt.Sprint(r.Headers())), micro.WithHeaders(headers)); err != nil {
			t.Error(err)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
}
