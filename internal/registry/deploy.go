package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/nearest"
	"github.com/nats-io/nats.go/jetstream"
)

// A Change holds the options of a deploy.
type Change struct {
	Take bool   // even a name that another project holds
	Note string // for the history
}

// Deploy makes u the current revision of its name, under the next number, and returns
// it. If the same content is already deployed with the same settings, it writes nothing
// and changed is false; if it was scaled since, only the scaling is undone.
//
// Its bundles must have been uploaded. Errors: Conflict when another deploy changed
// the unit at the same moment or the name is taken by the other kind, Denied when
// the name is another project's, Invalid, Unavailable.
func (r *Registry) Deploy(ctx context.Context, u mayfly.Unit, c Change) (_ mayfly.Unit, changed bool, err error) {
	if other := r.Current(u.Name); other != nil && other.Kind != u.Kind {
		return u, false, mayfly.Errorf(mayfly.Conflict, "%q is a %s already", u.Name, other.Kind).
			WithHint("choose another name, or remove the %s: mayfly remove %s", other.Kind, u.Name)
	}
	return deploy(ctx, r, keyOf(u.Kind, u.Name), u, u.Project, u.Bundles, c)
}

func deploy[T thing](ctx context.Context, r *Registry, key string, t T, project mayfly.Name, bundles map[string]string, c Change) (T, bool, error) {
	settings, err := settingsOf(t)
	if err != nil {
		return t, false, mayfly.Errorf(mayfly.Invalid, "the settings of %s cannot be stored: %w", nameOf(key), err)
	}
	if err := r.CheckBundles(ctx, bundles); err != nil {
		return t, false, err
	}
	return change[T](ctx, r, key, func(present entry) (entry, error) {
		if present.live() && present.data != nil && present.Project != project && !c.Take {
			return entry{}, foreign(key, present.Project, project)
		}
		next := entry{head: head{
			Revision: present.Revision + 1, Project: project, note: note{Note: c.Note},
		}, settings: withUnknown[T](settings, present.present())}
		if present.live() && present.Project == project && sameSettings[T](present, settings) {
			if present.Scaled == nil {
				return present, errUnchanged
			}
			next.head = present.head
			next.Scaled = nil
		}
		return next, nil
	})
}

// Rollback makes a new revision with the bundles and settings of an old one. A ref
// without a revision means the one before the current, or the last if the unit was
// removed. Errors are those of Deploy, and NotFound if the history no longer has it.
func (r *Registry) Rollback(ctx context.Context, ref mayfly.Ref) (_ mayfly.Unit, changed bool, err error) {
	none := mayfly.Unit{}
	key, _, err := r.find(ctx, string(ref.Name))
	if err != nil {
		return none, false, err
	}
	old, err := r.past(ctx, key, ref.Revision)
	if err != nil {
		return none, false, err
	}
	bundles, err := old.bundles()
	if err == nil {
		err = r.CheckBundles(ctx, bundles)
	}
	if err != nil {
		return none, false, err
	}
	old.Scaled = nil // scaling is not part of a revision
	was, err := thingOf[mayfly.Unit](old)
	if err != nil {
		return none, false, err
	}
	settings, err := settingsOf(was)
	if err != nil {
		return none, false, err
	}
	return change[mayfly.Unit](ctx, r, key, func(present entry) (entry, error) {
		if present.live() && present.Scaled == nil && sameSettings[mayfly.Unit](present, settings) {
			return present, errUnchanged
		}
		project := old.Project
		if present.live() {
			project = present.Project
		}
		return entry{
			head:     head{Revision: present.Revision + 1, Project: project, note: note{From: old.Revision}},
			settings: old.present(),
		}, nil
	})
}

