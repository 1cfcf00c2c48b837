package instance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
)

// Options say where to serve: the first that is set. If none is, it is localhost:8080.
type Options struct {
	Link   string // unix socket of the node, to connect to
	Socket string // unix socket to listen on for HTTP
	Port   string // to listen on for HTTP, on 127.0.0.1

	// Folder is the prefix of files that the traces of panics leave out.
	Folder string
}

// Serve serves until ctx ends, then finishes the calls in flight and returns nil. An error
// means that it could not begin, or not go on. Handlers may still run then.
func Serve(ctx context.Context, h http.Handler, o Options) error {
	if h == nil {
		h = http.DefaultServeMux
	}
	if o.Link == "" {
		return serveHTTP(ctx, h, o)
	}
	conn, err := net.Dial("unix", o.Link)
	if err != nil {
		return fmt.Errorf("connect to the node: %w", err)
	}
	return newSession(conn, h, o.Folder).serve(ctx)
}

// serveHTTP serves without a node, or for one that does not know frames.
func serveHTTP(ctx context.Context, h http.Handler, o Options) error {
	listener, err := listen(o)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	err = server.Shutdown(context.Background())
	if <-served; errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func listen(o Options) (net.Listener, error) {
	switch {
	case o.Socket != "":
		return net.Listen("unix", o.Socket)
	case o.Port != "":
		return net.Listen("tcp", net.JoinHostPort("127.0.0.1", o.Port))
	}
	l, err := net.Listen("tcp", "localhost:8080")
	if err == nil {
		fmt.Fprintln(os.Stderr, "listening on http://localhost:8080")
	}
	return l, err
}
