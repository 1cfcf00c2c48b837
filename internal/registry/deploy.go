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
	"github.com/mayfly-run/mayfly/internal/nearest"
	"github.com/nats-io/nats.go/jetstream"
)

// A Change is what a deploy says besides what it deploys.
type Change struct {
	Take bool   // also a name that another project holds
	Note string // for the history
}

// Deploy makes u the current revision of its name, under the next number, and
// returns it so. If the same content is deployed with the same settings already,
// nothing is written and changed is false; if it was scaled since, only that is
// taken back.
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
	if err := r.checkBundles(ctx, bundles); err != nil {
		return t, false, err
	}
	return change[T](ctx, r, key, func(present entry) (entry, error) {
		if present.live() && present.Project != project && !c.Take {
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

// Rollback makes a new revision with the bundles and settings of an old one. Without
// a revision, ref is the one before the current, or the last if the unit was
// removed. Errors are those of Deploy, and NotFound where the history does not reach
// so far.
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
		err = r.checkBundles(ctx, bundles)
	}
	if err != nil {
		return none, false, err
	}
	old.Scaled = nil // how many there were for a while is not part of a revision
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

// Scale changes how many instances a unit has, without a new revision; a service's
// are Exactly so many. The next deploy takes it back.
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
		if !present.live() {
			return entry{}, r.missing(key)
		}
		if bytes.Equal(present.Scaled, raw) {
			return present, errUnchanged
		}
		present.Scaled, present.settings = raw, present.present()
		return present, nil
	})
	return u, err
}

// Remove takes a unit out of the registry. Its history stays for a while, and its
// numbers go on where they were.
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

// errUnchanged is returned by the author of an entry who likes the present one.
var errUnchanged = errors.New("unchanged")

// change is update for one kind of thing.
func change[T thing](ctx context.Context, r *Registry, key string, author func(present entry) (entry, error)) (T, bool, error) {
	e, changed, err := r.update(ctx, key, author)
	if err != nil {
		return *new(T), false, err
	}
	t, err := thingOf[T](e)
	return t, changed, err
}

// update is the only way in which an entry changes: what is there is read, the
// author writes what comes next, and that is stored if nobody was faster. Who was
// slower gets a Conflict, unless both wanted the same.
//
// A write whose answer was lost is recognised by its bytes, which hold the time,
// so an update is never made twice and never blames itself.
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
	if next.Revision != present.Revision || next.Removed { // else it was scaled: that is not a deploy
		next.Deployed, next.By = time.Now().UTC(), r.options.By
	}
	if next.data, err = next.encode(); err != nil {
		return entry{}, false, err
	}
	faster := false
	err = r.bus.Retry(ctx, "write "+key, func(ctx context.Context, js jetstream.JetStream) error {
		kv, err := js.KeyValue(ctx, mayfly.BucketRegistry)
		if err != nil {
			return err
		}
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
		if !bytes.Equal(theirs.data, next.data) {
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

// read returns the present entry, with kv 0 if there never was one. The picture
// shows it from then on, if it was behind: nobody is told of a thing and then finds
// it gone.
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
			e, err = entryOf(stored)
		}
		return err
	})
	if err == nil && e.kv != 0 {
		r.show(key, e, nil)
	}
	return e, err
}

// lastWords returns the entry of a key that is not there: none, or a tombstone
// with the last number where another tool than ours deleted it. A history costs a
// consumer, and most keys that are not there never were, so it is asked for last.
func lastWords(ctx context.Context, js jetstream.JetStream, kv jetstream.KeyValue, key string) (entry, error) {
	stream, err := js.Stream(ctx, "KV_"+mayfly.BucketRegistry)
	if err != nil {
		return entry{}, err
	}
	_, err = stream.GetLastMsgForSubject(ctx, "$KV."+mayfly.BucketRegistry+"."+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return entry{}, nil
	}
	if err != nil {
		return entry{}, err
	}
	stored, err := kv.History(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return entry{}, nil
	}
	if err != nil {
		return entry{}, err
	}
	last := entry{}
	for _, s := range stored {
		e, err := entryOf(s)
		if err != nil {
			return entry{}, err
		}
		e.Revision = max(e.Revision, last.Revision)
		last = e
	}
	return last, nil
}

// find returns the entry of the unit with a name: the one that is deployed, or else
// the one that was last. The error has code NotFound if there never was any.
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

// checkKey refuses names that NATS or we could not use.
func checkKey(key string) error {
	kind, _ := kindOf(key) // routes have names as functions do
	_, err := kind.ParseName(nameOf(key))
	return err
}

func nameOf(key string) string {
	_, name, _ := strings.Cut(key, "/")
	return name
}

// missing says that nothing is deployed under a key, and which name is near.
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
	return err.WithHint("mayfly list shows what is deployed")
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
