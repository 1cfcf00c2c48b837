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
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A picture is all that is deployed at one moment, by the keys of the entries.
type picture struct {
	functions map[string]*mayfly.Function
	services  map[string]*mayfly.Hosted
	routes    map[string][]mayfly.Route
	seen      map[string]uint64 // revision of each key that the picture shows, tombstones included

	units *listing       // by name; nil after a change, until somebody asks
	paths []mayfly.Route // by name; nil after a change of routes, until somebody asks
}

// A listing is what a picture shows, by name. Every caller gets the same one.
type listing struct {
	functions []mayfly.Function
	services  []mayfly.Hosted
}

func newPicture() *picture {
	return &picture{
		functions: map[string]*mayfly.Function{},
		services:  map[string]*mayfly.Hosted{},
		routes:    map[string][]mayfly.Route{},
		seen:      map[string]uint64{},
	}
}

// put shows an entry, unless the picture has a later one, and reports whether it
// did. What cannot be read is not shown: somebody must not run what is only half
// understood.
func (p *picture) put(key string, e entry, unreadable error) (bool, error) {
	if e.kv <= p.seen[key] {
		return false, nil
	}
	p.seen[key] = e.kv
	if watched(key) == "" {
		p.paths = nil
	} else {
		p.units = nil
	}
	delete(p.functions, key)
	delete(p.services, key)
	delete(p.routes, key)
	if unreadable != nil || !e.live() {
		return true, unreadable
	}
	return true, p.fill(key, e)
}

// fill shows what a live entry holds, if it is what its key says.
func (p *picture) fill(key string, e entry) error {
	switch {
	case strings.HasPrefix(key, kindFunction):
		f, err := thingOf[mayfly.Function](e)
		if err != nil || kindFunction+string(f.Name) != key {
			return cmp.Or(err, misnamed(key))
		}
		p.functions[key] = &f
	case strings.HasPrefix(key, kindService):
		h, err := thingOf[mayfly.Hosted](e)
		if err != nil || kindService+h.Name != key {
			return cmp.Or(err, misnamed(key))
		}
		p.services[key] = &h
	case strings.HasPrefix(key, kindRoute):
		s, err := thingOf[route](e)
		if err != nil || kindRoute+s.Name != key {
			return cmp.Or(err, misnamed(key))
		}
		p.routes[key], err = s.routes()
		return err
	}
	return nil
}

func misnamed(key string) error {
	return mayfly.Errorf(mayfly.Invalid, "the registry's entry %s has another name than its key", key)
}

// watched returns what watchers call a key: the name of its function or service, or ""
// for any route.
func watched(key string) string {
	if strings.HasPrefix(key, kindRoute) {
		return ""
	}
	return nameOf(key)
}

// names returns what there is to watch: the names of functions and services, and the
// empty one for routes.
func (p *picture) names() []string {
	names := []string{""}
	for key := range p.seen {
		if name := watched(key); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// list returns the functions and services by name. The list is made once for each
// change, and clipped: appending to it makes a copy.
func (p *picture) list() *listing {
	if p.units == nil {
		p.units = &listing{slices.Clip(byKey(p.functions)), slices.Clip(byKey(p.services))}
	}
	return p.units
}

func byKey[T any](things map[string]*T) []T {
	all := make([]T, 0, len(things))
	for _, key := range slices.Sorted(maps.Keys(things)) {
		all = append(all, *things[key])
	}
	return all
}

// listRoutes returns the routes by name, made once like the list of the rest.
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

// show puts an entry into the picture, and into the one that is being made: a
// writer finds at once what it wrote.
func (r *Registry) show(key string, e entry, unreadable error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	shown, err := r.picture.put(key, e, unreadable)
	if r.next != nil {
		_, _ = r.next.put(key, e, unreadable) // the same error
	}
	if err != nil {
		r.log.Warn("registry entry not understood", "subject", key, "err", err)
	}
	if shown {
		r.changed.Tell(watched(key))
	}
}

// watchPause is the rest before a watch that ended is begun anew.
const watchPause = 250 * time.Millisecond

// follow keeps the picture until ctx ends. complete is closed when there is a
// first one.
func (r *Registry) follow(ctx context.Context, complete chan<- struct{}) {
	for {
		err := r.watch(ctx, func() {
			if complete != nil {
				close(complete)
				complete = nil
			}
		})
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			err = r.openState(ctx) // a server that came back without its store
		}
		if err != nil {
			r.log.Debug("registry not watched", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchPause):
		}
	}
}

// watch makes a new picture and follows the changes, on one connection, until
// that connection was interrupted: what happened meanwhile is seen by beginning
// anew.
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
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer drain(watcher)

	r.mu.Lock()
	r.next = newPicture()
	r.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-interrupted:
			return nil
		case stored, ok := <-watcher.Updates():
			switch {
			case !ok:
				return nil
			case stored == nil:
				r.swap()
				complete()
			default:
				e, err := entryOf(stored)
				r.show(stored.Key(), e, err)
			}
		}
	}
}

// swap makes the new picture the one that is seen. Entries that are gone without
// a trace, because the bucket is another one, are gone with the old.
func (r *Registry) swap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next != nil {
		gone := r.picture.names()
		r.picture, r.next = r.next, nil
		r.changed.Tell(slices.Concat(gone, r.picture.names())...)
	}
}

// drain ends a watcher. nats.go blocks on what nobody reads, so the rest is read.
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

// entryOf reads a stored value. A key that was deleted with another tool counts as
// removed.
func entryOf(stored jetstream.KeyValueEntry) (entry, error) {
	if stored.Operation() != jetstream.KeyValuePut {
		return entry{head: head{note: note{Removed: true, Deployed: stored.Created()}}, kv: stored.Revision()}, nil
	}
	return decode(stored.Key(), stored.Value(), stored.Revision())
}
