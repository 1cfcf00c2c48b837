package logs

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// layout is the version of the stream's configuration. It stands in its metadata: a
// stream with a greater one was made by a newer Mayfly and is left as it is.
const (
	layout     = 1
	layoutName = "mayfly.layout"
)

// Sizes of the stream.
const (
	sharePercent = 5
	usualBytes   = 256 << 20 // where nobody limits the store
	leastBytes   = 1 << 20
)

// Errors of JetStream that are told apart by number alone.
const (
	noPeers     = 10005 // not enough servers for the copies
	storeFull   = 10047 // all of the store is promised to streams
	noReplicas  = 10074 // no cluster
	accountFull = 10002
	serverFull  = 10023
)

// openStream makes the stream, or makes it as it should be. How many copies and how
// many bytes the server can give is found out by trying; a stream that is there
// never loses any by that.
func openStream(ctx context.Context, b *bus.Bus, store int64) error {
	js, err := b.JetStream()
	if err != nil {
		return err
	}
	if store == 0 {
		account, err := js.AccountInfo(ctx)
		if err != nil {
			return err
		}
		store = max(0, account.Limits.MaxStore)
	}
	size := int64(usualBytes)
	if store > 0 {
		size = max(leastBytes, store/100*sharePercent)
	}
	leastReplicas, leastSize := 1, int64(leastBytes)
	present, err := js.Stream(ctx, mayfly.StreamLogs)
	switch {
	case err == nil:
		there := present.CachedInfo().Config
		if n, err := strconv.Atoi(there.Metadata[layoutName]); err == nil && n > layout {
			return nil
		}
		leastReplicas, leastSize = there.Replicas, there.MaxBytes
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return err
	}
	c := jetstream.StreamConfig{
		Name: mayfly.StreamLogs, Description: "Mayfly: what instances wrote",
		Subjects:  []string{mayfly.SubjectLogs + ".*.*"},
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxBytes: size, MaxAge: 7 * 24 * time.Hour, MaxConsumers: -1, Replicas: 3,
		Duplicates:  time.Minute, // for our own second tries
		Compression: jetstream.S2Compression,
		Metadata:    map[string]string{layoutName: strconv.Itoa(layout)},
	}
	for {
		_, err := js.CreateOrUpdateStream(ctx, c)
		switch {
		case c.Replicas > leastReplicas && apiError(err, noPeers, noReplicas):
			c.Replicas = leastReplicas
		case c.MaxBytes > leastSize && apiError(err, storeFull):
			c.MaxBytes = max(c.MaxBytes/2, leastSize)
		default:
			return err
		}
	}
}

func apiError(err error, codes ...jetstream.ErrorCode) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return false
	}
	for _, code := range codes {
		if e.ErrorCode == code {
			return true
		}
	}
	return false
}

// fault makes an error of NATS one of ours. what says what was being done.
func fault(what string, err error) error {
	if _, ok := errors.AsType[*mayfly.Error](err); ok || err == nil {
		return err
	}
	switch {
	case apiError(err, storeFull, accountFull, serverFull):
		return mayfly.Errorf(mayfly.Exhausted, "cannot %s: the store is full: %w", what, err).
			WithHint("give NATS more room (--bus.store), or remove streams that are not needed")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return mayfly.Errorf(mayfly.Timeout, "cannot %s: no answer from NATS in time: %w", what, err).
			WithHint("look at the NATS server, then try again")
	default:
		return mayfly.Errorf(mayfly.Unavailable, "cannot %s: %s", what, strings.TrimPrefix(err.Error(), "nats: ")).
			WithHint("look at the NATS server; the connection is tried again all the time")
	}
}
