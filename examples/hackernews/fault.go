package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A fault is an error for the caller, with an HTTP status: the value of
// Nats-Service-Error-Code, which a gateway uses too.
type fault struct {
	code  int
	text  string
	again bool          // a retry may succeed
	after time.Duration // but not before
}

func (f *fault) Error() string { return f.text }

func faultf(code int, format string, args ...any) *fault {
	return &fault{code: code, text: fmt.Sprintf(format, args...)}
}

// temporary marks f as worth a retry.
func (f *fault) temporary() *fault {
	f.again = true
	return f
}

// codeOf returns the status of any error. NATS being late or down is 503.
func codeOf(err error) int {
	var f *fault
	var api *jetstream.APIError
	switch {
	case errors.As(err, &f):
		return f.code
	case errors.As(err, &api), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout),
		errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse),
		errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrDisconnected):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// isTemporary reports whether a retry may succeed. NATS errors count: it comes back.
func isTemporary(err error) bool {
	var f *fault
	return !errors.As(err, &f) || f.again
}

// notBefore returns how long HackerNews asked us to wait.
func notBefore(err error) time.Duration {
	var f *fault
	if errors.As(err, &f) {
		return f.after
	}
	return 0
}
