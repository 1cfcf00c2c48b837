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

// Formats of Mayfly's state in JetStream.
const (
	formatShared = 1 // among users' streams: one account for both
	formatOwn    = 2 // in its own account
)

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

// history is how many values of an entry are kept.
const history = 32

// openState creates missing buckets, unless we only look, and checks that we know the
// store's format.
func (r *Registry) openState(ctx context.Context) error {
	// The format first: nothing else in a newer store is touched.
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
		return r.sign(ctx, js)
	})
	if err != nil || r.options.Look {
		return err
	}
	r.warnOlderBuilds(ctx)
	return r.bus.Keep(ctx, entries, code)
}

// warnOlderBuilds signs the users' account, where older builds look for the registry:
// they reject a newer format instead of creating an empty registry.
func (r *Registry) warnOlderBuilds(ctx context.Context) {
	ours, err := json.Marshal(signature{V: 1, Format: formatOwn})
	if err == nil {
		err = r.bus.KeepAmongUsers(ctx, meta, signatureKey, ours)
	}
	if err != nil {
		r.log.Warn("cannot write the format marker to the users' account", "err", err)
	}
}

// A signature describes the store, under signatureKey in bucket meta.
type signature struct {
	V      int `json:"v"`
	Format int `json:"format"`
}

const signatureKey = "format"

// look rejects a store that does not exist or has a newer format.
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
	_, err = r.checkFormat(stored)
	return err
}

// unreadable maps all errors that mean "no store" to one.
func (r *Registry) unreadable(err error) error {
	for _, none := range []error{
		jetstream.ErrBucketNotFound, jetstream.ErrKeyNotFound, jetstream.ErrJetStreamNotEnabled,
		jetstream.ErrJetStreamNotEnabledForAccount, nats.ErrNoResponders,
	} {
		if errors.Is(err, none) {
			return mayfly.Errorf(mayfly.NotFound, "nothing was ever deployed at %s", r.bus.URL()).WithHint("run mayfly deploy PATH")
		}
	}
	return bus.Fault("read the store's format", err)
}

// format returns the format of a store on this bus.
func (r *Registry) format() int {
	if r.bus.OwnAccount() {
		return formatOwn
	}
	return formatShared
}

// sign rejects a store of another format. It writes our format to a new store, and again
// to one whose users moved to another account.
func (r *Registry) sign(ctx context.Context, js jetstream.JetStream) error {
	kv, err := js.KeyValue(ctx, mayfly.BucketMeta)
	if err != nil {
		return bus.Fault("read the store's format", err)
	}
	ours, err := json.Marshal(signature{V: 1, Format: r.format()})
	if err != nil {
		return err
	}
	for {
		stored, err := kv.Get(ctx, signatureKey)
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
			_, err = kv.Create(ctx, signatureKey, ours)
		case err != nil:
			return bus.Fault("read the store's format", err)
		default:
			theirs, wrong := r.checkFormat(stored)
			if wrong != nil || theirs == r.format() {
				return wrong
			}
			_, err = kv.Update(ctx, signatureKey, ours, stored.Revision())
		}
		if faster := errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch); !faster {
			return bus.Fault("write the store's format", err)
		}
	}
}

// checkFormat rejects a store that a newer Mayfly signed, that has no valid signature,
// or that we reached with a user's login.
func (r *Registry) checkFormat(stored jetstream.KeyValueEntry) (format int, err error) {
	var theirs signature
	if err := json.Unmarshal(stored.Value(), &theirs); err != nil || theirs.Format < 1 {
		return 0, mayfly.Errorf(mayfly.Invalid, "key %q of bucket %s does not say which format the store has", signatureKey, mayfly.BucketMeta).
			WithHint("if Mayfly did not write it, choose another NATS account; else restore a backup")
	}
	switch {
	case theirs.Format > formatOwn:
		return 0, mayfly.Errorf(mayfly.Invalid, "the store was written by a newer Mayfly: it has format %d, this version knows %d", theirs.Format, formatOwn).
			WithHint("upgrade this Mayfly, or choose another --data folder or NATS account")
	case theirs.Format > r.format():
		return 0, mayfly.Errorf(mayfly.Denied, "Mayfly's state at %s is in a separate NATS account", r.bus.URL()).
			WithHint("give the login for it: --core.key, --core.creds or --core.context")
	}
	return theirs.Format, nil
}
