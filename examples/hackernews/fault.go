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

// A fault is an error that a caller is told, with the number that HTTP has for its
// kind: Nats-Service-Error-Code takes it, and so does a gateway.
type fault struct {
	code  int
	text  string
	again bool          // whether the same may succeed later
	after time.Duration // but not before
}

func (f *fault) Error() string { return f.text }

func faultf(code int, format string, args ...any) *fault {
	return &fault{code: code, text: fmt.Sprintf(format, args...)}
}

// temporary returns f as one that trying again may mend.
func (f *fault) temporary() *fault {
	f.again = true
	return f
}

// codeOf returns the number of any error. What NATS did not do in time, or not at
// all, is nobody's fault here: 503.
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

// isTemporary reports whether the same may succeed later. Errors of NATS do: it
// comes back.
func isTemporary(err error) bool {
	var f *fault
	return !errors.As(err, &f) || f.again
}

// notBefore returns how long to leave HackerNews alone, as it asked for.
func notBefore(err error) time.Duration {
	var f *fault
	if errors.As(err, &f) {
		return f.after
	}
	return 0
}
