package secrets

import (
	"context"
	"errors"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go/jetstream"
)

// state is the bucket. A changed configuration needs the next layout.
var state = bus.State{
	KeyValue: &jetstream.KeyValueConfig{Bucket: mayfly.BucketSecrets, Description: "Mayfly: secrets, encrypted with age", History: 1},
	Layout:   1, Percent: 1, Bytes: 64 << 20,
}

// names returns the names of all secrets.
func names(ctx context.Context, kv jetstream.KeyValue) ([]string, error) {
	keys, err := kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, nil
	}
	return keys, err
}

// noneYet returns an error if there are secrets.
func noneYet(ctx context.Context, kv jetstream.KeyValue) error {
	keys, err := names(ctx, kv)
	if err != nil || len(keys) == 0 {
		return err
	}
	return mayfly.Errorf(mayfly.Denied, "%d secrets were set with a key that is not on this machine: %w", len(keys), errNoKey).
		WithHint("copy secret.key from the node where they were set, name it with --secret-key, or remove the secrets first")
}
