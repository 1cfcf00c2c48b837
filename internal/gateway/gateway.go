package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/door"
	"github.com/mayfly-run/mayfly/internal/front"
	"github.com/mayfly-run/mayfly/internal/openapi"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// A Caller answers calls. In a node it is the bus.
type Caller interface {
	// Call sends a call and waits for the reply. It owns the call's Header.
	Call(ctx context.Context, c mayfly.Call) (mayfly.Reply, error)
	// Send sends a call whose reply nobody wants.
	Send(ctx context.Context, c mayfly.Call) error
	// MaxPayload returns the bytes that a call's headers and body may have.
	MaxPayload() int64
	// Ready returns nil while calls can be made, or why not.
	Ready() error
}

// A Directory knows the services that are there. In a node it is the bus's.
type Directory interface {
	// Lookup returns an endpoint by its name or subject. Errors: NotFound.
	Lookup(ctx context.Context, service, endpoint string) (mayfly.Endpoint, error)
	// Services returns the instances that are there, in any order.
	Services() []mayfly.Service
	// Watch returns a channel that gets a value after changes, until ctx ends.
	Watch(ctx context.Context) <-chan struct{}
}

// An AccessLog is told of each exchange when it is over. In a node it writes a
// line. Log must not block.
type AccessLog interface{ Log(a telemetry.Access) }

// Options say how a Gateway listens and what it lets through. The zero value
// serves on a free local port and reaches no service by name.
type Options struct {
	Addr      string   // "127.0.0.1:0" if empty
	Cert, Key string   // PEM files; HTTPS if set
	Expose    []string // services that /svc and metadata may reach, as path.Match patterns
	Hosts     []string // names besides localhost that a loopback gateway answers to
	Trust     bool     // believe X-Forwarded-*: a proxy before us sets them

	Routes    []mayfly.Route // of the projects
	Functions Functions      // that this node holds; none if nil
	Remote    bool           // call these over the bus too, as other nodes would
	NoFront   bool           // net/http serves all requests, package front none

	Timeout       time.Duration // of a call that says none; 5 s if zero
	HeaderTimeout time.Duration // for a client to send its headers; 10 s if zero
	BodyTimeout   time.Duration // for a client to send its body; 30 s if zero
	WriteTimeout  time.Duration // for a client to take an answer; 30 s if zero
	IdleTimeout   time.Duration // between two requests of a connection; 2 min if zero
	DrainTimeout  time.Duration // for calls in flight at the end; 30 s if zero
	MaxBody       int64         // bytes; 64 MiB if zero
	MaxHeader     int           // bytes; 16 KiB if zero
	InFlight      int           // calls on their way to one target at once; 10,000 if zero

	Development bool         // tell internal errors to the client
	Version     string       // for GET / and OpenAPI
	Access      AccessLog    // told of each exchange; may be nil
	Log         *slog.Logger // discards if nil
}

// withDefaults returns o with every zero value replaced by what it stands for.
func (o Options) withDefaults() Options {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&o.Timeout, 5*time.Second)
	set(&o.HeaderTimeout, 10*time.Second)
	set(&o.BodyTimeout, 30*time.Second)
	set(&o.WriteTimeout, 30*time.Second)
	set(&o.IdleTimeout, 2*time.Minute)
	set(&o.DrainTimeout, 30*time.Second)
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.MaxBody == 0 {
		o.MaxBody = 64 << 20
	}
	if o.MaxHeader == 0 {
		o.MaxHeader = 16 << 10
	}
	if o.InFlight == 0 {
		o.InFlight = 10_000
	}
	if o.Functions == nil {
		o.Functions = noFunctions{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Gateway is the HTTP door. New makes one that listens; Run serves.
type Gateway struct {
	caller      Caller
	directory   Directory
	functions   Functions
	options     Options
	listener    net.Listener
	loopback    bool
	protection  *http.CrossOriginProtection // nil beyond loopback
	certificate *certificate                // nil without TLS
	server      *front.Server

	making sync.Mutex     // of a new table: one at a time, so that the last one stays
	routes []mayfly.Route // the projects'; guarded by making
	table  atomic.Pointer[table]

	admission *admission
	openapi   openapi.Writer

	held      sync.RWMutex // for reading by each exchange, so that Run can wait for them
	inFlight  atomic.Int64
	statuses  [600]atomic.Uint64 // by HTTP status
	errors    []atomic.Uint64    // by mayfly.Code
	durations [kinds]telemetry.Histogram
}

// New returns a Gateway that listens, with the routes it was given. Errors: a bad
// option or certificate is Invalid, a taken address Conflict.
func New(caller Caller, directory Directory, o Options) (*Gateway, error) {
	o = o.withDefaults()
	for _, pattern := range o.Expose {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, mayfly.Errorf(mayfly.Invalid, "gateway.expose: %q is no pattern of service names", pattern).
				WithHint("use a name, or * for any part of one")
		}
	}
	g := &Gateway{
		caller: caller, directory: directory, functions: o.Functions, options: o,
		admission: newAdmission(o.InFlight), errors: make([]atomic.Uint64, len(mayfly.Codes())),
	}
	if o.Cert != "" || o.Key != "" {
		var err error
		if g.certificate, err = loadCertificate(o.Cert, o.Key); err != nil {
			return nil, err
		}
	}
	g.SetRoutes(o.Routes)
	listener, err := door.Listen("gateway.addr", o.Addr)
	if err != nil {
		return nil, err
	}
	g.listener = listener
	if g.loopback = door.Loopback(listener.Addr()); g.loopback {
		g.protection = http.NewCrossOriginProtection()
	}
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
	scheme := "http"
	if g.certificate != nil { // not server.TLSConfig: net/http sets it while it serves
		scheme = "https"
	}
	addr := g.Addr().(*net.TCPAddr)
	host := "localhost"
	if !addr.IP.IsLoopback() && !addr.IP.IsUnspecified() {
		host = addr.IP.String()
	}
	return fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, fmt.Sprint(addr.Port)))
}

