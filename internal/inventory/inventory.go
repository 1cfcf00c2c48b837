package inventory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
)

// Options are those of Open.
type Options struct {
	File     string        // of the record; required
	Patience time.Duration // how long a read may bring nothing; 10 s if zero
	Log      *slog.Logger  // discards if nil
}

// An Inventory knows what the store should hold, and what of that is missing.
type Inventory struct {
	bus      *bus.Bus
	file     string
	patience time.Duration
	log      *slog.Logger

	record  record
	last    view   // when the record was last compared or written
	started uint64 // the start of JetStream that the record was compared after

	mu     sync.Mutex
	losses []Loss
}

const patience = 10 * time.Second

// looks is how often a store is looked at that does not answer in full, as on a busy disk,
// and before something new counts as lost.
const looks = 3

// Open compares the store with its record. Without a record, what can be read becomes
// the record. A stream that cannot be read counts as lost until a later look succeeds.
func Open(ctx context.Context, b *bus.Bus, o Options) (*Inventory, error) {
	i := &Inventory{
		bus: b, file: o.File, patience: cmp.Or(o.Patience, patience), log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
	}
	i.started, _ = b.Starts()
	var err error
	if i.record, err = load(o.File); err != nil {
		i.log.Warn("cannot read the record of the store; starting a new one", "file", o.File, "err", err)
	}
	accepted := exists(acceptance(o.File))
	v := i.look(ctx, view{})
	for n := 1; n < looks && len(v.missed) > 0 && ctx.Err() == nil; n++ {
		v = i.look(ctx, v)
	}
	var losses []Loss
	if !accepted {
		losses = append(i.record.compare(v.record), v.unread()...)
		i.tell(losses)
	}
	i.conclude(ctx, v, losses, accepted)
	return i, nil
}

// Check compares the store with the record in a file, without changing either.
func Check(ctx context.Context, b *bus.Bus, file string) ([]Loss, error) {
	r, err := load(file)
	switch {
	case exists(acceptance(file)):
		r = record{} // the node is about to begin a new one
	case err != nil:
		return nil, mayfly.Errorf(mayfly.Invalid, "cannot read the record of the store: %w", err).
			WithHint("run mayfly doctor --accept to accept the store's current contents")
	}
	i := &Inventory{bus: b, patience: patience, log: slog.New(slog.DiscardHandler)}
	v := i.look(ctx, view{})
	return append(r.compare(v.record), v.unread()...), nil
}

// Accept has the node accept the store's current contents. A record that is merely gone
// is written again, losses and all.
func Accept(file string) error {
	if err := os.WriteFile(acceptance(file), nil, 0o600); err != nil {
		return mayfly.Errorf(mayfly.Denied, "cannot write beside the record of the store: %w", err).WithHint("run this as the user of the node")
	}
	return nil
}

// acceptance returns the file that Accept leaves for the node, which removes it.
func acceptance(file string) string { return file + ".accept" }

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// Ready returns nil, or what the store lacks. It answers from memory.
func (i *Inventory) Ready() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return Lost(i.losses)
}

// lookEvery is the pause between two looks at the store, at least; one that takes long is
// followed by a longer pause.
const lookEvery = 2 * time.Second

// Run keeps the record until ctx ends.
func (i *Inventory) Run(ctx context.Context) error {
	pause := time.NewTimer(lookEvery)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookEvery)
			defer cancel()
			i.keep(last)
			return nil
		case <-pause.C:
		}
		began := time.Now()
		i.keep(ctx)
		pause.Reset(max(lookEvery, 10*time.Since(began)))
	}
}

// keep brings the record in step with the store if that has changed, and looks again as
// long as something is lost. While JetStream restarts, its streams come back one by one:
// what is missing then says nothing.
func (i *Inventory) keep(ctx context.Context) {
	started, up := i.bus.Starts()
	if !up {
		return
	}
	i.mu.Lock()
	known := i.losses
	i.mu.Unlock()
	accepted, restarted := exists(acceptance(i.file)), started != i.started
	if !accepted && !restarted && len(known) == 0 && exists(i.file) && !i.changed(ctx) {
		return
	}
	v, left := i.find(ctx, known, restarted)
	if accepted {
		left = nil
	}
	if again, up := i.bus.Starts(); !up || again != started || ctx.Err() != nil {
		return
	}
	i.tell(unknown(left, known))
	if accepted || len(v.missed) == 0 {
		i.started = started
	}
	if len(known) > 0 && len(left) == 0 && !accepted {
		i.log.Info("the store is complete again")
	}
	i.conclude(ctx, v, left, accepted)
}

