package node_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/nats-io/nats.go/micro"
)

// The first promise of Mayfly: a NATS micro service, in any language, is reached
// over HTTP without configuration. These tests hold it for two languages, with the
// same service written in each.

// A language is a way to start the service, which is there on return and lives
// until the end of the test.
type language struct {
	name  string // of the language and of the service
	serve func(t *testing.T, nats string)
}

var languages = []language{{"Go", serveGo}, {"JavaScript", serveJavaScript}}

// serveJavaScript runs testdata/js/service.mjs.
func serveJavaScript(t *testing.T, nats string) {
	t.Helper()
	folder := filepath.Join("testdata", "js")
	program, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(folder, "node_modules"))
	}
	natstest.Require(t, "node", err, "install Node.js 20 or newer and run: npm ci --prefix internal/node/testdata/js")

	cmd := exec.Command(program, "service.mjs", nats)
	cmd.Dir = folder
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe() // its end is the service's end
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the service ended with %v", err)
		}
	})
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the service does not start: it said %q", lines.Text())
	}
}

// serveGo answers as service.mjs does.
func serveGo(t *testing.T, nats string) {
	t.Helper()
	top := func(r micro.Request) {
		n, _ := strconv.Atoi(string(r.Data()))
		stories := make([]string, n)
		for i := range stories {
			stories[i] = fmt.Sprintf("story %d", i+1)
		}
		r.RespondJSON(stories)
	}
	natstest.AddService(t, connect(t, nats), "Go", "1.2.3",
		natstest.Endpoint{Name: "echo"},
		natstest.Endpoint{Name: "headers", Answer: func(r micro.Request) {
			r.RespondJSON(r.Headers(), micro.WithHeaders(micro.Headers{
				"X-Answer": {"grüß dich", "and again"}, "Content-Type": {"application/vnd.headers+json"},
			}))
		}},
		natstest.Endpoint{Name: "fail", Answer: func(r micro.Request) {
			got, _ := json.Marshal(map[string]string{"got": string(r.Data())})
			r.Error("422", "not a story", got)
		}},
		natstest.Endpoint{Name: "throw", Answer: func(r micro.Request) { r.Error("409", "somebody was faster", nil) }},
		natstest.Endpoint{Name: "top", Answer: top, Metadata: map[string]string{
			"mayfly.http":     "GET /top/{n}",
			"mayfly.payload":  "{n}",
			"mayfly.summary":  "The first stories",
			"mayfly.response": `{"type":"array","items":{"type":"string"}}`,
		}},
	)
}

// inEachLanguage runs test with the service beside nothing else on a node, at the
// prefix that /svc gives it.
func inEachLanguage(t *testing.T, test func(t *testing.T, n *running, service string)) {
	t.Helper()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, options(t))
			l.serve(t, n.NATS)
			test(t, n, n.Gateway+"/svc/"+l.name)
		})
	}
}

func TestServicesOfAllLanguagesStandSideBySide(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	for _, l := range languages {
		l.serve(t, n.NATS)
		// By name it is there at once, without waiting for the next round.
		if a := ask(t, "POST", n.Gateway+"/svc/"+l.name+"/echo", []byte("hello "+l.name)); a.StatusCode != 200 || string(a.body) != "hello "+l.name {
			t.Errorf("%s: %v", l.name, a)
		}
	}
	var list struct {
		Services []struct {
			Name, Version string
			Instances     int
			Endpoints     []struct{ Name, URL string }
		}
	}
	if a := ask(t, "GET", n.Gateway+"/svc", nil); json.Unmarshal(a.body, &list) != nil {
		t.Fatal(a)
	}
	if len(list.Services) != 2 {
		t.Fatalf("listed: %+v, want both", list.Services)
	}
	for i, l := range languages { // both are in alphabetical order
		s := list.Services[i]
		if s.Name != l.name || s.Version != "1.2.3" || s.Instances != 1 || len(s.Endpoints) != 5 || s.Endpoints[0].URL != "/svc/"+l.name+"/echo" {
			t.Errorf("listed: %+v, want %s with its five endpoints", s, l.name)
		}
	}
}

