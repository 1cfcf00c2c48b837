package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
)

// ready is the verb ready.
type ready struct {
	URL     string        `arg:"" optional:"" help:"URL of the gateway."`
	Data    string        `name:"data" help:"Data folder of the node to ask." placeholder:"FOLDER"`
	Timeout time.Duration `name:"timeout" help:"Time to wait for the answer." default:"2s"`
}

// Help is shown by mayfly ready --help.
func (*ready) Help() string {
	return `URL is the node's gateway; by default the node on this machine is asked. The
exit code is 0 if the node is ready and 6, with the reason, if it is not. Use it
as the health check of a container:

  HEALTHCHECK CMD ["/mayfly", "ready", "http://127.0.0.1:8080"]`
}

// Run is called by kong.
func (r *ready) Run(ctx context.Context, p *process) error {
	gateway, err := r.gateway(p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway.JoinPath("/readyz").String(), nil)
	if err != nil {
		return mayfly.Errorf(mayfly.Invalid, "%q is not a gateway URL", mayfly.Clip(r.URL)).WithHint("write it like http://127.0.0.1:8080")
	}
	// Its own transport: a proxy in the environment must not affect readiness. A certificate
	// names the public host, never the loopback address of a health check.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: config.Loopback(gateway.Host)}} //nolint:gosec // loopback only
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "no gateway answers at %s: %w", gateway.Redacted(), err).
			WithHint("start one with mayfly up, or pass its URL: mayfly ready URL")
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10)) // the status is enough
	if answer.StatusCode == http.StatusOK {
		// After OK come lines about what the node lacks.
		_, lacks, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
		_, err := fmt.Fprintln(p.stdout, strings.TrimSpace("ready\n"+plain(lacks)))
		return err
	}
	var problem struct{ Detail, Hint string }
	_ = json.Unmarshal(body, &problem) // without a problem document the status must do
	reason := cmp.Or(problem.Detail, answer.Status)
	if answer.StatusCode == http.StatusBadRequest && gateway.Scheme == "http" {
		problem.Hint = cmp.Or(problem.Hint, "if the gateway has a certificate, write https://"+gateway.Host)
	}
	return mayfly.Errorf(mayfly.Unavailable, "not ready: %s", reason).
		WithHint("%s", cmp.Or(problem.Hint, "check that "+gateway.Redacted()+" is the gateway of a node"))
}

// configured returns the gateway's URL by its settings: the node may belong to another
// user, or the folder with its address may be out of reach.
func configured(g config.Gateway) string {
	scheme := "http"
	if g.Cert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(g.Addr)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, cmp.Or(port, "8080"))
}

// gateway returns the URL to ask.
func (r *ready) gateway(p *process) (*url.URL, error) {
	text := r.URL
	if text == "" {
		// Only without URL: a health check must not depend on a valid configuration.
		loaded, err := p.load(config.Config{Data: r.Data}, "")
		if err != nil {
			return nil, err
		}
		running, _, err := findNode(p, loaded)
		if err != nil {
			return nil, err
		}
		text = cmp.Or(running.Gateway, configured(loaded.Gateway))
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, mayfly.Errorf(mayfly.Invalid, "%q is not a gateway URL", mayfly.Clip(r.URL)).WithHint("write it like http://127.0.0.1:8080")
	}
	return u, nil
}
