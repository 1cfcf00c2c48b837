package registry

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// format is the version of all that Mayfly keeps in JetStream.
	format = 1

	// layout is the version of the configuration of our own buckets. It stands in
	// their metadata: a bucket with a greater one was made by a newer Mayfly and is
	// left as it is.
	layout     = 1
	layoutName = "mayfly.layout"

	history = 32 // values that are kept of an entry
)

// Sizes of the buckets: a share of what the store may hold, or so much where
// nobody limits it.
const (
	codeShare, codeBytes         = 10, 2 << 30 // percent
	registryShare, registryBytes = 1, 256 << 20
	metaBytes                    = 1 << 20
	leastBytes                   = 1 << 20
)

// openState makes the buckets, or makes them as they should be, and proves that
// the store is of a format that we know. Making one again that is there costs
// nothing, and recovers it if the power failed when it was new.
func (r *Registry) openState(ctx context.Context) error {
	js, err := r.bus.JetStream()
	if err != nil {
		return err
	}
	limit, err := r.limit(ctx, js)
	if err != nil {
		return fault("ask for the account's limits", err)
	}
	// The format first: in a newer store nothing else is touched.
	err = ensure(ctx, js, "KV_"+mayfly.BucketMeta, metaBytes, func(replicas int, size int64) error {
		_, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: mayfly.BucketMeta, Description: "Mayfly: version of the format", History: 8,
			Replicas: replicas, MaxBytes: size, Metadata: layoutMetadata(),
		})
		return err
	})
	if err != nil {
		return fault("make bucket "+mayfly.BucketMeta, err)
	}
	if err := checkFormat(ctx, js); err != nil {
		return err
	}
	err = ensure(ctx, js, "KV_"+mayfly.BucketRegistry, share(limit, registryShare, registryBytes), func(replicas int, size int64) error {
		_, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: mayfly.BucketRegistry, Description: "Mayfly: what is deployed", History: history,
			Replicas: replicas, MaxBytes: size, Metadata: layoutMetadata(),
		})
		return err
	})
	if err != nil {
		return fault("make bucket "+mayfly.BucketRegistry, err)
	}
	err = ensure(ctx, js, "OBJ_"+mayfly.BucketCode, share(limit, codeShare, codeBytes), func(replicas int, size int64) error {
		_, err := js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: mayfly.BucketCode, Description: "Mayfly: code bundles by sha256",
			Replicas: replicas, MaxBytes: size, Metadata: layoutMetadata(),
		})
		return err
	})
	if err != nil {
		return fault("make bucket "+mayfly.BucketCode, err)
	}
	return r.sync()
}

// limit returns the bytes that the store may hold, 0 if nobody limits it.
func (r *Registry) limit(ctx context.Context, js jetstream.JetStream) (int64, error) {
	if r.options.Store > 0 {
		return r.options.Store, nil
	}
	account, err := js.AccountInfo(ctx)
	if err != nil {
		return 0, err
	}
	return max(0, account.Limits.MaxStore), nil
}

func share(limit, percent, unlimited int64) int64 {
	if limit == 0 {
		return unlimited
	}
	return max(leastBytes, limit/100*percent)
}

// ensure makes a stream by trying. Whether a cluster can hold three copies, and how
// much of a server's store is promised to others already, only the server knows. A
// stream that is there never loses copies by that, nor room.
func ensure(ctx context.Context, js jetstream.JetStream, stream string, size int64, create func(replicas int, size int64) error) error {
	replicas, leastReplicas, leastSize := 3, 1, int64(leastBytes)
	present, err := js.Stream(ctx, stream)
	switch {
	case err == nil:
		c := present.CachedInfo().Config
		if newer(c.Metadata) {
			return nil
		}
		leastReplicas, leastSize = c.Replicas, c.MaxBytes
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return err
	}
	for {
		err := create(replicas, size)
		switch {
		case replicas > leastReplicas && apiError(err, noPeers, noReplicas):
			replicas = leastReplicas
		case size > leastSize && apiError(err, storeFull):
			size = max(size/2, leastSize)
		default:
			return err
		}
	}
}

func layoutMetadata() map[string]string { return map[string]string{layoutName: strconv.Itoa(layout)} }

func newer(metadata map[string]string) bool {
	n, err := strconv.Atoi(metadata[layoutName])
	return err == nil && n > layout
}

