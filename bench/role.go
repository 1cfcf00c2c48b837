package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// roleArgument as the first argument makes this program one of the measured
// processes.
const roleArgument = "role"

// mallocsPath returns the heap allocations of a role's process.
const mallocsPath = "/mallocs"

// playRole runs until ctx ends. Its first line on stdout is its address.
func playRole(ctx context.Context, role string, args []string) error {
	switch {
	case role == "plain":
		return serveHTTP(ctx, http.HandlerFunc(echo))
	case role == "proxy" && len(args) == 1:
		return serveHTTP(ctx, newProxy(args[0]))
	case role == "nats" && len(args) == 1:
		return runNATS(ctx, args[0])
	case role == "service" && len(args) == 1:
		return runService(ctx, args[0])
	case role == "article" && len(args) == 1:
		return runArticle(ctx, args[0])
	}
	return fmt.Errorf("no role %q with %d arguments", role, len(args))
}

func serveHTTP(ctx context.Context, h http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.HandleFunc("GET "+mallocsPath, func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Fprintf(w, `{"mallocs":%d}`, m.Mallocs)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { s.Close() })
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// newProxy returns an ordinary reverse proxy, with a transport that keeps a connection
// per client: the default keeps two.
func newProxy(addr string) http.Handler {
	target := &url.URL{Scheme: "http", Host: addr}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 1024, IdleConnTimeout: 90 * time.Second, DisableCompression: true},
	}
}

// runNATS is nats-server with its defaults and JetStream, as in a container.
func runNATS(ctx context.Context, store string) error {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: store, NoSigs: true})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("NATS server did not start")
	}
	fmt.Println(s.Addr())
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// runService is the micro service behind both article and gateway.
func runService(ctx context.Context, addr string) error {
	nc, err := nats.Connect("nats://" + addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	s, err := micro.AddService(nc, micro.Config{Name: "bench", Version: "1.0.0"})
	if err != nil {
		return err
	}
	err = s.AddEndpoint("echo", micro.HandlerFunc(func(r micro.Request) { r.Respond(r.Data()) }), micro.WithEndpointSubject("bench.echo"))
	if err != nil {
		return err
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	fmt.Println("serving")
	<-ctx.Done()
	return nil
}

// runArticle is a hand-written API server: one NATS request per call, the reply as the
// response, and none of the usual bugs: a disconnected client ends the wait, no
// responders is 503, no reply 504.
func runArticle(ctx context.Context, addr string) error {
	nc, err := nats.Connect("nats://"+addr, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	return serveHTTP(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		wait, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		m, err := nc.RequestWithContext(wait, "bench.echo", body)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			http.Error(w, "no responders", http.StatusServiceUnavailable)
		case err != nil:
			http.Error(w, err.Error(), http.StatusGatewayTimeout)
		default:
			w.Write(m.Data)
		}
	}))
}
