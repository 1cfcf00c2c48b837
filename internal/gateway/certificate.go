package gateway

import (
	"crypto/tls"
	"os"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
)

// A certificate is a pair of files that is read again after it was renewed, so that
// renewal needs no restart.
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
		return nil, mayfly.Errorf(mayfly.Invalid, "cannot load the gateway's certificate: %w", err).
			WithHint("set gateway.cert and gateway.key to PEM files that belong together")
	}
	c.loaded, c.checked = &pair, time.Now()
	if info, err := os.Stat(certFile); err == nil {
		c.changed = info.ModTime()
	}
	return c, nil
}

// get implements tls.Config.GetCertificate. A renewed pair that cannot be read
// leaves the old one in use.
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
