package registry

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go/jetstream"
)

const subjects = "$KV." + mayfly.BucketRegistry + "."

// salvage adds to the new picture what a watch did not bring. damage says which entries
// are damaged. With err, as of a slow disk or a lost connection, nobody knows what the
// store holds.
func (r *Registry) salvage(ctx context.Context, js jetstream.JetStream) (damage, err error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	shown := func(subject string) bool {
		r.mu.RLock()
		defer r.mu.RUnlock()
		return r.next.seen[strings.TrimPrefix(subject, subjects)] > 0
	}
	var damaged []string
	err = bus.LastOfEach(ctx, s, subjects+">", shown, func(subject string, m *jetstream.RawStreamMsg) error {
		key := strings.TrimPrefix(subject, subjects)
		e, unreadable, err := salvageOne(ctx, s, key, m)
		if err != nil {
			return err
		}
		if errors.Is(e.broken, errDamaged) {
			damaged = append(damaged, key)
		}
		r.show(key, e, unreadable)
		return nil
	})
	if err != nil || damaged == nil {
		return nil, err
	}
	slices.Sort(damaged)
	return mayfly.Errorf(mayfly.Unavailable, "the registry cannot be read in full, damaged on disk: %s", strings.Join(damaged, ", ")).
		WithHint("deploy what is damaged again, or restore a backup"), nil
}

// salvageOne reads the entry of a key whose newest message is m, or damaged if that is nil.
// unreadable is why the picture cannot show it; err says nothing about the entry.
func salvageOne(ctx context.Context, s jetstream.Stream, key string, m *jetstream.RawStreamMsg) (e entry, unreadable, err error) {
	if m == nil {
		if e, err = lastIntact(ctx, s, key); e.V > version {
			return e, err, nil
		}
		if e.kv == 0 {
			e.kv, e.broken = 1, senseless(key, errDamaged) // there is one, of whatever number
		}
		return e, nil, err
	}
	newest := rawEntry{m, key}
	if e, unreadable = soundEntryOf(newest); unreadable == nil || e.V > version {
		return e, unreadable, nil
	}
	all, err := intact(ctx, s, key)
	if err != nil {
		return entry{}, nil, err
	}
	if n := len(all); n == 0 || all[n-1].Revision() < m.Sequence {
		all = append(all, newest) // an older one is damaged
	}
	_, e, unreadable = values(key, all)
	return e, unreadable, nil
}

// intact returns the values of a key that can be read from disk, oldest first, up to the
// first one that is damaged.
func intact(ctx context.Context, s jetstream.Stream, key string) (all []jetstream.KeyValueEntry, err error) {
	ctx, done := context.WithTimeout(ctx, historyWait)
	defer done()
	for next := uint64(1); ; {
		m, err := s.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subjects+key))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, rawEntry{m, key})
		next = m.Sequence + 1
	}
}

// lastIntact returns the last value of a key that can be read from disk, as a broken
// entry; kv is 0 if there is none. The message after it is damaged, and so its number is
// unknown.
func lastIntact(ctx context.Context, s jetstream.Stream, key string) (entry, error) {
	all, err := intact(ctx, s, key)
	if err != nil {
		return entry{}, err
	}
	_, present, err := values(key, all)
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