// Scale changes how many instances a unit has, without a new revision; for a service
// the count is Exactly. The next deploy undoes it.
func (r *Registry) Scale(ctx context.Context, name mayfly.Name, n mayfly.Instances) (mayfly.Unit, error) {
	if n.Min < 0 || n.Max < 0 || n.Idle < 0 || n.Start < 0 || n.Max > 0 && n.Min > n.Max {
		return mayfly.Unit{}, mayfly.Errorf(mayfly.Invalid, "cannot scale %s to %d to %d instances", name, n.Min, n.Max).
			WithHint("give a min that is not above max, and nothing below 0")
	}
	key, e, err := r.find(ctx, string(name))
	if err != nil {
		return mayfly.Unit{}, err
	}
	var instances any = n
	if e.kind == mayfly.KindService {
		if n != mayfly.Exactly(n.Min) {
			return mayfly.Unit{}, mayfly.Errorf(mayfly.Invalid, "%s is a service, which has a fixed number of instances", name)
		}
		instances = n.Min
	}
	raw, err := json.Marshal(instances)
	if err != nil {
		return mayfly.Unit{}, err
	}
	u, _, err := change[mayfly.Unit](ctx, r, key, func(present entry) (entry, error) {
		switch {
		case !present.live():
			return entry{}, r.missing(key)
		case present.broken != nil:
			return entry{}, present.broken
		case bytes.Equal(present.Scaled, raw):
			return present, errUnchanged
		}
		present.Scaled, present.settings = raw, present.present()
		return present, nil
	})
	return u, err
}

// Remove removes a unit from the registry. Its history stays for a while, and its
// revision numbers continue.
func (r *Registry) Remove(ctx context.Context, name string) error {
	key, _, err := r.find(ctx, name)
	if err != nil {
		return err
	}
	return r.remove(ctx, key)
}

func (r *Registry) remove(ctx context.Context, key string) error {
	_, _, err := r.update(ctx, key, func(present entry) (entry, error) {
		if !present.live() {
			return entry{}, r.missing(key)
		}
		return entry{head: head{Revision: present.Revision, Project: present.Project, note: note{Removed: true}}}, nil
	})
	return err
}

// errUnchanged is returned by an author that keeps the present entry.
var errUnchanged = errors.New("unchanged")

// change is update for one type of thing.
func change[T thing](ctx context.Context, r *Registry, key string, author func(present entry) (entry, error)) (T, bool, error) {
	e, changed, err := r.update(ctx, key, author)
	if err != nil {
		return *new(T), false, err
	}
	t, err := thingOf[T](e)
	return t, changed, err
}

// update is the only way to change an entry: read the present one, let author return
// the next, and store it by compare-and-set. The slower of two writers gets a Conflict,
// unless both wrote the same.
//
// A write whose answer was lost is recognized by its bytes, which include the time, so
// an update is never applied twice and never conflicts with itself.
func (r *Registry) update(ctx context.Context, key string, author func(present entry) (entry, error)) (entry, bool, error) {
	if err := checkKey(key); err != nil {
		return entry{}, false, err
	}
	present, err := r.read(ctx, key)
	if err != nil {
		return entry{}, false, err
	}
	next, err := author(present)
	if errors.Is(err, errUnchanged) {
		return present, false, nil
	}
	if err != nil {
		return entry{}, false, err
	}
	next.V = version
	if next.Revision != present.Revision || next.Removed { // else it was scaled, not deployed
		next.Deployed, next.By = time.Now().UTC(), r.options.By
	}
	if next.data, err = next.encode(); err != nil {
		return entry{}, false, err
	}
	faster := false
	err = r.bus.RetryBucket(ctx, "write "+key, mayfly.BucketRegistry, func(ctx context.Context, kv jetstream.KeyValue) (err error) {
		next.kv, err = kv.Update(ctx, key, next.data, present.kv)
		faster = errors.Is(err, jetstream.ErrKeyRevisionMismatch)
		if faster {
			return nil
		}
		return err
	})
	if err != nil {
		return entry{}, false, err
	}
	if faster {
		theirs, err := r.read(ctx, key)
		if err != nil {
			return entry{}, false, err
		}
		switch {
		case present.broken != nil && theirs.broken != nil && theirs.kv == present.kv, theirs.kv == 0:
			// The last message is damaged, so nobody knows its number.
			if next.kv, err = r.overwrite(ctx, key, next.data); err != nil {
				return entry{}, false, err
			}
			theirs = next
		case !bytes.Equal(theirs.data, next.data):
			if _, err := author(theirs); errors.Is(err, errUnchanged) {
				return theirs, false, nil
			}
			return entry{}, false, conflict(key, theirs)
		}
		next.kv = theirs.kv
	}
	if err := r.bus.Sync(ctx); err != nil {
		return entry{}, false, err
	}
	if next, err = decode(key, next.data, next.kv); err != nil {
		return entry{}, false, err
	}
	r.show(key, next, nil)
	return next, true, nil
}

