package inventory

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go/jetstream"
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

	record record
	seen   map[string]bus.Extent // when the record was last compared or written

	mu     sync.Mutex
	losses []Loss
}

const patience = 10 * time.Second

// Open compares the store with its record. A store without a record is taken as it is.
func Open(ctx context.Context, b *bus.Bus, o Options) (*Inventory, error) {
	i := &Inventory{
		bus: b, file: o.File, patience: cmp.Or(o.Patience, patience), log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
	}
	var err error
	if i.record, err = load(o.File); err != nil {
		i.log.Warn("record of the store not read, a new one begins", "file", o.File, "err", err)
	}
	now, seen := i.look(ctx)
	i.seen = seen
	i.losses = i.record.compare(now)
	for _, l := range i.losses {
		i.log.Error("store is damaged", "subject", l.Stream, "err", l.Why)
	}
	if len(i.losses) == 0 {
		i.write(ctx, now)
	}
	return i, nil
}

// Check compares the store with the record in a file, without changing either.
func Check(ctx context.Context, b *bus.Bus, file string) ([]Loss, error) {
	r, err := load(file)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "cannot read the record of the store: %w", err).
			WithHint("remove %s; the node then takes the store as it is", file)
	}
	i := &Inventory{bus: b, patience: patience, log: slog.New(slog.DiscardHandler)}
	now, _ := i.look(ctx)
	return r.compare(now), nil
}

// Accept has the node take the store as it is.
func Accept(file string) error {
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		return mayfly.Errorf(mayfly.Denied, "cannot remove the record of the store: %w", err).WithHint("run this as the user of the node")
	}
	return nil
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

// keep brings the record in step with the store if that has changed.
func (i *Inventory) keep(ctx context.Context) {
	_, err := os.Stat(i.file)
	accepted := os.IsNotExist(err)
	if !accepted && !i.changed(ctx) {
		return
	}
	now, seen := i.look(ctx)
	if ctx.Err() != nil {
		return
	}
	var left []Loss
	if !accepted {
		left = i.settle(now, seen)
	}
	i.seen = seen
	i.mu.Lock()
	had := len(i.losses)
	i.losses = left
	i.mu.Unlock()
	if len(left) > 0 {
		i.write(ctx, i.record)
		return
	}
	if had > 0 {
		i.log.Warn("store is taken as it is from here on")
	}
	i.write(ctx, now)
}

// changed reports whether a stream holds something else than at the last look.
func (i *Inventory) changed(ctx context.Context) bool {
	for _, s := range streams {
		if now, err := i.bus.Extent(ctx, s.name); (err == nil || errors.Is(err, jetstream.ErrStreamNotFound)) && now != i.seen[s.name] {
			return true
		}
	}
	return false
}

// settle returns the losses that are left. What was written since is no longer missing,
// and a stream that was replaced while we looked is what its operator wants.
func (i *Inventory) settle(now record, seen map[string]bus.Extent) []Loss {
	for name, s := range i.record.Streams {
		before, there := i.seen[name], seen[name]
		if !there.Created.Equal(before.Created) || there.Last < before.Last {
			i.record.Streams[name] = now.Streams[name]
			continue
		}
		for key := range s.Keys {
			if v := now.Streams[name].Keys[key]; v.Seq > before.Last {
				s.Keys[key] = v
			}
		}
	}
	i.mu.Lock()
	known := i.losses
	i.mu.Unlock()
	if len(known) == 0 {
		return nil // it was whole, and only its writers have changed it
	}
	return i.record.compare(now)
}

// write stores the record, once the store would survive a power loss itself.
func (i *Inventory) write(ctx context.Context, now record) {
	i.record = now
	err := i.bus.Sync(ctx)
	if err == nil {
		err = now.save(i.file)
	}
	if err != nil && ctx.Err() == nil {
		i.log.Warn("record of the store not written", "file", i.file, "err", err)
	}
}