func TestBodiesOfAnyBytesPass(t *testing.T) {
	t.Parallel()
	random := func(size int) []byte {
		r, body := rand.NewChaCha8([32]byte{1}), make([]byte, size)
		r.Read(body)
		return body
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	inEachLanguage(t, func(t *testing.T, _ *running, service string) {
		for _, tt := range []struct {
			name string
			body []byte
		}{
			{"none", nil},
			{"one byte", []byte("x")},
			{"one zero", []byte{0}},
			{"every byte", every},
			{"what ends a NATS line", []byte("\r\nPUB x 1\r\n\r\n")},
			{"what starts NATS headers", []byte("NATS/1.0 503\r\n\r\n")},
			{"UTF-8", []byte("grüß dich, 世界 🪰")},
			{"JSON", []byte(`{"a":[1,2.5,null,"\u0000"]}`)},
			{"64 KiB", random(64 << 10)},
			{"just below 1 MiB", random(1<<20 - 2<<10)},
		} {
			a := ask(t, "POST", service+"/echo", tt.body)
			if a.StatusCode != 200 || !bytes.Equal(a.body, tt.body) {
				t.Errorf("%s: %d bytes went, %d came: %v", tt.name, len(tt.body), len(a.body), a)
			}
		}
	})
}

// A message may have so many bytes with its headers, and not one more; the answer
// says how many.
func TestBodiesOverTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	const maxPayload = 1 << 20
	tooLarge := regexp.MustCompile(`the message has (\d+) bytes with its headers, the server takes (\d+) \(max_payload\)`)
	inEachLanguage(t, func(t *testing.T, _ *running, service string) {
		post := func(size int) answer { return ask(t, "POST", service+"/echo", make([]byte, size)) }

		if a := post(3 << 20); a.StatusCode != 413 || !strings.Contains(string(a.body), "1048576 bytes (the NATS server's max_payload)") {
			t.Errorf("3 MiB: %v, want a 413 that names the limit", a)
		}
		a := post(maxPayload)
		m := tooLarge.FindSubmatch(a.body)
		if a.StatusCode != 413 || m == nil || string(m[2]) != strconv.Itoa(maxPayload) {
			t.Fatalf("max_payload without room for headers: %v, want a 413 that names both sizes", a)
		}
		size, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		fits := maxPayload - (size - maxPayload)
		if a := post(fits); a.StatusCode != 200 || len(a.body) != fits {
			t.Errorf("%d bytes, which fit: %v with %d bytes", fits, a, len(a.body))
		}
		if a := post(fits + 1); a.StatusCode != 413 {
			t.Errorf("one byte more: %v, want 413", a)
		}
	})
}

func TestHeadersPassBothWays(t *testing.T) {
	t.Parallel()
	inEachLanguage(t, func(t *testing.T, n *running, service string) {
		a := ask(t, "PUT", service+"/headers/a%2Fb/c?q=1&q=%20", []byte("x"),
			"X-Ask", "grüß dich", "X-Ask", "two", "x-lower", "1", "Authorization", "Bearer abc",
			"Nats-Msg-Id", "steal", "Mayfly-Remote", "forged", "Status", "503", "Connection", "X-Hop", "X-Hop", "1")
		var came http.Header
		if err := json.Unmarshal(a.body, &came); err != nil || a.StatusCode != 200 {
			t.Fatalf("%v: %v", a, err)
		}
		for name, want := range map[string][]string{
			"X-Ask": {"grüß dich", "two"}, "X-Lower": {"1"}, "Authorization": {"Bearer abc"},
			"Mayfly-Method": {"PUT"}, "Mayfly-Path": {"/a%2Fb/c"}, "Mayfly-Query": {"q=1&q=%20"},
			"Mayfly-Host": {strings.TrimPrefix(n.Gateway, "http://")}, "Mayfly-Call": {a.Header.Get("X-Call-Id")},
			"Nats-Msg-Id": nil, "Status": nil, "Connection": nil, "X-Hop": nil,
		} {
			if diff := cmp.Diff(want, came[name]); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		if remote := came.Get("Mayfly-Remote"); !strings.HasPrefix(remote, "127.0.0.1:") && !strings.HasPrefix(remote, "[::1]:") {
			t.Errorf("Mayfly-Remote = %q", remote)
		}
		if diff := cmp.Diff([]string{"grüß dich", "and again"}, a.Header["X-Answer"]); diff != "" {
			t.Errorf("X-Answer: %s", diff)
		}
		if got := a.Header.Get("Content-Type"); got != "application/vnd.headers+json" {
			t.Errorf("Content-Type = %q", got)
		}
	})
}

func TestErrorsOfServicesKeepCodeTextAndBody(t *testing.T) {
	t.Parallel()
	inEachLanguage(t, func(t *testing.T, _ *running, service string) {
		a := ask(t, "POST", service+"/fail", []byte("a poem"))
		if a.StatusCode != 422 || a.Header.Get("Nats-Service-Error") != "not a story" || string(a.body) != `{"got":"a poem"}` {
			t.Errorf("an error with a body: %v", a)
		}
		a = ask(t, "POST", service+"/throw", nil)
		var problem struct {
			Status             int
			Code, Detail, Call string
		}
		if err := json.Unmarshal(a.body, &problem); err != nil {
			t.Fatalf("%v: %v", a, err)
		}
		if a.StatusCode != 409 || a.Header.Get("Nats-Service-Error") != "somebody was faster" || a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("an error without a body: %v", a)
		}
		if problem.Status != 409 || problem.Code != "conflict" || problem.Detail != "somebody was faster" || problem.Call != a.Header.Get("X-Call-Id") {
			t.Errorf("an error without a body: %+v", problem)
		}
	})
}

