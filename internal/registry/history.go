package registry

import (
	"context"
	"errors"
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
	entries, err := r.entries(ctx, key)
	if err != nil {
		return nil, err
	}
	var revisions []Revision
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
	entries, err := r.entries(ctx, key)
	if err != nil {
		return entry{}, err
	}
	if len(entries) == 0 {
		return entry{}, r.missing(key)
	}
	present := entries[0]
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
		WithHint("mayfly history %s shows what is kept", nameOf(key))
}

// entries returns all stored values of an entry, newest first.
func (r *Registry) entries(ctx context.Context, key string) (entries []entry, err error) {
	err = r.bus.RetryBucket(ctx, "read the history of "+key, mayfly.BucketRegistry, func(ctx context.Context, kv jetstream.KeyValue) error {
		entries = nil
		stored, err := kv.History(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, s := range stored {
			e, err := entryOf(s)
			if err != nil {
				return err
			}
			entries = append(entries, e)
		}
		slices.Reverse(entries)
		return nil
	})
	return entries, err
}
