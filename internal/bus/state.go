package bus

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// A State is a bucket or a stream of Mayfly. One of KeyValue, Objects and Stream
// configures it; Keep sets their Replicas, MaxBytes and Metadata.
type State struct {
	KeyValue *jetstream.KeyValueConfig
	Objects  *jetstream.ObjectStoreConfig
	Stream   *jetstream.StreamConfig

	// Layout is the version of that configuration, from 1, in the stream's metadata. A
	// stream with a greater number is of a newer Mayfly and is left as it is; one with
	// the same number keeps its operator's changes.
	Layout int

	// The size limit: a percentage of JetStream's store, or Bytes if the store is
	// unlimited or Percent is 0. A small store gets less.
	Percent int64
	Bytes   int64
}

const (
	layoutName = "mayfly.layout"
	copies     = 3       // if there are that many servers
	leastBytes = 1 << 20 // of any state
)

// Keep creates missing states, all at once, and updates those of an older layout. Only
// the server knows how many replicas are possible and how much of the store is
// reserved, so Keep finds out by trying. An existing state never loses replicas or space.
//
// At the start of a node it costs one request per state, and restores a stream whose
// files a power loss has hidden from the server. Errors: Unavailable, Timeout,
// Exhausted, Denied.
func (b *Bus) Keep(ctx context.Context, states ...State) error {
	return b.UntilRefused(ctx, func(ctx context.Context) error {
		js, err := b.JetStream()
		if err != nil {
			return err
		}
		info, err := b.jetStream(ctx)
		if err != nil {
			return Fault("open the store", err)
		}
		errs := make([]error, len(states))
		var all sync.WaitGroup
		for i, s := range states {
			all.Go(func() {
				errs[i] = Fault("open "+s.name(), b.keep(ctx, js, s, max(0, info.Limits.MaxStore)))
			})
		}
		all.Wait()
		return cmp.Or(errs...)
	})
}

func (b *Bus) keep(ctx context.Context, js jetstream.JetStream, s State, limit int64) error {
	replicas, leastReplicas := copies, 1
	if b.server != nil {
		replicas = 1
	}
	size, leastSize := s.Bytes, int64(leastBytes)
	if limit > 0 && s.Percent > 0 {
		size = max(leastBytes, limit/100*s.Percent)
	}
	kept := false // the existing stream has our layout
	present, err := js.Stream(ctx, s.stream())
	switch {
	case err == nil:
		there := present.CachedInfo().Config
		if layoutOf(there) > s.Layout {
			return nil
		}
		kept = layoutOf(there) == s.Layout
		leastReplicas, leastSize = there.Replicas, there.MaxBytes
		replicas = max(replicas, leastReplicas)
		// It grows with the store, but not with each unrelated file that is deleted.
		if limit == 0 || size/2 < leastSize {
			size = leastSize
		}
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return err
	}
	for !kept || replicas > leastReplicas || size > leastSize {
		err := s.put(ctx, js, replicas, size)
		switch {
		case size > leastSize && noRoom(err):
			size = max(size/2, leastSize)
		case replicas > leastReplicas && apiError(err, noPeers, noReplicas, storeFull):
			replicas = leastReplicas
		case err == nil && b.committer != nil:
			b.committer.soon() // no waiter: writers sync by themselves
			return nil
		default:
			return err
		}
	}
	return nil
}

// put creates or updates the state.
func (s State) put(ctx context.Context, js jetstream.JetStream, replicas int, size int64) error {
	metadata := map[string]string{layoutName: strconv.Itoa(s.Layout)}
	var err error
	switch {
	case s.KeyValue != nil:
		c := *s.KeyValue
		c.Replicas, c.MaxBytes, c.Metadata = replicas, size, metadata
		_, err = js.CreateOrUpdateKeyValue(ctx, c)
	case s.Objects != nil:
		c := *s.Objects
		c.Replicas, c.MaxBytes, c.Metadata = replicas, size, metadata
		_, err = js.CreateOrUpdateObjectStore(ctx, c)
	default:
		c := *s.Stream
		c.Replicas, c.MaxBytes, c.Metadata = replicas, size, metadata
		_, err = js.CreateOrUpdateStream(ctx, c)
	}
	return err
}

// stream returns the name of the stream behind the state.
func (s State) stream() string {
	switch {
	case s.KeyValue != nil:
		return "KV_" + s.KeyValue.Bucket
	case s.Objects != nil:
		return "OBJ_" + s.Objects.Bucket
	default:
		return s.Stream.Name
	}
}

// name returns its name for people.
func (s State) name() string {
	if s.Stream != nil {
		return "stream " + s.Stream.Name
	}
	_, bucket, _ := strings.Cut(s.stream(), "_")
	return "bucket " + bucket
}

// layoutOf returns the layout that a stream has, 0 if it is not ours.
func layoutOf(c jetstream.StreamConfig) int {
	n, _ := strconv.Atoi(c.Metadata[layoutName])
	return n
}
