package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// health serves GET /healthz: whether tasks reach this worker.
type health struct {
	server *http.Server
	failed chan error // gets the error that ended the server, then is closed
}

// serveHealth listens on addr, or nowhere if addr is empty.
func serveHealth(addr string, nc *nats.Conn, service micro.Service, log *slog.Logger) (*health, error) {
	h := &health{failed: make(chan error, 1)}
	if addr == "" {
		return h, nil
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := check(nc, service); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "OK\n")
	})
	h.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	go func() { // close waits for it
		defer close(h.failed)
		h.failed <- h.server.Serve(listener)
	}()
	log.Info("health listening", "addr", listener.Addr().String())
	return h, nil
}

// close stops the server and waits until it has stopped.
func (h *health) close() {
	if h.server == nil {
		return
	}
	h.server.Close()
	for range h.failed {
	}
}

// check flushes to NATS: the reply comes after the server has seen all our
// subscriptions, and a stalled server sends none.
func check(nc *nats.Conn, service micro.Service) error {
	switch {
	case nc.Status() != nats.CONNECTED:
		return fmt.Errorf("NATS is %s", nc.Status())
	case service.Stopped():
		return errors.New("the service has stopped")
	}
	if err := nc.FlushTimeout(time.Second); err != nil {
		return fmt.Errorf("NATS does not respond: %w", err)
	}
	if err := nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return err // a subscription or a reply was rejected
	}
	return nil
}
