package registry

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go/jetstream"
)

// A Revision is one line of a history: what was current since At.
type Revision struct {
	Number  uint64            `json:"revision"` // of a removal: the number that was removed
	At      time.Time         `json:"when"`
	By      string            `json:"by"`
	Bundles map[string]string `json:"digests"` // by platform
	Note    string            `json:"note"`
	From    uint64            `json:"from,omitempty"`    // revision rolled back to, 0 for a deploy
	Removed bool              `json:"removed,omitempty"` // nothing was current from then on
	Project mayfly.Name       `json:"-"`
}

// History returns what was deployed under the name of a unit, newest first. 32 changes
// are kept, including scaling. The error has code NotFound if there never was one.
func (r *Registry) History(ctx context.Context, name string) ([]Revision, error) {
	key, _, err := r.find(ctx, name)
	if err != nil {
		return nil, err
	}
	entries, _, err := r.entries(ctx, key)
	if err != nil {
		return nil, err
	}
	revisions := []Revision{}
	for _, e := range entries {
		bundles, err := e.bundles()
		if err != nil {
			return nil, err
		}
		revision := Revision{
			Number: e.Revision, Removed: e.Removed, From: e.From, Bundles: bundles,
			Project: e.Project, At: e.Deployed, By: e.By, Note: e.Note,
		}
		// Two entries with the same number are a deploy and its scaling: keep the
		// older one, which has the author of the deploy.
		if n := len(revisions); n > 0 && !e.Removed && !revisions[n-1].Removed && revisions[n-1].Number == e.Revision {
			revisions[n-1] = revision
			continue
		}
		revisions = append(revisions, revision)
	}
	return revisions, nil
}

// past returns an entry of the history: the newest with that number, or for 0 the one
// before the present, or the last before a removal.
func (r *Registry) past(ctx context.Context, key string, number uint64) (entry, error) {
	entries, present, err := r.entries(ctx, key)
	if err != nil {
		return entry{}, err
	}
	if len(entries) == 0 {
		return entry{}, r.missing(key)
	}
	for _, e := range entries {
		switch {
		case e.Removed:
		case number == e.Revision, number == 0 && (e.Revision < present.Revision || present.Removed):
			return e, nil
		}
	}
	if number == 0 {
		return entry{}, mayfly.Errorf(mayfly.NotFound, "%q has no revision before %d", nameOf(key), present.Revision)
	}
	ref := mayfly.Ref{Name: mayfly.Name(nameOf(key)), Revision: number}
	return entry{}, mayfly.Errorf(mayfly.NotFound, "the history has no %s", ref).
		WithHint("run mayfly history %s to see what is kept", nameOf(key))
}

// entries returns all readable values of an entry, newest first, and the present one.
func (r *Registry) entries(ctx context.Context, key string) (all []entry, present entry, err error) {
	err = r.bus.RetryBucket(ctx, "read the history of "+key, mayfly.BucketRegistry, func(ctx context.Context, kv jetstream.KeyValue) error {
		stored, err := kv.History(ctx, key)
		if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			return err
		}
		all, present, err = values(key, stored)
		slices.Reverse(all)
		return err
	})
	return all, present, err
}

// values decodes the values of an entry, oldest first. It skips those that make no sense,
// which other tools or a damaged disk may leave. present is the last one, or the last good
// one with the reason; each skipped value counts as a revision, so that no number is used
// twice. The error has code Invalid: a newer Mayfly wrote one of them.
func values(key string, stored []jetstream.KeyValueEntry) (good []entry, present entry, err error) {
	present.kind, _ = kindOf(key)
	for _, s := range stored {
		e, err := soundEntryOf(s)
		switch {
		case e.V > version:
			return nil, e, err
		case err != nil:
			present.Revision = max(present.Revision+1, e.Revision)
			present.kv, present.broken = s.Revision(), err
		default:
			good = append(good, e)
			e.Revision = max(e.Revision, present.Revision)
			present = e
		}
	}
	return good, present, nil
}

// readable returns the entry whose newest value is stored. If that makes no sense, it is
// the last good one, with the reason: that one serves until the next deploy.
func readable(ctx context.Context, kv jetstream.KeyValue, stored jetstream.KeyValueEntry) (entry, error) {
	e, err := soundEntryOf(stored)
	if err == nil || e.V > version {
		return e, err
	}
	ctx, cancel := context.WithTimeout(ctx, historyWait)
	defer cancel()
	all, failed := kv.History(ctx, stored.Key())
	if failed != nil {
		all = []jetstream.KeyValueEntry{stored}
	}
	_, present, err := values(stored.Key(), all)
	return present, err
}

// historyWait limits how long the last good value of a broken entry is looked for.
const historyWait = 5 * time.Second

// An Unreadable is an entry whose newest value makes no sense. The last good one serves.
type Unreadable struct {
	Key string // such as function/hello
	Err error
}

// Unreadable returns the unreadable entries by key. It answers from memory.
func (r *Registry) Unreadable() []Unreadable {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []Unreadable
	for _, key := range slices.Sorted(maps.Keys(r.picture.broken)) {
		all = append(all, Unreadable{key, r.picture.broken[key]})
	}
	return all
}