// Run serves until ctx ends, then stops accepting, answers what is in flight for
// at most the drain time, and returns nil.
func (g *Gateway) Run(ctx context.Context) error {
	watch, stop := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop()
	parts.Go(func() { g.watchServices(watch) })
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
		g.options.Log.Warn("calls cut off at the end of the drain time", telemetry.KeyErr, err)
		_ = g.server.Close() // ends their contexts
	}
	g.held.Lock()
	defer g.held.Unlock()
	return nil
}

// Close frees the address of a gateway that was never run.
func (g *Gateway) Close() error {
	if err := g.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// tableRest is how long after a table the next one is made because of services: a
// hundred that start together make few tables. A table of 10,000 patterns takes twice
// as long to make (BenchmarkTable).
const tableRest = 50 * time.Millisecond

// watchServices makes a new table when services change, after a rest, and when this
// node's routes do, at once.
func (g *Gateway) watchServices(ctx context.Context) {
	services, functions := g.directory.Watch(ctx), g.functions.Watch(ctx)
	var due <-chan time.Time // of a table; nil if none is wanted
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-services:
			if due == nil {
				due = time.After(time.Until(last.Add(tableRest)))
			}
			continue
		case <-due:
		case changed := <-functions:
			if _, ok := changed[""]; !ok {
				continue
			}
		}
		g.Refresh()
		due, last = nil, time.Now()
	}
}

// SetRoutes replaces the projects' routes. They are in force when it returns;
// calls in flight are not touched.
func (g *Gateway) SetRoutes(routes []mayfly.Route) {
	g.making.Lock()
	defer g.making.Unlock()
	g.routes = slices.Clone(routes)
	g.makeTable()
}

// Refresh puts a table of what there is now in force, without waiting for news of
// it.
func (g *Gateway) Refresh() {
	g.making.Lock()
	defer g.making.Unlock()
	g.makeTable()
}

// makeTable puts a table of what there is now in force. The caller holds making.
func (g *Gateway) makeTable() {
	notOwn := func(subject string) bool {
		name, _ := strings.CutPrefix(subject, mayfly.SubjectFunctions+".")
		f, _ := g.functions.Function(mayfly.Name(name))
		return f == nil || len(f.HTTP) == 0
	}
	g.table.Store(newTable(slices.Concat(g.routes, g.functions.Routes()), metadataRoutes(g.directory.Services(), g.exposed, notOwn)))
}

// Routes returns the routes in force and those that are shadowed.
func (g *Gateway) Routes() (active []mayfly.Route, shadowed []Shadowed) {
	t := g.table.Load()
	for _, e := range t.entries {
		active = append(active, e.Route)
	}
	return active, slices.Clone(t.shadowed)
}

// ServeHTTP implements http.Handler: it answers, then counts and logs.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r)
	g.held.RLock()
	defer g.held.RUnlock()
	defer g.leave(x)
	g.inFlight.Add(1)
	defer g.finish(x, r)
	if err := g.serve(x, r); err != nil {
		g.refuse(x, r, err)
	}
}

