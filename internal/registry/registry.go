package registry

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/news"
)

// Options configure a Registry. The zero value reads and writes entries, and cannot
// fetch.
type Options struct {
	Look  bool         // read only: do not create missing buckets
	Cache string       // folder of fetched bundles, created when needed; Fetch needs it
	By    string       // author of deploys for the history, user@host
	Log   *slog.Logger // discards if nil
}

// A Registry holds what is deployed on a bus: entries in a KV bucket, with a picture of
// them in memory, and bundles of code in an object store.
type Registry struct {
	bus     *bus.Bus
	options Options
	log     *slog.Logger

	cancel   context.CancelFunc
	follower sync.WaitGroup
	fetcher  fetcher

	mu      sync.RWMutex
	picture *picture // what readers see
	next    *picture // filled by a new watch until it is complete; nil otherwise
	changed news.Feed[mayfly.Name]
	lost    error // why there is no registry now

	barred error // why the registry is empty, see None
}

// None returns an empty Registry that cannot fetch, for the given reason.
func None(why error) *Registry {
	return &Registry{picture: newPicture(), cancel: func() {}, barred: why}
}

// Open creates missing buckets and returns when the picture is complete. Errors: Invalid
// for a store of a newer format, Unavailable, also when reads keep failing, Exhausted if the store is full, NotFound
// if there is nothing to Look at. Close the registry before the bus.
func Open(ctx context.Context, b *bus.Bus, o Options) (*Registry, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	r := &Registry{
		bus: b, options: o, log: o.Log, picture: newPicture(),
	}
	if err := r.openState(ctx); err != nil {
		return nil, err
	}
	if o.Cache != "" {
		if err := sweepCache(o.Cache); err != nil {
			return nil, err
		}
	}
	if err := r.begin(ctx, readWait); err != nil {
		return nil, err
	}
	return r, nil
}

// begin returns when the picture is complete, and follows it until Close.
func (r *Registry) begin(ctx context.Context, patience time.Duration) error {
	follow, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	first := make(chan error, 1)
	err := r.bus.UntilRefused(ctx, func(ctx context.Context) error {
		r.follower.Go(func() { r.follow(follow, patience, first) })
		select {
		case err := <-first:
			return err
		case <-ctx.Done():
			return bus.Fault("read the registry", ctx.Err())
		}
	})
	if err != nil {
		r.Close()
	}
	return err
}

// Close stops the watch and all fetches.
func (r *Registry) Close() error {
	r.cancel()
	r.follower.Wait()
	r.fetcher.close()
	return nil
}

// List returns the units that are deployed now: functions by name, then services by
// name. It answers from memory. The result is shared: change neither the slice nor
// what is in it.
func (r *Registry) List() []mayfly.Unit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.picture.list()
}

// Current returns the unit that is deployed under a name now, or nil. It answers from
// memory. Do not change the unit.
func (r *Registry) Current(name mayfly.Name) *mayfly.Unit {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return cmp.Or(r.picture.units[keyOf(mayfly.KindFunction, name)], r.picture.units[keyOf(mayfly.KindService, name)])
}

// Get returns a unit's current revision, or the one that ref names, if the history
// still has it. The error has code NotFound.
func (r *Registry) Get(ctx context.Context, ref mayfly.Ref) (mayfly.Unit, error) {
	if u := r.Current(ref.Name); u != nil && (ref.Revision == 0 || ref.Revision == u.Revision) {
		return *u, nil
	}
	// The bucket has what the picture lacks: old revisions, and one too new for the
	// watch to have reported.
	key, e, err := r.find(ctx, string(ref.Name))
	switch {
	case err != nil:
		return mayfly.Unit{}, err
	case e.live() && (ref.Revision == 0 || ref.Revision == e.Revision):
	case ref.Revision == 0:
		return mayfly.Unit{}, r.missing(key)
	default:
		if e, err = r.past(ctx, key, ref.Revision); err != nil {
			return mayfly.Unit{}, err
		}
	}
	return thingOf[mayfly.Unit](e)
}

// Next returns the number that the next revision of a unit will have, unless another
// deploy comes first.
func (r *Registry) Next(ctx context.Context, kind mayfly.Kind, name mayfly.Name) (uint64, error) {
	e, err := r.read(ctx, keyOf(kind, name))
	return e.Revision + 1, err
}

// Watch returns a channel with the names of units deployed, scaled or removed; the
// empty name stands for routes. The first value is sent at once and holds all names.
// The channel is closed when ctx ends.
func (r *Registry) Watch(ctx context.Context) <-chan map[mayfly.Name]struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.changed.Watch(ctx, r.picture.names()...)
}