// overwrite stores a value, whatever there is.
func (r *Registry) overwrite(ctx context.Context, key string, data []byte) (kv uint64, err error) {
	err = r.bus.RetryBucket(ctx, "write "+key, mayfly.BucketRegistry, func(ctx context.Context, b jetstream.KeyValue) (err error) {
		kv, err = b.Put(ctx, key, data)
		return err
	})
	return kv, err
}

// read returns the present entry, with kv 0 if there never was one. It updates the
// picture if that was behind, so that what read returned cannot be missing there.
func (r *Registry) read(ctx context.Context, key string) (e entry, err error) {
	err = r.bus.Retry(ctx, "read "+key, func(ctx context.Context, js jetstream.JetStream) error {
		kv, err := js.KeyValue(ctx, mayfly.BucketRegistry)
		if err != nil {
			return err
		}
		stored, err := kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			e, err = lastWords(ctx, js, kv, key)
			return err
		}
		if err == nil {
			e, err = readable(ctx, kv, stored)
		}
		return err
	})
	if err == nil && e.kv != 0 {
		r.show(key, e, nil)
	}
	return e, err
}

// lastWords returns the entry of a missing key: none, or a tombstone with the last
// number if another tool deleted it. A history needs a consumer, and most missing keys
// never existed, so it is read last.
func lastWords(ctx context.Context, js jetstream.JetStream, kv jetstream.KeyValue, key string) (entry, error) {
	stream, err := js.Stream(ctx, stream)
	if err != nil {
		return entry{}, err
	}
	m, damaged, err := bus.LastOf(ctx, stream, subjects+key)
	switch {
	case err != nil:
		return entry{}, err
	case damaged:
		return lastIntact(ctx, stream, key)
	case m == nil:
		return entry{}, nil // nearly always
	}
	stored, err := kv.History(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return entry{}, nil
	}
	if err != nil {
		return entry{}, err
	}
	_, last, err := values(key, stored)
	return last, err
}

// find returns the entry of the unit with a name: the deployed one, or else the last
// one. The error has code NotFound if there never was one.
func (r *Registry) find(ctx context.Context, name string) (key string, e entry, err error) {
	for _, kind := range kinds {
		parsed, err := kind.ParseName(name)
		if err != nil {
			continue
		}
		one, err := r.read(ctx, keyOf(kind, parsed))
		if err != nil {
			return "", e, err
		}
		if one.live() || one.kv > e.kv {
			key, e = keyOf(kind, parsed), one
		}
		if e.live() {
			return key, e, nil
		}
	}
	if e.kv == 0 {
		if _, err := mayfly.KindService.ParseName(name); err != nil {
			return "", e, err // no kind allows it
		}
		return "", e, r.missing("/" + name)
	}
	return key, e, nil
}

// checkKey rejects names that NATS or we cannot use.
func checkKey(key string) error {
	kind, _ := kindOf(key) // routes are named like functions
	_, err := kind.ParseName(nameOf(key))
	return err
}

func nameOf(key string) string {
	_, name, _ := strings.Cut(key, "/")
	return name
}

// missing says that nothing is deployed under a key, and suggests a similar name.
func (r *Registry) missing(key string) error {
	name := nameOf(key)
	what := strconv.Quote(name)
	if strings.HasPrefix(key, keyRoute) {
		what = "route " + what
	}
	err := mayfly.Errorf(mayfly.NotFound, "%s is not deployed", what)
	var known []string
	for _, u := range r.List() {
		known = append(known, string(u.Name))
	}
	if near, ok := nearest.To(name, known); ok {
		return err.WithHint("did you mean %q?", near)
	}
	return err.WithHint("run mayfly list to see what is deployed")
}

func foreign(key string, holder, asks mayfly.Name) error {
	say := func(project mayfly.Name) string {
		if project == "" {
			return "no project"
		}
		return "project " + string(project)
	}
	return mayfly.Errorf(mayfly.Denied, "%q belongs to %s, not to %s", nameOf(key), say(holder), say(asks)).
		WithHint("choose another name, or take it over with --take")
}

func conflict(key string, theirs entry) error {
	now := "now it is " + mayfly.Ref{Name: mayfly.Name(nameOf(key)), Revision: theirs.Revision}.String()
	if theirs.Removed {
		now = "now it is removed"
	}
	if theirs.By != "" {
		now += ", by " + theirs.By
	}
	return mayfly.Errorf(mayfly.Conflict, "another deploy changed %q at the same moment: %s", nameOf(key), now).
		WithHint("look at mayfly history %s, then try again", nameOf(key))
}
