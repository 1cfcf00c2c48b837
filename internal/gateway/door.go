package gateway

import (
	"crypto/tls"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/door"
)

// checkHost refuses names that are not this machine's own on a loopback gateway.
func (g *Gateway) checkHost(r *http.Request) error {
	if !g.loopback || door.Own(r.Host, g.options.Hosts) {
		return nil
	}
	return mayfly.Errorf(mayfly.Denied, "this gateway does not answer to host %q", clip(r.Host)).
		WithHint("call it by localhost, or add the name to gateway.hosts")
}

// A certificate is a pair of files that is read again when it was renewed, so
// that nobody has to restart for it.
type certificate struct {
	certFile, keyFile string
	recheck           time.Duration // how long it is used before its file is looked at again

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time // of certFile
	checked time.Time
}

func loadCertificate(certFile, keyFile string) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, recheck: 10 * time.Second}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "the gateway's certificate cannot be used: %w", err).
			WithHint("check gateway.cert and gateway.key: PEM files that belong together")
	}
	c.loaded, c.checked = &pair, time.Now()
	if info, err := os.Stat(certFile); err == nil {
		c.changed = info.ModTime()
	}
	return c, nil
}

// get implements tls.Config.GetCertificate. A renewed pair that cannot be read
// leaves the old one in use: half a renewal is no reason to be down.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < c.recheck {
		return c.loaded, nil
	}
	c.checked = time.Now()
	info, err := os.Stat(c.certFile)
	if err != nil || info.ModTime().Equal(c.changed) {
		return c.loaded, nil
	}
	if pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile); err == nil {
		c.loaded, c.changed = &pair, info.ModTime()
	}
	return c.loaded, nil
}

// health answers /healthz and /readyz.
func (g *Gateway) health(x *exchange, r *http.Request, err error) error {
	x.kind = kindBuiltin
	if refused := allowGet(r); refused != nil {
		return refused
	}
	if err != nil {
		return err
	}
	return g.writeOwn(x, "text/plain; charset=utf-8", []byte("OK\n"))
}

// home answers GET / where no route takes it: who this is and what can be called.
func (g *Gateway) home(x *exchange, r *http.Request) error {
	x.kind = kindBuiltin
	if err := allowGet(r); err != nil {
		return err
	}
	home := struct {
		Name      string   `json:"name"`
		Version   string   `json:"version"`
		Functions []string `json:"functions,omitempty"`
		Routes    []string `json:"routes,omitempty"`
		Links     []string `json:"links"`
	}{Name: "mayfly", Version: g.options.Version, Links: []string{"/openapi.json", "/healthz", "/readyz"}}
	if len(g.options.Expose) > 0 {
		home.Links = append([]string{"/svc"}, home.Links...)
		for _, e := range g.table.Load().entries {
			home.Routes = append(home.Routes, e.Pattern.String())
		}
		for _, f := range g.functions.Functions() {
			home.Functions = append(home.Functions, "/fn/"+string(f.Name))
		}
		slices.Sort(home.Functions)
	}
	return g.writeJSON(x, home)
}