func TestMetadataMakesARoute(t *testing.T) {
	t.Parallel()
	inEachLanguage(t, func(t *testing.T, n *running, service string) {
		var a answer
		eventually(t, "the route is in force", func() bool {
			a = ask(t, "GET", n.Gateway+"/top/3", nil)
			return a.StatusCode != 404
		})
		if a.StatusCode != 200 || string(a.body) != `["story 1","story 2","story 3"]` || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("GET /top/3: %v", a)
		}
		if a := ask(t, "POST", n.Gateway+"/top/3", []byte("x")); a.StatusCode != 405 || !strings.Contains(a.Header.Get("Allow"), "GET") {
			t.Errorf("POST /top/3: %v, want 405", a)
		}

		type operation struct {
			Summary    string
			Tags       []string
			Parameters []struct{ Name, In string }
			Responses  map[string]struct {
				Content map[string]struct{ Schema map[string]any }
			}
		}
		var api struct {
			OpenAPI    string
			Paths      map[string]map[string]operation
			Components struct{ Schemas map[string]map[string]any }
		}
		if a := ask(t, "GET", n.Gateway+"/openapi.json", nil); json.Unmarshal(a.body, &api) != nil {
			t.Fatal(a)
		}
		name := service[strings.LastIndexByte(service, '/')+1:]
		get := api.Paths["/top/{n}"]["get"]
		if get.Summary != "The first stories" || len(get.Tags) != 1 || get.Tags[0] != name || len(get.Parameters) != 1 || get.Parameters[0].Name != "n" {
			t.Errorf("GET /top/{n} in OpenAPI: %+v", get)
		}
		place, _ := get.Responses["200"].Content["application/json"].Schema["$ref"].(string)
		schema := api.Components.Schemas[strings.TrimPrefix(place, "#/components/schemas/")]
		if diff := cmp.Diff(map[string]any{"type": "array", "items": map[string]any{"type": "string"}}, schema); diff != "" {
			t.Errorf("schema of the reply at %q: %s", place, diff)
		}
		if _, ok := api.Paths["/svc/"+name+"/echo"]["post"]; !ok {
			t.Errorf("OpenAPI has no /svc/%s/echo", name)
		}
	})
}

// The older service keeps the pattern, whatever it is written in. The younger one's
// name comes first here: by name alone it would win.
func TestOlderServiceKeepsItsPattern(t *testing.T) {
	t.Parallel()
	n := start(t, options(t))
	serveJavaScript(t, n.NATS)
	serveGo(t, n.NATS)
	eventually(t, "the age of both is known", func() bool {
		services := n.Node.Status().Services
		return len(services) == 2 && !slices.ContainsFunc(services, func(s mayfly.Service) bool { return s.Started.IsZero() })
	})
	// A route that is new now is in a table that was made with the ages known.
	nc := connect(t, n.NATS)
	natstest.AddService(t, nc, "Last", "1.0.0", natstest.Endpoint{Name: "last", Metadata: map[string]string{mayfly.MetaHTTP: "/last"}})
	core := connectCore(t, n.NATS)
	var routes []peers.Route
	eventually(t, "the last route is in force", func() bool {
		m, err := core.Request(mayfly.SubjectRoutes, nil, patience)
		if err != nil {
			t.Fatal(err)
		}
		routes = nil
		if err := json.Unmarshal(m.Data, &routes); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(routes, func(r peers.Route) bool { return r.Name == "Last/last" })
	})
	for _, r := range routes {
		want := map[string]string{"JavaScript/top": "", "Go/top": `conflicts with route "GET /top/{n}"`, "Last/last": ""}
		if reason, ok := want[r.Name]; !ok || r.Shadowed != reason {
			t.Errorf("%s is shadowed for %q, want %q", r.Name, r.Shadowed, reason)
		}
	}
	if len(routes) != 3 {
		t.Errorf("%d routes, want 3: %+v", len(routes), routes)
	}
}
