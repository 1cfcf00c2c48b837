package inventory

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go/jetstream"
)

// streams are those of Mayfly's state that must not lose anything, with the subjects whose
// last message counts. Logs may: they age.
var streams = []struct{ name, prefix string }{
	{"KV_" + mayfly.BucketMeta, "$KV." + mayfly.BucketMeta + "."},
	{"KV_" + mayfly.BucketRegistry, "$KV." + mayfly.BucketRegistry + "."},
	{"KV_" + mayfly.BucketSecrets, "$KV." + mayfly.BucketSecrets + "."},
	{"OBJ_" + mayfly.BucketCode, "$O." + mayfly.BucketCode + ".M."},
}

// look reads what the store holds. A stream that cannot be asked for now is left out.
func (i *Inventory) look(ctx context.Context) (record, map[string]bus.Extent) {
	now, seen := record{V: version, Streams: map[string]*holding{}}, map[string]bus.Extent{}
	for _, s := range streams {
		extent, err := i.bus.Extent(ctx, s.name)
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			i.log.Debug("stream not looked at", "subject", s.name, "err", err)
			continue
		}
		h := &holding{Last: extent.Last, Messages: extent.Messages, Keys: map[string]value{}}
		if err == nil && extent.Messages > 0 {
			if err := i.read(ctx, s.name, s.prefix, h); err != nil {
				i.log.Debug("stream not read", "subject", s.name, "err", err)
				continue
			}
		}
		now.Streams[s.name], seen[s.name] = h, extent
	}
	return now, seen
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
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		key := strings.TrimPrefix(subject, prefix)
		if _, ok := h.Keys[key]; ok {
			continue
		}
		one, done := context.WithTimeout(ctx, time.Second)
		m, err := stream.GetLastMsgForSubject(one, subject)
		done()
		if err != nil {
			h.unread = append(h.unread, key)
			continue
		}
		h.Keys[key] = value{m.Sequence, sumOf(m.Data)}
	}
	slices.Sort(h.unread)
	return nil
}