// find looks again while something new is lost, a few times at most: a value that is replaced
// while we look seems lost.
func (i *Inventory) find(ctx context.Context, known []Loss, restarted bool) (v view, left []Loss) {
	before := i.last.without(known)
	if restarted {
		before = view{}
	}
	for range looks {
		v = i.look(ctx, before)
		left = i.left(v, known, restarted)
		if ctx.Err() != nil || len(unknown(left, known)) == 0 {
			break
		}
	}
	return v, left
}

// tell logs losses.
func (i *Inventory) tell(losses []Loss) {
	for _, l := range losses {
		i.log.Error("store is damaged", "subject", l.Stream, "err", l.Why)
	}
}

// unknown returns the losses of keys and streams that are not among the known ones.
func unknown(losses, known []Loss) []Loss {
	return slices.DeleteFunc(slices.Clone(losses), func(l Loss) bool {
		return slices.ContainsFunc(known, func(k Loss) bool { return k.Stream == l.Stream && k.Key == l.Key })
	})
}

// conclude keeps what a look has found. Of a stream that it missed everything stays as it
// was. With losses the record stays too, apart from streams that are new to it.
func (i *Inventory) conclude(ctx context.Context, v view, losses []Loss, accepted bool) {
	now := record{V: version, Streams: maps.Clone(v.Streams)}
	for name := range v.missed {
		if s := i.record.Streams[name]; s != nil {
			now.Streams[name] = s
		}
		if s := i.last.Streams[name]; s != nil {
			v.Streams[name], v.seen[name] = s, i.last.seen[name]
		}
	}
	if len(losses) > 0 {
		for name, h := range now.Streams {
			now.Streams[name] = h.readable()
		}
		maps.Copy(now.Streams, i.record.Streams)
	}
	i.last, i.record = v, now
	i.mu.Lock()
	i.losses = losses
	i.mu.Unlock()
	if accepted {
		i.log.Warn("accepted the store's current contents")
	}
	if i.write(ctx) && accepted {
		if err := os.Remove(acceptance(i.file)); err != nil && !os.IsNotExist(err) {
			i.log.Warn("cannot remove the mark that the store is accepted", "file", acceptance(i.file), "err", err)
		}
	}
}

// changed reports whether a stream holds something else than at the last look.
func (i *Inventory) changed(ctx context.Context) bool {
	now, err := i.bus.Extents(ctx, streamNames()...)
	return err == nil && slices.ContainsFunc(streamNames(), func(name string) bool { return now[name] != i.last.seen[name] })
}

// left returns the losses that are left after a look. A restart of JetStream may lose
// something as a start of the node may, so nothing is settled then.
func (i *Inventory) left(v view, known []Loss, restarted bool) []Loss {
	if !restarted {
		i.settle(v)
	}
	losses := i.record.compare(v.record)
	for _, l := range known {
		if v.missed[l.Stream] != nil {
			losses = append(losses, l)
		}
	}
	return losses
}

// settle has the record follow what was written since the last look, and a stream that
// was replaced while we looked: that is what its operator wants. One that was deleted is
// missed until there is another.
func (i *Inventory) settle(v view) {
	for name, s := range i.record.Streams {
		before, looked := i.last.seen[name]
		now, there := v.Streams[name], v.seen[name]
		gone := there == bus.Extent{}
		if now == nil || !looked || gone || now == i.last.Streams[name] {
			continue
		}
		if !there.Created.Equal(before.Created) || there.Last < before.Last {
			i.record.Streams[name] = now.readable()
			continue
		}
		keys := maps.Clone(s.Keys)
		for key, value := range now.Keys {
			if value.Seq > before.Last {
				keys[key] = value
			}
		}
		i.record.Streams[name] = &holding{Last: s.Last, Messages: s.Messages, Keys: keys, Unread: s.Unread}
	}
}

// write stores the record, once the store would survive a power loss itself. It reports
// whether the file has it.
func (i *Inventory) write(ctx context.Context) bool {
	data, err := json.Marshal(i.record)
	if there, e := os.ReadFile(i.file); err == nil && e == nil && bytes.Equal(there, data) {
		return true
	}
	if err == nil {
		err = i.bus.Sync(ctx)
	}
	if err == nil {
		err = bus.ReplaceFile(i.file, data)
	}
	if err != nil && ctx.Err() == nil {
		i.log.Warn("record of the store not written", "file", i.file, "err", err)
	}
	return err == nil
}
