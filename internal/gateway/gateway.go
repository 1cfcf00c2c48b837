package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/dispatch"
	"github.com/mayfly-run/mayfly/internal/door"
	"github.com/mayfly-run/mayfly/internal/front"
	"github.com/mayfly-run/mayfly/internal/openapi"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// A Directory knows the services on the bus.
type Directory interface {
	// Services returns the instances, in any order.
	Services() []mayfly.Service
	// Watch returns a channel that gets a value after changes, until ctx ends.
	Watch(ctx context.Context) <-chan map[struct{}]struct{}
}

// Functions are those that this node serves, and its routes. Their calls go through
// the dispatch.Dispatcher.
type Functions interface {
	// Function returns the one with that name, or nil; then building reports whether
	// one is being built.
	Function(name mayfly.Name) (f *mayfly.Unit, building bool)
	// Functions returns all, in any order.
	Functions() []*mayfly.Unit
	// Routes returns those of this node in order of precedence, in the same slice
	// until one changes.
	Routes() []mayfly.Route
	// Watch returns a channel with the names of functions that changed, until ctx
	// ends; the empty name stands for routes.
	Watch(ctx context.Context) <-chan map[mayfly.Name]struct{}
}

// Options say how a Gateway listens and what it lets through. By
// default it listens on a free local port and exposes no service.
type Options struct {
	Listener  net.Listener // of door.Listen; New makes one for Addr if nil
	Addr      string       // "127.0.0.1:0" if empty
	Cert, Key string       // PEM files; HTTPS if set
	Expose    []string     // services that /svc and metadata may reach, as path.Match patterns
	Hosts     []string     // names besides localhost that a loopback gateway answers to
	Trust     bool         // believe X-Forwarded-*: a proxy in front sets them
	NoFront   bool         // net/http serves all requests, package front none

	Directory Directory    // of services; required
	Functions Functions    // of this node; required
	Mounts    []Mount      // paths of other packages
	Ready     func() error // nil while calls can be made; required
	Off       error        // what a ready node lacks, for /readyz; may be nil

	HeaderTimeout time.Duration // for a client to send its headers; 10 s if zero
	BodyTimeout   time.Duration // for a client to send its body; 30 s if zero
	WriteTimeout  time.Duration // for a client to take an answer; 30 s if zero
	IdleTimeout   time.Duration // between two requests of a connection; 2 min if zero
	DrainTimeout  time.Duration // for calls in flight at the end; 30 s if zero
	MaxHeader     int           // bytes; 16 KiB if zero

	Development bool         // show internal errors to the client
	Version     string       // for GET / and OpenAPI
	Access      AccessLog    // told of each exchange; may be nil
	Log         *slog.Logger // discards if nil
}

// withDefaults returns o with its zero values replaced.
func (o Options) withDefaults() Options {
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, 10*time.Second)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, 30*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 30*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 2*time.Minute)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 30*time.Second)
	o.Addr = cmp.Or(o.Addr, "127.0.0.1:0")
	o.MaxHeader = cmp.Or(o.MaxHeader, 16<<10)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}

// A Gateway is the HTTP door. New makes one that listens; Run serves.
type Gateway struct {
	dispatch    *dispatch.Dispatcher
	options     Options
	own         map[string]destination // by first segment, mounts included
	listener    net.Listener
	loopback    bool
	protection  *http.CrossOriginProtection
	certificate *certificate // nil without TLS
	server      *front.Server

	making sync.Mutex // one table at a time, so that the last one stays
	table  atomic.Pointer[table]

	openapi openapi.Writer

	held      sync.RWMutex // read-locked by each exchange, so that Run can wait for them
	inFlight  atomic.Int64
	statuses  [600]atomic.Uint64 // by HTTP status
	errors    []atomic.Uint64    // by mayfly.Code
	durations [kinds]telemetry.Histogram
}

// New returns a Gateway that listens, and whose calls d makes. Errors: a bad option
// or certificate is Invalid, an address in use Conflict.
func New(d *dispatch.Dispatcher, o Options) (*Gateway, error) {
	o = o.withDefaults()
	for _, pattern := range o.Expose {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, mayfly.Errorf(mayfly.Invalid, "gateway.expose: invalid pattern %q", pattern).
				WithHint("use a service's name, with * for any part of it")
		}
	}
	own, err := ownDestinations(o.Mounts)
	if err != nil {
		return nil, err
	}
	g := &Gateway{dispatch: d, options: o, own: own, errors: make([]atomic.Uint64, len(mayfly.Codes()))}
	if o.Cert != "" || o.Key != "" {
		if g.certificate, err = loadCertificate(o.Cert, o.Key); err != nil {
			return nil, err
		}
	}
	g.Refresh()
	if g.listener = o.Listener; g.listener == nil {
		if g.listener, err = door.Listen("gateway.addr", o.Addr); err != nil {
			return nil, err
		}
	}
	g.loopback, g.protection = door.Loopback(g.Addr()), http.NewCrossOriginProtection()
	g.server = &front.Server{
		Handler:           g,
		Off:               o.NoFront,
		ReadHeaderTimeout: o.HeaderTimeout,
		WriteTimeout:      o.BodyTimeout + o.WriteTimeout, // counts from the end of the headers
		IdleTimeout:       o.IdleTimeout,
		MaxHeaderBytes:    o.MaxHeader,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	if g.certificate != nil {
		g.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: g.certificate.get}
	}
	return g, nil
}

// Addr returns where the gateway listens.
func (g *Gateway) Addr() net.Addr { return g.listener.Addr() }

// URL returns where clients on this machine reach the gateway.
func (g *Gateway) URL() string {
	return door.URL(g.listener, g.certificate != nil) // not server.TLSConfig: net/http sets it while it serves
}

// Run serves until ctx ends, then stops accepting, answers what is in flight for
// at most the drain time, and returns nil.
func (g *Gateway) Run(ctx context.Context) error {
	watch, stop := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop()
	parts.Go(func() { g.watchRoutes(watch) })
	failed := make(chan error, 1)
	parts.Go(func() { failed <- g.server.Serve(g.listener) })
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), g.options.DrainTimeout)
	defer cancel()
	if err := g.server.Shutdown(drain); err != nil {
		g.options.Log.Warn("calls cut off: drain time over", telemetry.KeyErr, err)
		_ = g.server.Close() // ends their contexts
	}
	g.held.Lock()
	defer g.held.Unlock()
	return nil
}