// checkFormat refuses a store of a newer format, and writes ours into a new one.
func checkFormat(ctx context.Context, js jetstream.JetStream) error {
	const key = "format"
	type value struct {
		V      int `json:"v"`
		Format int `json:"format"`
	}
	kv, err := js.KeyValue(ctx, mayfly.BucketMeta)
	if err != nil {
		return fault("read the store's format", err)
	}
	ours, err := json.Marshal(value{V: 1, Format: format})
	if err != nil {
		return err
	}
	_, err = kv.Create(ctx, key, ours)
	if err == nil {
		return nil
	}
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return fault("write the store's format", err)
	}
	stored, err := kv.Get(ctx, key)
	if err != nil {
		return fault("read the store's format", err)
	}
	var theirs value
	if err := json.Unmarshal(stored.Value(), &theirs); err != nil || theirs.Format < 1 {
		return mayfly.Errorf(mayfly.Invalid, "key %q of bucket %s does not say which format the store has", key, mayfly.BucketMeta).
			WithHint("if Mayfly did not write it, choose another NATS account; else restore a backup")
	}
	if theirs.Format > format {
		return mayfly.Errorf(mayfly.Invalid, "the store was written by a newer Mayfly: it has format %d, this version knows %d", theirs.Format, format).
			WithHint("upgrade this Mayfly, or choose another --data folder or NATS account")
	}
	return nil
}

// Errors of JetStream that are told apart by number alone.
const (
	noPeers       = 10005 // not enough servers for the copies
	storeFull     = 10047 // all of the store is promised to streams
	noReplicas    = 10074 // no cluster
	accountFull   = 10002
	serverFull    = 10023
	maxBytes      = 10077 // the stream's own limit is reached
	wrongSequence = 10071 // somebody wrote before
)

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
	case apiError(err, storeFull, accountFull, serverFull, maxBytes):
		return mayfly.Errorf(mayfly.Exhausted, "cannot %s: the store is full: %w", what, err).
			WithHint("remove functions that are not needed, or give NATS more room (--bus.store)")
	case errors.Is(err, context.Canceled):
		return mayfly.Errorf(mayfly.Timeout, "cannot %s: the caller left: %w", what, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return mayfly.Errorf(mayfly.Timeout, "cannot %s: no answer from NATS in time: %w", what, err).
			WithHint("look at the NATS server, then try again")
	case errors.Is(err, nats.ErrPermissionViolation):
		return mayfly.Errorf(mayfly.Denied, "cannot %s: the NATS user may not: %w", what, err)
	default:
		return mayfly.Errorf(mayfly.Unavailable, "cannot %s: %s", what, strings.TrimPrefix(err.Error(), "nats: ")).
			WithHint("look at the NATS server; the connection is tried again all the time")
	}
}

// passing reports whether an error may be gone at the next try: the server is
// away, or a cluster chooses a leader.
func passing(err error) bool {
	if _, ok := errors.AsType[*mayfly.Error](err); ok {
		return mayfly.CodeOf(err) == mayfly.Unavailable
	}
	if e, ok := errors.AsType[*jetstream.APIError](err); ok {
		return e.Code == 503 && !apiError(err, storeFull, accountFull, serverFull, maxBytes)
	}
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionClosed) ||
		errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, context.DeadlineExceeded)
}

// patience is how long work on the registry is tried again while NATS is away: as
// long as a cluster takes for a new leader, twice. An answer that does not come
// within one try is lost; pause is the rest between two.
const (
	patience = 15 * time.Second
	try      = 5 * time.Second
	pause    = 250 * time.Millisecond
)

// persist does work that may be repeated until it succeeds, fails for good or has
// no time any more. js belongs to the present connection, so each try has a new
// one.
func (r *Registry) persist(ctx context.Context, what string, work func(ctx context.Context, js jetstream.JetStream) error) error {
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		js, err := r.bus.JetStream()
		if err == nil {
			once, done := context.WithTimeout(patient, try)
			err = work(once, js)
			done()
		}
		if err == nil || !passing(err) {
			return fault(what, err)
		}
		select {
		case <-ctx.Done():
			return fault(what, ctx.Err())
		case <-patient.Done():
			return mayfly.Errorf(mayfly.Unavailable, "cannot %s: NATS does not answer: %w", what, err).
				WithHint("look at the NATS server, then try again")
		case <-time.After(pause):
		}
	}
}
