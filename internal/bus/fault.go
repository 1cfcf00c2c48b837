package bus

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// JetStream errors that only their number identifies.
const (
	noPeers     = 10005 // not enough servers for the copies
	noReplicas  = 10074 // no cluster
	storeFull   = 10047 // the whole store is reserved by streams
	accountFull = 10002
	serverFull  = 10023
	streamFull  = 10077 // the stream's own limit is reached
	tooMany     = 10027 // the account may have no more streams
)

func apiError(err error, codes ...jetstream.ErrorCode) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && slices.Contains(codes, e.ErrorCode)
}

func full(err error) bool { return apiError(err, storeFull, accountFull, serverFull, streamFull) }

// noRoom reports whether there is less space than requested. A cluster reports it as a
// lack of servers, and only the text tells the two apart.
func noRoom(err error) bool {
	return apiError(err, storeFull) || apiError(err, noPeers) && strings.Contains(err.Error(), "insufficient storage")
}

// Fault translates a NATS error to one of ours, with code Exhausted, Timeout, Denied or
// Unavailable, and is the only place that does. what names the failed operation. nil
// and errors that are already ours are returned as they are.
func Fault(what string, err error) error {
	if _, ok := errors.AsType[*mayfly.Error](err); ok || err == nil {
		return err
	}
	switch {
	case full(err):
		return mayfly.Errorf(mayfly.Exhausted, "cannot %s: the store is full: %w", what, err).
			WithHint("remove what is not needed, or give NATS more room (--bus.store)")
	case apiError(err, tooMany):
		return mayfly.Errorf(mayfly.Exhausted, "cannot %s: the NATS account has reached its stream limit: %w", what, err).
			WithHint("ask its operator to raise max_streams, or remove streams that are not needed")
	case errors.Is(err, context.Canceled):
		return mayfly.Errorf(mayfly.Timeout, "cannot %s: canceled: %w", what, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return mayfly.Errorf(mayfly.Timeout, "cannot %s: no answer from NATS in time: %w", what, err).
			WithHint("check the NATS server, then try again")
	case errors.Is(err, nats.ErrPermissionViolation):
		return mayfly.Errorf(mayfly.Denied, "cannot %s: %s", what, trimNATS(err)).
			WithHint("ask its operator to allow it, or use another login (--creds, --user, --context)")
	case Passing(err):
		return mayfly.Errorf(mayfly.Unavailable, "cannot %s: NATS is unreachable or reconnecting", what).
			WithHint("try again; if it persists, check the NATS server or the node that runs it")
	default:
		return mayfly.Errorf(mayfly.Unavailable, "cannot %s: %s", what, trimNATS(err)).
			WithHint("check the NATS server; Mayfly keeps reconnecting")
	}
}

func trimNATS(err error) string { return strings.TrimPrefix(err.Error(), "nats: ") }

// Passing reports whether an error may be temporary: the server is away, or a cluster
// is electing a leader.
func Passing(err error) bool {
	if _, ok := errors.AsType[*mayfly.Error](err); ok {
		return mayfly.CodeOf(err) == mayfly.Unavailable && !disabled(err)
	}
	if e, ok := errors.AsType[*jetstream.APIError](err); ok {
		return e.Code == 503 && !full(err)
	}
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionClosed) ||
		errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, context.DeadlineExceeded)
}

// UntilRefused runs work with a ctx that ends when the server denies our user a
// permission. NATS reports that separately: the denied request itself is never
// answered. The error then has code Denied.
func (b *Bus) UntilRefused(ctx context.Context, work func(ctx context.Context) error) error {
	ctx, stop := b.untilRefused(ctx)
	defer stop()
	err := work(ctx)
	if refused := refusal(ctx); err != nil && refused != nil {
		return &mayfly.Error{
			Code: mayfly.Denied, Message: "NATS denied it: " + trimNATS(refused), Err: refused,
			Hint: "ask the server's operator to allow it, or use another login (--creds, --user, --context)",
		}
	}
	return err
}

// Refused reports whether an error says that the server denied our user a permission.
func Refused(err error) bool { return errors.Is(err, nats.ErrPermissionViolation) }

// untilRefused returns a context that ends when the server denies an operation of
// Mayfly itself.
func (b *Bus) untilRefused(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	forget := b.core.onRefusal(func(err error) {
		// "nats: permissions violation: ... for Publish to "$JS.API.STREAM.CREATE.X""
		for _, ours := range []string{"$JS.", "$KV.", "$O.", mayfly.SubjectSync} {
			if strings.Contains(err.Error(), ` to "`+ours) {
				cancel(err)
			}
		}
	})
	return ctx, func() {
		forget()
		cancel(nil)
	}
}

// refusal returns what ended a context of untilRefused, or nil if it was not that.
func refusal(ctx context.Context) error {
	if err := context.Cause(ctx); errors.Is(err, nats.ErrPermissionViolation) {
		return err
	}
	return nil
}
