// Package fn makes any Go program a function of Mayfly.
//
//	func main() {
//		if err := fn.Serve(http.HandlerFunc(hello)); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// Started by a node, the program connects to it and takes many calls at once over one
// connection, which costs a fraction of HTTP. Started in any other way, by go run for example,
// it is a web server on $PORT or localhost:8080.
//
// A handler is an ordinary http.Handler: routers, middleware, streaming and
// http.ResponseController work, except for Hijack and trailers. The request's context ends when
// the client leaves or the call's time is over. Params of a route's pattern are headers:
// {id} is Mayfly-Param-Id.
package fn

import (
	"context"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/mayfly-run/mayfly/internal/instance"
)

// Serve serves h, http.DefaultServeMux if it is nil, until SIGTERM or an interrupt. Then it
// finishes the calls in flight and returns nil; a second signal kills the program. An error
// means that it could not begin, or that the node is gone.
func Serve(h http.Handler) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop)
	return ServeContext(ctx, h)
}

// ServeContext is Serve for programs with signals of their own: it serves until ctx ends.
func ServeContext(ctx context.Context, h http.Handler) error {
	return instance.Serve(ctx, h, instance.Options{
		Link: os.Getenv("MAYFLY_LINK"), Socket: os.Getenv("MAYFLY_SOCKET"), Port: os.Getenv("PORT"),
	})
}
