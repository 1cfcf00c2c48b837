package registry

import (
	"context"
	"log/slog"
	"sync"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/news"
)

// Options say who changes the registry and where bundles are kept. The zero value
// reads and writes entries, and cannot fetch.
type Options struct {
	Look  bool         // make no bucket that is not there: the Registry is for reading
	Cache string       // folder of fetched bundles, made when needed; Fetch needs it
	By    string       // who deploys, user@host; stands in the history
	Log   *slog.Logger // discards if nil
}

// A Registry is what is deployed on a bus: entries in a KV bucket, of which a
// picture in memory is kept, and bundles of code in an object store.
type Registry struct {
	bus     *bus.Bus
	options Options
	log     *slog.Logger

	cancel   context.CancelFunc
	follower sync.WaitGroup
	fetcher  fetcher

	mu      sync.RWMutex
	picture *picture // what readers see
	next    *picture // filled by a new watch, until it has everything; nil otherwise
	changed news.Feed[string]

	barred error // why there is nothing at all, see None
}

// None returns a Registry where nothing is deployed and nothing can be fetched, for
// the given reason.
func None(why error) *Registry {
	return &Registry{picture: newPicture(), cancel: func() {}, barred: why}
}

// Open makes the buckets where they are missing and returns when the picture is
// complete. Errors: Invalid for a store of a newer format, Unavailable, Exhausted
// where the store has no room, NotFound where there is nothing to Look at. Close the
// registry before the bus.
func Open(ctx context.Context, b *bus.Bus, o Options) (*Registry, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
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
	follow, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	complete := make(chan struct{})
	err := b.UntilRefused(ctx, func(ctx context.Context) error {
		r.follower.Go(func() { r.follow(follow, complete) })
		select {
		case <-complete:
			return nil
		case <-ctx.Done():
			return bus.Fault("read the registry", ctx.Err())
		}
	})
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Close ends the watching and all fetches.
func (r *Registry) Close() error {
	r.cancel()
	r.follower.Wait()
	r.fetcher.close()
	return nil
}

// List returns the functions and services that are deployed now, by name. It
// answers from memory. What it returns is shared: change neither the slices nor what
// is in them.
func (r *Registry) List() ([]mayfly.Function, []mayfly.Hosted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.picture.list()
	return l.functions, l.services
}

// Current returns the function or the service that is deployed under a name now, as
// nil if there is none. It answers from memory. Change neither.
func (r *Registry) Current(name string) (*mayfly.Function, *mayfly.Hosted) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.picture.functions[kindFunction+name], r.picture.services[kindService+name]
}

// Get returns a function's current revision, or the one that ref names, if the
// history still has it. The error has code NotFound.
func (r *Registry) Get(ctx context.Context, ref mayfly.Ref) (mayfly.Function, error) {
	r.mu.RLock()
	f := r.picture.functions[kindFunction+string(ref.Name)]
	r.mu.RUnlock()
	if f != nil && (ref.Revision == 0 || ref.Revision == f.Revision) {
		return *f, nil
	}
	return get[mayfly.Function](ctx, r, kindFunction+string(ref.Name), ref.Revision)
}

// GetService is Get for a hosted service; revision 0 is the current one.
func (r *Registry) GetService(ctx context.Context, name string, revision uint64) (mayfly.Hosted, error) {
	r.mu.RLock()
	h := r.picture.services[kindService+name]
	r.mu.RUnlock()
	if h != nil && (revision == 0 || revision == h.Revision) {
		return *h, nil
	}
	return get[mayfly.Hosted](ctx, r, kindService+name, revision)
}

// get reads from the bucket what the picture does not have: an old revision, or
// one so new that no news of it has come.
func get[T thing](ctx context.Context, r *Registry, key string, revision uint64) (T, error) {
	if err := checkKey(key); err != nil {
		return *new(T), err
	}
	e, err := r.read(ctx, key)
	if err != nil {
		return *new(T), err
	}
	switch {
	case e.live() && (revision == 0 || revision == e.Revision):
	case revision == 0:
		return *new(T), r.missing(key)
	default:
		if e, err = r.past(ctx, key, revision); err != nil {
			return *new(T), err
		}
	}
	return thingOf[T](e)
}

// Next returns the number that the next revision of a function will have, if nobody
// is faster.
func (r *Registry) Next(ctx context.Context, name mayfly.Name) (uint64, error) {
	e, err := r.read(ctx, kindFunction+string(name))
	return e.Revision + 1, err
}

// Watch returns a channel with the names of what was deployed, scaled or removed;
// the empty name stands for routes. The first value comes at once and holds all
// names. The channel is closed when ctx ends.
func (r *Registry) Watch(ctx context.Context) <-chan map[string]struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.changed.Watch(ctx, r.picture.names()...)
}
