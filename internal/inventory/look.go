package inventory

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go/jetstream"
)

// streams are those of Mayfly's state that must not lose anything, with the subjects whose
// last message counts. Logs may: they age.
var streams = []struct {
	name, prefix string
	chunks       bool // it also holds chunks of values, which come and go
}{
	{"KV_" + mayfly.BucketMeta, "$KV." + mayfly.BucketMeta + ".", false},
	{"KV_" + mayfly.BucketRegistry, "$KV." + mayfly.BucketRegistry + ".", false},
	{"KV_" + mayfly.BucketSecrets, "$KV." + mayfly.BucketSecrets + ".", false},
	{"OBJ_" + mayfly.BucketCode, "$O." + mayfly.BucketCode + ".M.", true},
}

func streamNames() (names []string) {
	for _, s := range streams {
		names = append(names, s.name)
	}
	return names
}

// A view is what one look at the store has found.
type view struct {
	record
	seen   map[string]bus.Extent
	missed map[string]error // streams that could not be looked at: that says nothing about what they hold
}

// unread returns the streams that could not be looked at as losses.
func (v view) unread() (losses []Loss) {
	for _, s := range streams {
		if err := v.missed[s.name]; err != nil {
			losses = append(losses, Loss{Stream: s.name, Why: s.name + ": cannot be read: " + err.Error()})
		}
	}
	return losses
}

// without returns the view without the streams that lost something.
func (v view) without(losses []Loss) view {
	v.Streams = maps.Clone(v.Streams)
	for _, l := range losses {
		delete(v.Streams, l.Stream)
	}
	return v
}

// look reads what the store holds, except streams that are as they were in the view before.
func (i *Inventory) look(ctx context.Context, before view) view {
	v := view{record{V: version, Streams: map[string]*holding{}}, map[string]bus.Extent{}, map[string]error{}}
	extents, failed := i.bus.Extents(ctx, streamNames()...)
	for _, s := range streams {
		extent, err := extents[s.name], failed // of a stream that is gone, an empty one
		h := before.Streams[s.name]
		if h == nil || before.seen[s.name] != extent {
			h = &holding{Last: extent.Last, Messages: extent.Messages, Keys: map[string]value{}}
			if err == nil && extent.Messages > 0 {
				err = i.read(ctx, s.name, s.prefix, h)
			}
		}
		if err != nil {
			i.log.Debug("cannot look at a stream", "subject", s.name, "err", err)
			v.missed[s.name] = err
			continue
		}
		v.Streams[s.name], v.seen[s.name] = h, extent
	}
	return v
}

// read reads the last message of each key. A damaged message stops a consumer for good, so
// what does not come is asked for one by one.
func (i *Inventory) read(ctx context.Context, name, prefix string, h *holding) error {
	js, err := i.bus.JetStream()
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubjects: []string{prefix + ">"},
	})
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	if info != nil && info.NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		next, done := context.WithTimeout(ctx, i.patience)
		m, err := messages.Next(jetstream.NextContext(next))
		done()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return i.readEach(ctx, stream, prefix, h)
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		h.Keys[strings.TrimPrefix(m.Subject(), prefix)] = value{meta.Sequence.Stream, sumOf(m.Data())}
		if meta.NumPending == 0 {
			return nil
		}
	}
}

// readEach asks for each key that is missing in h.
func (i *Inventory) readEach(ctx context.Context, stream jetstream.Stream, prefix string, h *holding) error {
	read := func(subject string) bool { return h.Keys[strings.TrimPrefix(subject, prefix)].Seq > 0 }
	err := bus.LastOfEach(ctx, stream, prefix+">", read, func(subject string, m *jetstream.RawStreamMsg) error {
		key := strings.TrimPrefix(subject, prefix)
		if m == nil {
			h.Unread = append(h.Unread, key)
		} else {
			h.Keys[key] = value{m.Sequence, sumOf(m.Data)}
		}
		return nil
	})
	slices.Sort(h.Unread)
	return err
}
