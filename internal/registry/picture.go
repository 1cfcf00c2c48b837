package registry

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A picture is everything deployed at one moment, by entry key.
type picture struct {
	units  map[string]*mayfly.Unit
	routes map[string][]mayfly.Route
	seen   map[string]uint64 // revision of each key that the picture shows, tombstones included
	broken map[string]error  // why the newest value of a key cannot be read

	sorted []mayfly.Unit  // by key; nil after a change of units, until the next list
	paths  []mayfly.Route // by name; nil after a change of routes, until the next listRoutes
}

func newPicture() *picture {
	return &picture{units: map[string]*mayfly.Unit{}, routes: map[string][]mayfly.Route{}, seen: map[string]uint64{}, broken: map[string]error{}}
}

// put shows an entry, unless the picture has a later one, and reports whether it did.
// It does not show what a newer Mayfly wrote: nothing half understood may run. Where no
// value of a broken entry is good, what is shown stays.
func (p *picture) put(key string, e entry, unreadable error) (bool, error) {
	if e.kv <= p.seen[key] {
		return false, nil
	}
	p.seen[key] = e.kv
	delete(p.broken, key)
	if e.broken != nil {
		p.broken[key] = e.broken
		if e.data == nil {
			return true, e.broken
		}
	}
	if watched(key) == "" {
		p.paths = nil
	} else {
		p.sorted = nil
	}
	delete(p.units, key)
	delete(p.routes, key)
	if unreadable != nil || !e.live() {
		return true, unreadable
	}
	return true, cmp.Or(p.fill(key, e), e.broken)
}

// soundEntryOf is entryOf that also rejects a live entry that cannot be shown.
func soundEntryOf(stored jetstream.KeyValueEntry) (entry, error) {
	e, err := entryOf(stored)
	if err == nil && e.live() {
		if err = newPicture().fill(stored.Key(), e); err != nil {
			err = senseless(stored.Key(), err)
		}
	}
	return e, err
}

// fill shows what a live entry holds, if it matches its key.
func (p *picture) fill(key string, e entry) error {
	if _, ok := kindOf(key); ok {
		u, err := thingOf[mayfly.Unit](e)
		if err != nil || keyOf(u.Kind, u.Name) != key {
			return cmp.Or(err, errMisnamed)
		}
		p.units[key] = &u
		return nil
	}
	if !strings.HasPrefix(key, keyRoute) {
		return nil
	}
	s, err := thingOf[route](e)
	if err != nil || keyRoute+s.Name != key {
		return cmp.Or(err, errMisnamed)
	}
	p.routes[key], err = s.routes()
	return err
}

var errMisnamed = errors.New("its name differs from its key")

// watched returns the name that watchers see for a key: its unit's, or "" for a route.
func watched(key string) mayfly.Name {
	if strings.HasPrefix(key, keyRoute) {
		return ""
	}
	return mayfly.Name(nameOf(key))
}

