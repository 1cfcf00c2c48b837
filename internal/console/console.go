package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/door"
)

const (
	maxHeader = 16 << 10
	bufioSlop = 4 << 10 // how much more than MaxHeaderBytes net/http reads
)

// Options say where the console listens and what it shows.
type Options struct {
	Addr    string       // "127.0.0.1:0" if empty
	Metrics http.Handler // answers /metrics; 404 if nil
	Log     *slog.Logger // discards if nil
}

// A Console is the private HTTP door.
type Console struct {
	listener net.Listener
	server   *http.Server
	conns    sync.WaitGroup // those that the server has not ended yet
}

// New returns a Console that listens.
func New(o Options) (*Console, error) {
	o.Addr = cmp.Or(o.Addr, "127.0.0.1:0")
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	l, err := door.Listen("admin.addr", o.Addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "OK") })
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound) // arguments may hold a password
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol) // as go tool pprof asks
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "mayfly admin server\n\n/metrics\n/debug/pprof/\n/healthz\n")
	})
	c := &Console{listener: l}
	c.server = &http.Server{
		Handler:           ownNames(l.Addr(), mux),
		ConnState:         c.count,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader - bufioSlop,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return c, nil
}

// ownNames rejects requests to a loopback door under names that are not this machine's.
func ownNames(addr net.Addr, next http.Handler) http.Handler {
	if !door.Loopback(addr) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !door.Own(r, nil) {
			http.Error(w, "the admin server accepts only requests to localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// count lets Run wait for the connections, and so for the requests in flight.
func (c *Console) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		c.conns.Done()
	}
}

// URL returns the console's address for clients on this machine.
func (c *Console) URL() string { return "http://" + c.listener.Addr().String() }

// Run serves until ctx ends, and cuts off a scrape or profile in flight.
func (c *Console) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	var server sync.WaitGroup
	defer server.Wait()
	server.Go(func() { failed <- c.server.Serve(c.listener) })
	select {
	case err := <-failed:
		return fmt.Errorf("serve the admin server: %w", err)
	case <-ctx.Done():
	}
	_ = c.server.Close() // its connections are gone either way
	server.Wait()        // no more come
	c.conns.Wait()
	return nil
}

// Close releases the address of a console that never ran.
func (c *Console) Close() error {
	if err := c.listener.Close(); !errors.Is(err, net.ErrClosed) { // Run has closed it
		return err
	}
	return nil
}