// serve finds who answers the request. What belongs to the gateway itself comes
// first, so that no route can take it.
func (g *Gateway) serve(x *exchange, r *http.Request) error {
	if err := checkTarget(r); err != nil {
		return err
	}
	if err := g.checkHost(r); err != nil {
		return err
	}
	if err := checkUpgrade(r); err != nil {
		return err
	}
	first, rest, deeper := strings.Cut(r.URL.Path[1:], "/")
	switch first {
	case "svc":
		if err := g.crossOrigin(r, nil); err != nil {
			return err
		}
		if !deeper || rest == "" {
			return g.listServices(x, r)
		}
		return g.serveService(x, r)
	case "fn", "function":
		if err := g.crossOrigin(r, nil); err != nil {
			return err
		}
		return g.serveFunction(x, r)
	case "async", "async-function", "jobs":
		return noJobs()
	}
	if !deeper {
		switch first {
		case "healthz":
			return g.health(x, r, nil)
		case "readyz":
			return g.health(x, r, g.caller.Ready())
		case "openapi.json":
			return g.openAPI(x, r)
		}
	}
	t := g.table.Load()
	e, err := t.match(r)
	if asked := t.askedFor(r, e); asked != nil {
		return g.preflight(x, r, asked)
	}
	if err != nil {
		if r.URL.Path == "/" {
			return g.home(x, r)
		}
		return err
	}
	if err := g.crossOrigin(r, e); err != nil {
		return err
	}
	return g.serveRoute(x, r, e)
}

// finish counts and logs an exchange, also one whose handling panicked: that is
// our fault and answered as such. Where the answer was begun already, the
// connection is cut, so that nobody takes half an answer for a whole one.
func (g *Gateway) finish(x *exchange, r *http.Request) {
	switch v := recover(); v {
	case nil:
	case http.ErrAbortHandler:
		x.cut = true
		defer panic(v) // the answer was cut on purpose; x.err says why
	default:
		g.options.Log.Error("gateway panicked", telemetry.KeyCall, x.id, telemetry.KeyErr, fmt.Sprintf("%v\n%s", v, debug.Stack()))
		if x.status != 0 {
			x.cut = true
			defer panic(http.ErrAbortHandler)
		}
		g.refuse(x, r, mayfly.Errorf(mayfly.Internal, "panic: %v", v))
	}
	took := time.Since(x.started)
	g.inFlight.Add(-1)
	g.statuses[min(max(x.status, 0), len(g.statuses)-1)].Add(1)
	g.durations[x.kind].Observe(took)
	if x.err != nil {
		g.errors[mayfly.CodeOf(x.err)].Add(1)
	}
	if x.err != nil && mayfly.CodeOf(x.err) == mayfly.Internal {
		g.options.Log.Error("call failed", telemetry.KeyCall, x.id, telemetry.KeyRoute, x.route(), telemetry.KeyErr, x.err)
	}
	if g.options.Access != nil {
		g.logAccess(x, r, took)
	}
}

// leave sees to what is left of the request's body once its exchange is over, so
// that it is the server's again. Only an answer with a length is known to be whole
// before its handler has returned: the client of any other would wait for its end.
func (g *Gateway) leave(x *exchange) {
	if x.cut || !x.body.left() || len(x.Header()["Content-Length"]) == 0 {
		x.upload.end(longAgo)
		return
	}
	_ = x.body.control.Flush()
	x.upload.end(time.Now().Add(quiet))
	x.body.linger(g.options.MaxBody, g.options.BodyTimeout)
}

// longAgo as a deadline ends a read that waits.
var longAgo = time.Unix(1, 0)

// logAccess tells the access log. The query is left out: it is where clients put
// tokens. The path is escaped, so that it has no control characters.
func (g *Gateway) logAccess(x *exchange, r *http.Request, took time.Duration) {
	a := telemetry.Access{
		Method: clip(r.Method), Path: clip(r.URL.EscapedPath()), Status: x.status, Took: took.Round(time.Microsecond),
		Bytes: x.bytes, Route: x.route(), Call: x.id,
	}
	if x.err != nil {
		a.Err = clip(x.err.Error())
	}
	g.options.Access.Log(a)
}

// Stats are what the gateway has seen since it was made.
type Stats struct {
	InFlight  int64
	Statuses  map[int]uint64                         // exchanges by HTTP status; 499 for clients that left
	Errors    map[mayfly.Code]uint64                 // exchanges that ended in an error of the gateway's own
	Durations map[string]telemetry.HistogramSnapshot // by kind: svc, fn, route, builtin, none
	Routes    int
	Shadowed  int
}

// Stats returns a snapshot.
func (g *Gateway) Stats() Stats {
	t := g.table.Load()
	s := Stats{
		InFlight: g.inFlight.Load(), Routes: len(t.entries), Shadowed: len(t.shadowed),
		Statuses: map[int]uint64{}, Errors: map[mayfly.Code]uint64{}, Durations: map[string]telemetry.HistogramSnapshot{},
	}
	for status := range g.statuses {
		if n := g.statuses[status].Load(); n > 0 {
			s.Statuses[status] = n
		}
	}
	for _, code := range mayfly.Codes() {
		s.Errors[code] = g.errors[code].Load()
	}
	for k := range g.durations {
		s.Durations[kindNames[k]] = g.durations[k].Snapshot()
	}
	return s
}
