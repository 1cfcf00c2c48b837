package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/dispatch"
	listen "github.com/mayfly-run/mayfly/internal/door"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/micro"
	"github.com/mayfly-run/mayfly/internal/natstest"
)

func TestLoopbackGatewayAnswersToItsOwnNamesOnly(t *testing.T) {
	t.Parallel()
	r := []mayfly.Route{route(t, "r", "/r", "r", "")}
	loopback := newGateway(t, replying(reply(200, "")), directory{}, gateway.Options{Functions: projects(r), Hosts: []string{"shop.test"}})
	open := newGateway(t, replying(reply(200, "")), directory{}, gateway.Options{Functions: projects(r), Addr: "0.0.0.0:0"})
	for _, path := range []string{"/r", "/svc", "/healthz", "/openapi.json", "/"} {
		for host, status := range map[string]int{"localhost": 200, "127.0.0.1:80": 200, "[::1]:80": 200, "shop.test": 200, "evil.test": 403, "localhost.evil.test": 403, "": 403} {
			request := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
			if w := serve(loopback, request); w.Code != status {
				t.Errorf("loopback, %q by %q: %d, want %d", path, host, w.Code, status)
			}
			if w := serve(open, request); w.Code != 200 {
				t.Errorf("beyond loopback, %q by %q: %d", path, host, w.Code)
			}
		}
	}
	for _, g := range []*gateway.Gateway{loopback, open} {
		if w := serve(g, "GET /healthz HTTP/1.0\r\n\r\n"); w.Code != 200 {
			t.Errorf("HTTP/1.0 without Host: %d", w.Code)
		}
		if w := serve(g, "TRACE /r HTTP/1.1\r\nHost: localhost\r\n\r\n"); w.Code != 405 {
			t.Errorf("TRACE: %d", w.Code)
		}
	}
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	b, err := bus.Open(t.Context(), bus.Options{Server: &bus.ServerOptions{Store: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dir := micro.OpenDirectory(b, nil)
	defer dir.Close()
	d := run(t, b, dir, gateway.Options{Functions: projects{route(t, "r", "/r", "r", "")}})
	d.bus = b
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := d.ask(t, "GET", path, ""); a.StatusCode != 200 || a.body != "OK\n" {
			t.Errorf("%s = %d %q", path, a.StatusCode, a.body)
		}
		if a := d.ask(t, "HEAD", path, ""); a.StatusCode != 200 || a.body != "" || a.ContentLength != 3 {
			t.Errorf("HEAD %s = %d %q", path, a.StatusCode, a.body)
		}
		if a := d.ask(t, "POST", path, "x"); a.StatusCode != 405 || a.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s = %d, Allow %q", path, a.StatusCode, a.Header.Get("Allow"))
		}
	}
	dir.Close()
	b.Close() // the server goes away under the gateway
	if a := d.ask(t, "GET", "/readyz", ""); a.StatusCode != 503 || !strings.Contains(a.body, `"detail":"`) || a.Header.Get("Retry-After") == "" {
		t.Errorf("/readyz without NATS = %d %s", a.StatusCode, a.body)
	}
	if a := d.ask(t, "GET", "/r", ""); a.StatusCode != 503 {
		t.Errorf("a call without NATS = %d %s", a.StatusCode, a.body)
	}
	if a := d.ask(t, "GET", "/healthz", ""); a.StatusCode != 200 {
		t.Errorf("/healthz without NATS = %d", a.StatusCode)
	}
}

func TestOpenAPIShowsWhatCanBeCalled(t *testing.T) {
	t.Parallel()
	end := func(service string) mayfly.Service {
		return mayfly.Service{Name: service, ID: "1", Endpoints: []mayfly.Endpoint{{Name: "do", Subject: service, Metadata: map[string]string{mayfly.MetaHTTP: "GET /by-metadata"}}}}
	}
	g := newGateway(t, &recorder{}, directory{end("Shown"), end("Hidden")}, gateway.Options{
		Version: "1.2.3", Expose: []string{"Shown"}, Functions: projects{route(t, "order", "POST /orders/{id}", "orders.*", "")},
	})
	w := serve(g, "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
	var document struct {
		Info  struct{ Version string }
		Paths map[string]any
	}
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil || w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v: %v", w.Code, w.Header(), err)
	}
	got := slices.Sorted(maps.Keys(document.Paths))
	want := []string{"/by-metadata", "/healthz", "/openapi.json", "/orders/{id}", "/readyz", "/svc", "/svc/Shown/do"}
	if diff := cmp.Diff(want, got); diff != "" || document.Info.Version != "1.2.3" {
		t.Errorf("version %q, paths: %s", document.Info.Version, diff)
	}
}

func TestHomeSaysWhatCanBeCalled(t *testing.T) {
	t.Parallel()
	get := route(t, "get", "GET /orders/{id}", "orders.*", "")
	home := func(o gateway.Options, request string) (int, string) {
		w := serve(newGateway(t, replying(reply(200, "mine")), directory{}, o), request+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		return w.Code, w.Body.String()
	}
	status, body := home(gateway.Options{Version: "1.2.3", Functions: projects{get}}, "GET /?x=1")
	var got struct {
		Name, Version string
		Routes, Links []string
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if got.Name != "mayfly" || got.Version != "1.2.3" || !slices.Equal(got.Routes, []string{"GET /orders/{id}"}) || !slices.Contains(got.Links, "/svc") {
		t.Errorf("%+v", got)
	}
	if _, body := home(gateway.Options{Expose: []string{}, Functions: projects{get}}, "GET /"); strings.Contains(body, "orders") || strings.Contains(body, "/svc") {
		t.Errorf("a closed gateway tells %s", body)
	}
	if status, _ := home(gateway.Options{}, "POST /"); status != 405 {
		t.Errorf("POST / = %d", status)
	}
	if _, body := home(gateway.Options{Functions: projects{route(t, "mine", "GET /{$}", "mine", "")}}, "GET /"); body != "mine" {
		t.Errorf("a route on / is not asked: %s", body)
	}
	if status, _ := home(gateway.Options{Functions: projects{route(t, "mine", "POST /{$}", "mine", "")}}, "GET /"); status != 200 {
		t.Errorf("GET / beside a route for POST / = %d", status)
	}
}

func TestListOfServices(t *testing.T) {
	t.Parallel()
	services := directory{
		{Name: "Zoo", ID: "1", Version: "1.0.0", Description: "animals", Endpoints: []mayfly.Endpoint{
			{Name: "feed", Subject: "zoo.feed", Metadata: map[string]string{mayfly.MetaHTTP: "POST /feed\nbad pattern\nGET /fed/{n}", mayfly.MetaSummary: "Feed them"}},
			{Name: "a/b c", Subject: "zoo.odd"},
		}},
		{Name: "Zoo", ID: "2", Version: "1.0.0", Endpoints: []mayfly.Endpoint{{Name: "feed", Subject: "zoo.feed"}, {Name: "feed", Subject: "zoo.other"}}},
		{Name: "Ant", ID: "3", Version: "0.1.0", Endpoints: []mayfly.Endpoint{{Name: "hill", Subject: "ant.hill"}}},
		{Name: "hello", ID: "4", Version: "1.0.7", Endpoints: []mayfly.Endpoint{{Name: "call", Subject: "fn.hello"}}},
		{Name: "Empty", ID: "5"},
	}
	w := serve(newGateway(t, &recorder{}, services, gateway.Options{}), "GET /svc HTTP/1.1\r\nHost: localhost\r\n\r\n")
	const want = `{
  "services": [
    {
      "name": "Ant",
      "version": "0.1.0",
      "instances": 1,
      "endpoints": [
        {
          "name": "hill",
          "subject": "ant.hill",
          "url": "/svc/Ant/hill"
        }
      ]
    },
    {
      "name": "Zoo",
      "version": "1.0.0",
      "description": "animals",
      "instances": 2,
      "endpoints": [
        {
          "name": "feed",
          "subject": "zoo.feed",
          "url": "/svc/Zoo/feed",
          "http": [
            "POST /feed",
            "GET /fed/{n}"
          ],
          "summary": "Feed them"
        },
        {
          "name": "a/b c",
          "subject": "zoo.odd",
          "url": "/svc/Zoo/a%2Fb%20c"
        },
        {
          "name": "feed",
          "subject": "zoo.other",
          "url": "/svc/Zoo/feed"
        }
      ]
    }
  ]
}
`
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Error(diff)
	}
	// What the list says is there.
	caller := &recorder{}
	g := newGateway(t, caller, services, gateway.Options{})
	if w := serve(g, "GET /svc/Zoo/a%2Fb%20c HTTP/1.1\r\nHost: localhost\r\n\r\n"); w.Code != 200 || caller.all()[0].Subject != "zoo.odd" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := serve(g, "GET /svc/hello/call HTTP/1.1\r\nHost: localhost\r\n\r\n"); w.Code != 404 || !strings.Contains(w.Body.String(), "/fn/hello") {
		t.Errorf("a function by /svc: %d %s", w.Code, w.Body)
	}
}

func TestExposeSaysWhichServicesAreReached(t *testing.T) {
	t.Parallel()
	services := directory{
		{Name: "Shop", ID: "1", Endpoints: []mayfly.Endpoint{{Name: "buy", Subject: "shop.buy", Metadata: map[string]string{mayfly.MetaHTTP: "POST /buy"}}}},
		{Name: "Shop-Admin", ID: "2", Endpoints: []mayfly.Endpoint{{Name: "drop", Subject: "shop.drop", Metadata: map[string]string{mayfly.MetaHTTP: "POST /drop"}}}},
	}
	for _, tt := range []struct {
		name      string
		expose    []string
		buy, drop bool
	}{
		{"nothing", []string{}, false, false},
		{"everything", []string{"*"}, true, true},
		{"one by name", []string{"Shop"}, true, false},
		{"by a part of the name", []string{"Shop-*"}, false, true},
		{"in another case", []string{"shop*"}, false, false},
		{"two", []string{"Shop", "Shop-Admin"}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, &recorder{}, services, gateway.Options{Expose: tt.expose})
			for path, open := range map[string]bool{"/svc/Shop/buy": tt.buy, "/buy": tt.buy, "/svc/Shop-Admin/drop": tt.drop, "/drop": tt.drop} {
				want := 404
				if open {
					want = 200
				}
				if w := serve(g, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); w.Code != want {
					t.Errorf("%s = %d, want %d", path, w.Code, want)
				}
			}
			for _, path := range []string{"/svc", "/openapi.json", "/"} {
				body := serve(g, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n").Body.String()
				if strings.Contains(body, "buy") != tt.buy || strings.Contains(body, "drop") != tt.drop {
					t.Errorf("%s tells %s", path, body)
				}
			}
		})
	}
	if w := serve(newGateway(t, &recorder{}, services, gateway.Options{Expose: []string{}}), "GET /svc HTTP/1.1\r\nHost: localhost\r\n\r\n"); !strings.Contains(w.Body.String(), `"services": []`) || !strings.Contains(w.Body.String(), "set --gateway.expose") {
		t.Errorf("an empty list is %s", w.Body)
	}
}

// A typo costs the developer no second look; a gateway that names nothing names no function.
func TestUnknownFunctionNamesTheNearest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, path string
		expose     []string
		others     int
		guessed    bool
	}{
		{"a typo", "/fn/g", nil, 0, true},
		{"another word", "/fn/hello", nil, 0, false},
		{"a gateway that lists nothing", "/fn/g", []string{}, 0, false},
		{"a hundred functions", "/fn/g", nil, 99, true},
		{"more than a hundred", "/fn/g", nil, 100, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, &recorder{}, directory{}, gateway.Options{Functions: crowd{others: tt.others}, Expose: tt.expose})
			w := serve(g, "GET "+tt.path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), `"did you mean f?"`) != tt.guessed {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

// A crowd is "f" and others.
type crowd struct {
	functionsFunc
	others int
}

func (c crowd) Functions() []*mayfly.Unit {
	all := c.functionsFunc.Functions()
	for i := range c.others {
		all = append(all, &mayfly.Unit{Name: mayfly.Name(fmt.Sprintf("another-%d", i))})
	}
	return all
}

// Only an error that a guess can help with looks at the functions.
func TestErrorsThatAreNoTyposCostNoGuess(t *testing.T) {
	t.Parallel()
	f := &slow{}
	g := newGateway(t, &recorder{}, directory{}, gateway.Options{Functions: f})
	if w := serve(g, "GET /fn/f HTTP/1.1\r\nHost: localhost\r\n\r\n"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if n := f.listed.Load(); n != 0 {
		t.Errorf("the functions were listed %d times", n)
	}
}

// Whoever must know the URL first, listens first.
func TestGatewayServesOnAGivenListener(t *testing.T) {
	t.Parallel()
	l, err := listen.Listen("gateway.addr", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := run(t, replying(reply(200, "hello")), directory{}, gateway.Options{Listener: l, Functions: projects{route(t, "r", "/r", "r", "")}})
	if d.URL() != listen.URL(l, false) {
		t.Errorf("it is at %s, not at %s", d.URL(), listen.URL(l, false))
	}
	if a := d.ask(t, "GET", "/r", ""); a.StatusCode != 200 || a.body != "hello" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestNewSaysWhichOptionIsWrong(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		name    string
		options gateway.Options
		code    mayfly.Code
		want    string
	}{
		{"expose", gateway.Options{Expose: []string{"[a"}}, mayfly.Invalid, "gateway.expose"},
		{"address", gateway.Options{Addr: "nowhere"}, mayfly.Invalid, "gateway.addr"},
		{"taken address", gateway.Options{Addr: taken.Addr().String()}, mayfly.Conflict, "gateway.addr"},
		{"certificate", gateway.Options{Cert: "none.pem", Key: "none.key"}, mayfly.Invalid, "certificate"},
		{"key without certificate", gateway.Options{Key: "none.key"}, mayfly.Invalid, "certificate"},
	} {
		tt.options.Directory, tt.options.Functions = directory{}, projects{}
		g, err := gateway.New(dispatch.New(&recorder{}, directory{}, dispatch.Options{}), tt.options)
		if err == nil {
			g.Close()
		}
		if mayfly.CodeOf(err) != tt.code || err == nil || !strings.Contains(err.Error(), tt.want) || mayfly.HintOf(err) == "" {
			t.Errorf("%s: %v (hint %q)", tt.name, err, mayfly.HintOf(err))
		}
	}
}

func TestRenewedCertificateIsUsedWithoutRestart(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	certFile, keyFile := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	write := func(name string) *x509.CertPool {
		pool := writeCertificate(t, certFile, keyFile, name)
		return pool
	}
	first := write("first")
	b := natstest.New(t)
	dir := micro.OpenDirectory(b, nil)
	defer dir.Close()
	g := newGateway(t, b, dir, gateway.Options{Cert: certFile, Key: keyFile})
	g.RecheckCertificate(0)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	if !strings.HasPrefix(g.URL(), "https://localhost:") {
		t.Errorf("URL = %q", g.URL())
	}
	get := func(pool *x509.CertPool) (string, string) {
		client := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
		defer client.CloseIdleConnections()
		r, _ := http.NewRequestWithContext(t.Context(), "GET", g.URL()+"/healthz", nil)
		resp, err := client.RoundTrip(r)
		if err != nil {
			return "", err.Error()
		}
		defer resp.Body.Close()
		return resp.Proto, resp.TLS.PeerCertificates[0].Subject.CommonName
	}
	if proto, name := get(first); proto != "HTTP/2.0" || name != "first" {
		t.Errorf("at first: %s, %s", proto, name)
	}
	second := write("second")
	later := time.Now().Add(time.Minute) // file systems keep coarse times
	os.Chtimes(certFile, later, later)
	if proto, name := get(second); proto != "HTTP/2.0" || name != "second" {
		t.Errorf("renewed: %s, %s", proto, name)
	}
	if err := os.WriteFile(certFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, name := get(second); name != "second" {
		t.Errorf("half renewed: %s", name)
	}
	os.Remove(certFile)
	if _, name := get(second); name != "second" {
		t.Errorf("removed: %s", name)
	}
}

// writeCertificate writes a new self-signed pair for localhost and returns the
// pool that trusts it.
func writeCertificate(t *testing.T, certFile, keyFile, name string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(certFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}
