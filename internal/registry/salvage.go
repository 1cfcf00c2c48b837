package registry

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go/jetstream"
)

const subjects = "$KV." + mayfly.BucketRegistry + "."

// salvage adds to the new picture what a watch did not bring: a damaged message stops its
// consumer for good, without a word. It returns which entries are damaged.
func (r *Registry) salvage(ctx context.Context, js jetstream.JetStream, kv jetstream.KeyValue) (damage, err error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subjects+">"))
	if err != nil {
		return nil, err
	}
	var damaged []string
	for subject := range info.State.Subjects {
		key := strings.TrimPrefix(subject, subjects)
		r.mu.RLock()
		_, there := r.next.seen[key]
		r.mu.RUnlock()
		if there {
			continue
		}
		e, err := salvageOne(ctx, s, kv, key)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e.broken != nil {
			damaged = append(damaged, key)
		}
		r.show(key, e, err)
	}
	if damaged == nil {
		return nil, nil
	}
	slices.Sort(damaged)
	return mayfly.Errorf(mayfly.Unavailable, "the registry cannot be read in full, damaged on disk: %s", strings.Join(damaged, ", ")).
		WithHint("deploy what is damaged again, or restore a backup"), nil
}

// salvageOne reads the entry of a key of which the stream has messages.
func salvageOne(ctx context.Context, s jetstream.Stream, kv jetstream.KeyValue, key string) (entry, error) {
	one, done := context.WithTimeout(ctx, historyWait)
	defer done()
	if _, err := s.GetLastMsgForSubject(one, subjects+key); err != nil {
		e, err := lastIntact(ctx, s, key)
		if e.kv == 0 {
			e.kv, e.broken = 1, senseless(key, errDamaged) // there is one, of whatever number
		}
		return e, err
	}
	stored, err := kv.Get(one, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return entry{}, nil // deleted
	}
	if err != nil {
		return entry{}, err
	}
	return readable(one, kv, stored)
}

// lastIntact returns the last value of a key that can be read from disk, as a broken
// entry; kv is 0 if there is none. The message after it is damaged, and so its number is
// unknown.
func lastIntact(ctx context.Context, s jetstream.Stream, key string) (entry, error) {
	ctx, done := context.WithTimeout(ctx, historyWait)
	defer done()
	var intact []jetstream.KeyValueEntry
	for next := uint64(1); ; {
		m, err := s.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subjects+key))
		if err != nil {
			break
		}
		intact = append(intact, rawEntry{m, key})
		next = m.Sequence + 1
	}
	_, present, err := values(key, intact)
	if err != nil || present.kv == 0 {
		return present, err
	}
	present.Revision++
	present.broken = senseless(key, errDamaged)
	return present, nil
}

// A rawEntry is a message as an entry of the bucket.
type rawEntry struct {
	*jetstream.RawStreamMsg
	key string
}

func (s rawEntry) Bucket() string     { return mayfly.BucketRegistry }
func (s rawEntry) Key() string        { return s.key }
func (s rawEntry) Value() []byte      { return s.Data }
func (s rawEntry) Revision() uint64   { return s.Sequence }
func (s rawEntry) Created() time.Time { return s.Time }
func (s rawEntry) Delta() uint64      { return 0 }

func (s rawEntry) Operation() jetstream.KeyValueOp {
	switch s.Header.Get("KV-Operation") {
	case "DEL":
		return jetstream.KeyValueDelete
	case "PURGE":
		return jetstream.KeyValuePurge
	default:
		return jetstream.KeyValuePut
	}
}

// awaitChange returns when the stream has changed, at the latest after damagedFor.
func (r *Registry) awaitChange(ctx context.Context) {
	late := time.After(damagedFor)
	before, _ := r.bus.Extent(ctx, stream)
	for {
		select {
		case <-ctx.Done():
			return
		case <-late:
			return
		case <-time.After(checkEvery):
		}
		if now, err := r.bus.Extent(ctx, stream); err != nil || now != before {
			return
		}
	}
}
