package gateway_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/dispatch"
	"github.com/mayfly-run/mayfly/internal/gateway"
)

// A callerFunc answers calls where a test needs no NATS.
type callerFunc func(ctx context.Context, c mayfly.Call) (mayfly.Reply, error)

func (f callerFunc) Call(ctx context.Context, c mayfly.Call) (mayfly.Reply, error) { return f(ctx, c) }

func (f callerFunc) Send(ctx context.Context, c mayfly.Call) error {
	_, err := f(ctx, c)
	return err
}
func (callerFunc) MaxPayload() int64 { return 1 << 20 }
func (callerFunc) Ready() error      { return nil }

// replying answers each call with the same reply.
func replying(r mayfly.Reply) callerFunc {
	return func(context.Context, mayfly.Call) (mayfly.Reply, error) { return r, nil }
}

// A recorder remembers its calls.
type recorder struct {
	callerFunc
	mu    sync.Mutex
	calls []mayfly.Call
}

func (r *recorder) Call(_ context.Context, c mayfly.Call) (mayfly.Reply, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
	return mayfly.Reply{Status: http.StatusOK}, nil
}

func (r *recorder) all() []mayfly.Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// A directory is a fixed list of services.
type directory []mayfly.Service

func (d directory) Services() []mayfly.Service { return d }

func (d directory) Doubt(mayfly.Name) {}

func (d directory) Reach(mayfly.Name) (mayfly.Subject, bool) { return "", false }

func (d directory) Lookup(_ context.Context, service, endpoint string) (mayfly.Endpoint, error) {
	for _, s := range d {
		for _, e := range s.Endpoints {
			if s.Name == service && e.Name == endpoint {
				return e, nil
			}
		}
	}
	return mayfly.Endpoint{}, mayfly.Errorf(mayfly.NotFound, "no service %q with endpoint %q", service, endpoint)
}

func (directory) Watch(ctx context.Context) <-chan map[struct{}]struct{} {
	c := make(chan map[struct{}]struct{})
	context.AfterFunc(ctx, func() { close(c) })
	return c
}

// services are what a Dispatcher and a Gateway need of a directory.
type services interface {
	dispatch.Directory
	gateway.Directory
}

// functions are what a Dispatcher and a Gateway need of a node.
type functions interface {
	dispatch.Functions
	gateway.Functions
}

// newGateway returns a gateway that is asked by ServeHTTP, without a connection.
func newGateway(t testing.TB, c dispatch.Caller, s services, o gateway.Options, limits ...dispatch.Options) *gateway.Gateway {
	t.Helper()
	if o.Expose == nil {
		o.Expose = []string{"*"}
	}
	var d dispatch.Options
	if len(limits) > 0 {
		d = limits[0]
	}
	if o.Functions == nil {
		o.Functions = projects{}
	}
	d.Functions = o.Functions.(functions)
	o.Ready = func() error { return nil }
	if ready, ok := c.(interface{ Ready() error }); ok {
		o.Ready = ready.Ready
	}
	o.Directory = s
	g, err := gateway.New(dispatch.New(c, s, d), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// serve gives g a request as it came from the wire.
func serve(g *gateway.Gateway, text string) *httptest.ResponseRecorder {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		panic(err) // the test's own text
	}
	r.RemoteAddr = "127.0.0.1:1"
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

// failing fails each call.
func failing(err error) callerFunc {
	return func(context.Context, mayfly.Call) (mayfly.Reply, error) { return mayfly.Reply{}, err }
}

// panicking panics at each call.
func panicking(v any) callerFunc {
	return func(context.Context, mayfly.Call) (mayfly.Reply, error) { panic(v) }
}

// projects are the routes of a node that has no functions.
type projects []mayfly.Route

func (projects) Function(mayfly.Name) (*mayfly.Unit, bool)             { return nil, false }
func (projects) Built(context.Context, mayfly.Name) error              { return nil }
func (projects) Coming(context.Context, string) (bool, error)          { return false, nil }
func (projects) Functions() []*mayfly.Unit                             { return nil }
func (p projects) Routes() []mayfly.Route                              { return p }
func (projects) Deployed(mayfly.Name) bool                             { return false }
func (projects) Watch(context.Context) <-chan map[mayfly.Name]struct{} { return nil }

func (projects) Call(_ context.Context, name mayfly.Name, _ *mayfly.Call) (mayfly.Reply, error) {
	return mayfly.Reply{}, dispatch.NoFunction(string(name))
}

// A routed is functions with routes that change.
type routed struct {
	functions
	now atomic.Pointer[[]mayfly.Route]
}

func newRouted(f functions, routes ...mayfly.Route) *routed {
	r := &routed{functions: f}
	r.now.Store(&routes)
	return r
}

func (r *routed) Routes() []mayfly.Route { return *r.now.Load() }

// A functionsFunc is one function, "f", which answers calls.
type functionsFunc func(ctx context.Context, c *mayfly.Call) (mayfly.Reply, error)

func (functionsFunc) Built(context.Context, mayfly.Name) error { return nil }
func (functionsFunc) Function(name mayfly.Name) (*mayfly.Unit, bool) {
	if name != "f" {
		return nil, false
	}
	return &mayfly.Unit{Name: name}, false
}

func (functionsFunc) Functions() []*mayfly.Unit                             { return []*mayfly.Unit{{Name: "f"}} }
func (functionsFunc) Coming(context.Context, string) (bool, error)          { return false, nil }
func (functionsFunc) Routes() []mayfly.Route                                { return nil }
func (functionsFunc) Watch(context.Context) <-chan map[mayfly.Name]struct{} { return nil }
func (functionsFunc) Deployed(mayfly.Name) bool                             { return false }

func (f functionsFunc) Call(ctx context.Context, _ mayfly.Name, c *mayfly.Call) (mayfly.Reply, error) {
	return f(ctx, c)
}
