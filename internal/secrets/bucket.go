package secrets

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// layout is the version of the bucket's configuration. It stands in its metadata:
// a bucket with a greater one was made by a newer Mayfly and is left as it is.
const (
	layout     = 1
	layoutName = "mayfly.layout"
)

// Sizes of the bucket: the store may have less to give.
const (
	mostBytes  = 64 << 20
	leastBytes = 1 << 20
)

// Errors of JetStream that are told apart by number alone.
const (
	noPeers     = 10005 // not enough servers for the copies
	storeFull   = 10047 // all of the store is promised to streams
	noReplicas  = 10074 // no cluster
	accountFull = 10002
	serverFull  = 10023
	bucketFull  = 10077
)

// openBucket makes the bucket, or makes it as it should be, and reports whether it
// was not there. How many copies and how many bytes the server can give is found
// out by trying; a bucket that is there never loses any by that.
func openBucket(ctx context.Context, b *bus.Bus) (made bool, err error) {
	js, err := b.JetStream()
	if err != nil {
		return false, err
	}
	leastReplicas, leastSize := 1, int64(leastBytes)
	present, err := js.Stream(ctx, "KV_"+mayfly.BucketSecrets)
	switch {
	case err == nil:
		there := present.CachedInfo().Config
		if n, err := strconv.Atoi(there.Metadata[layoutName]); err == nil && n > layout {
			return false, nil
		}
		leastReplicas, leastSize = there.Replicas, there.MaxBytes
	case errors.Is(err, jetstream.ErrStreamNotFound):
		made = true
	default:
		return false, err
	}
	c := jetstream.KeyValueConfig{
		Bucket: mayfly.BucketSecrets, Description: "Mayfly: secrets, encrypted with age",
		History: 1, Replicas: 3, MaxBytes: mostBytes, Metadata: map[string]string{layoutName: strconv.Itoa(layout)},
	}
	for {
		_, err := js.CreateOrUpdateKeyValue(ctx, c)
		switch {
		case c.Replicas > leastReplicas && apiError(err, noPeers, noReplicas):
			c.Replicas = leastReplicas
		case c.MaxBytes > leastSize && apiError(err, storeFull):
			c.MaxBytes = max(c.MaxBytes/2, leastSize)
		default:
			return made, err
		}
	}
}

func (s *Secrets) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	js, err := s.bus.JetStream()
	if err != nil {
		return nil, err
	}
	kv, err := js.KeyValue(ctx, mayfly.BucketSecrets)
	return kv, fault("open the secrets", err)
}

// names returns the names of all secrets.
func names(ctx context.Context, kv jetstream.KeyValue) ([]string, error) {
	keys, err := kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, nil
	}
	return keys, fault("list the secrets", err)
}

// noneYet refuses to go on where there are secrets.
func noneYet(ctx context.Context, kv jetstream.KeyValue) error {
	keys, err := names(ctx, kv)
	if err != nil || len(keys) == 0 {
		return err
	}
	return mayfly.Errorf(mayfly.Denied, "the %d secrets that are there were set with a key that is not here: %w", len(keys), errNoKey).
		WithHint("copy secret.key from the node where they were set, or name it with --secret-key, or remove them first")
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
	case apiError(err, storeFull, accountFull, serverFull, bucketFull):
		return mayfly.Errorf(mayfly.Exhausted, "cannot %s: the store is full: %w", what, err).
			WithHint("remove secrets that are not needed, or give NATS more room (--bus.store)")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return mayfly.Errorf(mayfly.Timeout, "cannot %s: no answer from NATS in time: %w", what, err).
			WithHint("look at the NATS server, then try again")
	default:
		return mayfly.Errorf(mayfly.Unavailable, "cannot %s: %s", what, strings.TrimPrefix(err.Error(), "nats: ")).
			WithHint("look at the NATS server; the connection is tried again all the time")
	}
}
