package registry

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// format is the version of all that Mayfly keeps in JetStream.
const format = 1

// The buckets. A changed configuration needs the next layout.
var (
	meta = bus.State{
		KeyValue: &jetstream.KeyValueConfig{Bucket: mayfly.BucketMeta, Description: "Mayfly: version of the format", History: 8},
		Layout:   1, Bytes: 1 << 20,
	}
	entries = bus.State{
		KeyValue: &jetstream.KeyValueConfig{Bucket: mayfly.BucketRegistry, Description: "Mayfly: what is deployed", History: history},
		Layout:   1, Percent: 1, Bytes: 256 << 20,
	}
	code = bus.State{
		Objects: &jetstream.ObjectStoreConfig{Bucket: mayfly.BucketCode, Description: "Mayfly: code bundles by sha256"},
		Layout:  1, Percent: 10, Bytes: 2 << 30,
	}
)

// history is how many values are kept of an entry.
const history = 32

// openState makes the buckets where they are missing, unless we only look, and proves
// that the store is of a format that we know.
func (r *Registry) openState(ctx context.Context) error {
	// The format first: in a newer store nothing else is touched.
	if !r.options.Look {
		if err := r.bus.Keep(ctx, meta); err != nil {
			return err
		}
	}
	err := r.bus.UntilRefused(ctx, func(ctx context.Context) error {
		js, err := r.bus.JetStream()
		if err != nil {
			return err
		}
		if r.options.Look {
			return r.look(ctx, js)
		}
		return sign(ctx, js)
	})
	if err != nil || r.options.Look {
		return err
	}
	return r.bus.Keep(ctx, entries, code)
}

// A signature is what a store says of itself, under signatureKey in bucket meta.
type signature struct {
	V      int `json:"v"`
	Format int `json:"format"`
}

const signatureKey = "format"

// look refuses a store that is not there, or of a newer format.
func (r *Registry) look(ctx context.Context, js jetstream.JetStream) error {
	kv, err := js.KeyValue(ctx, mayfly.BucketMeta)
	if err != nil {
		return r.unreadable(err)
	}
	stored, err := kv.Get(ctx, signatureKey)
	if err != nil {
		return r.unreadable(err)
	}
	if _, err := js.KeyValue(ctx, mayfly.BucketRegistry); err != nil {
		return r.unreadable(err)
	}
	return checkFormat(stored)
}

// unreadable makes one error of all that mean that there is no store.
func (r *Registry) unreadable(err error) error {
	for _, none := range []error{
		jetstream.ErrBucketNotFound, jetstream.ErrKeyNotFound, jetstream.ErrJetStreamNotEnabled,
		jetstream.ErrJetStreamNotEnabledForAccount, nats.ErrNoResponders,
	} {
		if errors.Is(err, none) {
			return mayfly.Errorf(mayfly.NotFound, "nothing was ever deployed at %s", r.bus.URL()).WithHint("mayfly deploy PATH")
		}
	}
	return bus.Fault("read the store's format", err)
}

// sign refuses a store of a newer format, and writes ours into a new one.
func sign(ctx context.Context, js jetstream.JetStream) error {
	kv, err := js.KeyValue(ctx, mayfly.BucketMeta)
	if err != nil {
		return bus.Fault("read the store's format", err)
	}
	ours, err := json.Marshal(signature{V: 1, Format: format})
	if err != nil {
		return err
	}
	stored, err := kv.Get(ctx, signatureKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		if _, err = kv.Create(ctx, signatureKey, ours); err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return bus.Fault("write the store's format", err)
		}
		stored, err = kv.Get(ctx, signatureKey) // another node was faster
	}
	if err != nil {
		return bus.Fault("read the store's format", err)
	}
	return checkFormat(stored)
}

// checkFormat refuses what a newer Mayfly signed, and what none did.
func checkFormat(stored jetstream.KeyValueEntry) error {
	var theirs signature
	if err := json.Unmarshal(stored.Value(), &theirs); err != nil || theirs.Format < 1 {
		return mayfly.Errorf(mayfly.Invalid, "key %q of bucket %s does not say which format the store has", signatureKey, mayfly.BucketMeta).
			WithHint("if Mayfly did not write it, choose another NATS account; else restore a backup")
	}
	if theirs.Format > format {
		return mayfly.Errorf(mayfly.Invalid, "the store was written by a newer Mayfly: it has format %d, this version knows %d", theirs.Format, format).
			WithHint("upgrade this Mayfly, or choose another --data folder or NATS account")
	}
	return nil
}