// names returns all names to watch: those of units, and the empty one for routes.
func (p *picture) names() []mayfly.Name {
	names := []mayfly.Name{""}
	for key := range p.seen {
		if name := watched(key); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// list returns the units by key. The list is built once per change and clipped, so that
// append copies it.
func (p *picture) list() []mayfly.Unit {
	if p.sorted == nil {
		all := make([]mayfly.Unit, 0, len(p.units))
		for _, key := range slices.Sorted(maps.Keys(p.units)) {
			all = append(all, *p.units[key])
		}
		p.sorted = slices.Clip(all)
	}
	return p.sorted
}

// listRoutes returns the routes by name, built once per change like list.
func (p *picture) listRoutes() []mayfly.Route {
	if p.paths == nil {
		all := []mayfly.Route{}
		for _, key := range slices.Sorted(maps.Keys(p.routes)) {
			all = append(all, p.routes[key]...)
		}
		p.paths = slices.Clip(all)
	}
	return p.paths
}

// show puts an entry into the picture and the one being built, so that a writer reads
// its own writes.
func (r *Registry) show(key string, e entry, unreadable error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	shown, err := r.picture.put(key, e, unreadable)
	if r.next != nil {
		_, _ = r.next.put(key, e, unreadable) // the same error
	}
	if err != nil {
		r.log.Warn("registry entry cannot be read", "subject", key, "err", err)
	}
	if shown {
		r.changed.Tell(watched(key))
	}
}

const (
	watchPause = 250 * time.Millisecond // before a watch that ended restarts
	checkEvery = 2 * time.Second        // how often a watch asks whether the stream is still the same
	readWait   = 10 * time.Second       // how long a new picture may make no progress, or reads fail before Ready says so
	damagedFor = 30 * time.Second       // until a damaged registry is read again, unless it changes

	firstWithin = 3 // times as long may the first reads fail
)

// stream is the one behind the bucket.
const stream = "KV_" + mayfly.BucketRegistry

var (
	errInterrupted = errors.New("the connection was interrupted")
	errReplaced    = errors.New("the stream was replaced")
	errDamaged     = errors.New("a message is damaged")
)

// follow keeps the picture current until ctx ends. first receives nil when there is one, or
// why there is none after firstWithin times the patience.
func (r *Registry) follow(ctx context.Context, patience time.Duration, first chan<- error) {
	away, since := false, time.Now() // since when nothing was read
	tell := func(err error) {
		if first != nil {
			first <- err
			first = nil
		}
	}
	for {
		read := false
		err := r.watch(ctx, func() {
			away, read = false, true
			tell(nil)
		})
		if ctx.Err() != nil {
			return
		}
		away = away || errors.Is(err, errInterrupted)
		gone := errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
		deleted := gone && !away
		switch {
		case gone && away:
			err = r.openState(ctx) // a server that came back without its store
		case deleted:
			// Somebody deleted it under our feet, perhaps to restore a backup, which an
			// empty one would prevent.
			r.lose(mayfly.Errorf(mayfly.Unavailable, "the registry's stream %s was deleted; what was deployed is still served", stream).
				WithHint("restore a backup of it, or restart the node to begin with an empty registry"))
		case errors.Is(err, errDamaged):
			r.awaitChange(ctx)
		case errors.Is(err, errReplaced):
			r.log.Warn("registry was replaced or went back, reading it again", "subject", stream)
		}
		if read {
			since = time.Now()
		}
		if err != nil {
			r.log.Debug("registry not watched", "err", err)
			why, unread := cannotRead(err), time.Since(since)
			if !deleted && unread >= patience && r.bus.Ready() == nil { // otherwise the bus says why
				r.lose(why)
			}
			if unread >= firstWithin*patience {
				tell(cmp.Or(r.Ready(), why))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchPause):
		}
	}
}

// cannotRead is why there is no picture, after reads that fail without end.
func cannotRead(err error) error {
	return mayfly.Errorf(mayfly.Unavailable, "the registry cannot be read: %w", err).
		WithHint("check the NATS server, its disk and its stream %s", stream)
}

// lose keeps why there is no registry, until the next picture.
func (r *Registry) lose(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lack(why)
}

// lack keeps what the registry lacks, and logs the first reason. The caller holds the lock.
func (r *Registry) lack(why error) {
	if r.lost == nil && why != nil {
		r.log.Warn("registry not read", "err", why)
	}
	r.lost = why
}

// Ready returns nil, or why changes are not seen. It answers from memory.
func (r *Registry) Ready() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.lost
}

// watch builds a new picture and follows changes until its connection is interrupted or
// its stream replaced. The next watch, which starts over, sees the changes missed in
// between.
func (r *Registry) watch(ctx context.Context, complete func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	js, err := r.bus.JetStream()
	if err != nil {
		return err
	}
	interrupted := js.Conn().StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer js.Conn().RemoveStatusListener(interrupted)
	kv, err := js.KeyValue(ctx, mayfly.BucketRegistry)
	if err != nil {
		return err
	}
	began, err := r.bus.Extent(ctx, stream)
	if err != nil {
		return err
	}
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer drain(watcher)

	r.mu.Lock()
	r.next = newPicture()
	r.mu.Unlock()
	seen := sight{extent: began}
	stalled := time.NewTimer(readWait)
	defer stalled.Stop()
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-interrupted:
			return errInterrupted
		case <-check.C:
			if err := r.same(ctx, js, &seen); err != nil {
				return err
			}
		case <-stalled.C:
			damage, err := r.salvage(ctx, js)
			if err != nil {
				return err
			}
			r.swap(damage)
			complete()
			return errDamaged
		case stored, ok := <-watcher.Updates():
			switch {
			case !ok:
				return errInterrupted
			case stored == nil:
				stalled.Stop()
				r.swap(nil)
				complete()
			default:
				if r.building() {
					stalled.Reset(readWait)
				}
				seen.last, seen.at = stored.Revision(), stored.Created()
				e, err := readable(ctx, kv, stored)
				r.show(stored.Key(), e, err)
			}
		}
	}
}

// A sight is what a watch last saw of its stream.
type sight struct {
	extent bus.Extent
	last   uint64 // sequence number of the last value
	at     time.Time
}

// same returns an error if the stream is not the one that a watch follows, or holds another
// value where the watch saw its last one. The consumer behind a watch goes on from the
// number where it was, and would be deaf until the new stream has reached that.
func (r *Registry) same(ctx context.Context, js jetstream.JetStream, seen *sight) error {
	now, err := r.bus.Extent(ctx, stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return err
	case err != nil:
		return nil // not now; an interruption is told elsewhere
	case !now.Created.Equal(seen.extent.Created), now.Last < seen.last:
		return errReplaced
	case now == seen.extent:
		return nil
	}
	there, err := js.Stream(ctx, stream)
	if err != nil {
		return nil
	}
	message, err := there.GetMsg(ctx, seen.last)
	if err == nil && !message.Time.Equal(seen.at) {
		return errReplaced
	}
	seen.extent = now
	return nil
}

// building reports whether the picture is not complete yet.
func (r *Registry) building() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.next != nil
}

// swap makes the new picture the current one. Entries that vanished without a trace,
// because the bucket is a different one, disappear with the old. lost says what the new
// one lacks.
func (r *Registry) swap(lost error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lack(lost)
	if r.next != nil {
		gone := r.picture.names()
		r.picture, r.next = r.next, nil
		r.changed.Tell(slices.Concat(gone, r.picture.names())...)
	}
}

// drain stops a watcher. nats.go blocks on unread values, so drain reads the rest.
func drain(w jetstream.KeyWatcher) {
	_ = w.Stop() // fails if the connection is gone, and the watcher with it
	late := time.After(time.Second)
	for {
		select {
		case _, ok := <-w.Updates():
			if !ok {
				return
			}
		case <-late:
			return
		}
	}
}

// entryOf decodes a stored value. A key that another tool deleted counts as removed.
func entryOf(stored jetstream.KeyValueEntry) (entry, error) {
	if stored.Operation() != jetstream.KeyValuePut {
		kind, _ := kindOf(stored.Key())
		return entry{kind: kind, head: head{note: note{Removed: true, Deployed: stored.Created()}}, kv: stored.Revision()}, nil
	}
	return decode(stored.Key(), stored.Value(), stored.Revision())
}
