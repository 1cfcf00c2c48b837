package secrets

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go/jetstream"
)

// MaxValue is how many bytes a secret may have.
const MaxValue = 64 << 10

// keyFile is the name of the key in Options.Folder.
const keyFile = "secret.key"

// Options say where the key is. One of Folder and KeyFile is required.
type Options struct {
	Folder  string       // of the node's state: the first Set creates secret.key in it
	KeyFile string       // an existing key instead: an age identity as age-keygen writes it
	Log     *slog.Logger // discards if nil
}

// Secrets are named values that only holders of the key can read.
type Secrets struct {
	bus *bus.Bus
	key key
}

// A Secret describes one without its value.
type Secret struct {
	Name    mayfly.Name
	Size    int // bytes
	Updated time.Time
}

// stored is a secret in the bucket.
type stored struct {
	V         int    `json:"v"`
	Recipient string `json:"recipient"` // public half of the key it was sealed with
	Size      int    `json:"size"`      // of the value
	Age       []byte `json:"age"`       // what seal returned
}

// version is the v of what is written.
const version = 1

// Open creates the bucket if it is missing. A KeyFile must be readable. Errors:
// Invalid, Unavailable, Exhausted.
func Open(ctx context.Context, b *bus.Bus, o Options) (*Secrets, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	s := &Secrets{bus: b}
	switch {
	case o.KeyFile != "":
		s.key = key{path: o.KeyFile, log: o.Log}
		if _, err := s.key.read(); err != nil {
			return nil, err
		}
	case o.Folder != "":
		s.key = key{path: filepath.Join(o.Folder, keyFile), ours: true, log: o.Log}
	default:
		return nil, mayfly.Errorf(mayfly.Internal, "secrets need a folder or a key")
	}
	if err := b.Keep(ctx, state); err != nil {
		return nil, err
	}
	return s, nil
}

// Set stores a value under a name and replaces any before. If there is no key it creates
// one, unless there are secrets, which that could not open. Errors: Invalid, Denied,
// Unavailable, Exhausted.
func (s *Secrets) Set(ctx context.Context, name mayfly.Name, value []byte) error {
	if err := check(name); err != nil {
		return err
	}
	if len(value) > MaxValue {
		return mayfly.Errorf(mayfly.Invalid, "secret %q is too large: %d bytes, the limit is %d", name, len(value), MaxValue).
			WithHint("store large files elsewhere, encrypted, and keep their key here")
	}
	identity, err := s.key.read()
	if errors.Is(err, errNoKey) && s.key.ours {
		identity, err = s.firstKey(ctx)
	}
	if err != nil {
		return err
	}
	sealed, err := seal(identity.Recipient(), name, value)
	if err != nil {
		return err
	}
	data, err := json.Marshal(stored{V: version, Recipient: identity.Recipient().String(), Size: len(value), Age: sealed})
	if err != nil {
		return err
	}
	err = s.bus.RetryBucket(ctx, "store secret "+string(name), mayfly.BucketSecrets, func(ctx context.Context, kv jetstream.KeyValue) error {
		_, err := kv.Put(ctx, string(name), data)
		return err
	})
	if err != nil {
		return err
	}
	return s.bus.Sync(ctx)
}

// firstKey creates a key if there are no secrets. If there are, another process may have
// created the key and set them in the meantime; it writes the key first.
func (s *Secrets) firstKey(ctx context.Context) (*age.X25519Identity, error) {
	if err := s.bus.RetryBucket(ctx, "list the secrets", mayfly.BucketSecrets, noneYet); err != nil {
		if identity, e := s.key.read(); e == nil {
			return identity, nil
		}
		return nil, err
	}
	return s.key.make()
}

// Get returns a secret's value. Errors: NotFound, Denied if it was set with
// another key, Unavailable.
func (s *Secrets) Get(ctx context.Context, name mayfly.Name) ([]byte, error) {
	if err := check(name); err != nil {
		return nil, err
	}
	e, err := s.read(ctx, name)
	if err != nil {
		return nil, err
	}
	kept, err := decode(name, e.Value())
	if err != nil {
		return nil, err
	}
	identity, err := s.key.read()
	if err != nil {
		return nil, err
	}
	if identity.Recipient().String() != kept.Recipient {
		return nil, mayfly.Errorf(mayfly.Denied, "secret %q was set with a different key than %s", name, s.key.path).
			WithHint("name the key it was set with (--secret-key), or set it again: mayfly secret set %s", name)
	}
	return unseal(identity, name, kept.Age)
}

// read returns the bucket's entry of a name. The error has code NotFound if there is
// none.
func (s *Secrets) read(ctx context.Context, name mayfly.Name) (e jetstream.KeyValueEntry, err error) {
	err = s.bus.RetryBucket(ctx, "read secret "+string(name), mayfly.BucketSecrets, func(ctx context.Context, kv jetstream.KeyValue) (err error) {
		e, err = kv.Get(ctx, string(name))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return missing(name)
		}
		return err
	})
	return e, err
}

// List returns all secrets, by name.
func (s *Secrets) List(ctx context.Context) ([]Secret, error) {
	var keys []string
	err := s.bus.RetryBucket(ctx, "list the secrets", mayfly.BucketSecrets, func(ctx context.Context, kv jetstream.KeyValue) (err error) {
		keys, err = names(ctx, kv)
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []Secret
	for _, key := range keys {
		name, err := mayfly.ParseName(key)
		if err != nil {
			continue // another tool's
		}
		e, err := s.read(ctx, name)
		if mayfly.CodeOf(err) == mayfly.NotFound {
			continue // removed just now
		}
		if err != nil {
			return nil, err
		}
		one := Secret{Name: name, Updated: e.Created()}
		if kept, err := decode(name, e.Value()); err == nil {
			one.Size = kept.Size
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Secret) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Remove deletes a secret. Running instances keep it until they stop. The error has code
// NotFound if there is none.
func (s *Secrets) Remove(ctx context.Context, name mayfly.Name) error {
	if err := check(name); err != nil {
		return err
	}
	if _, err := s.read(ctx, name); err != nil {
		return err
	}
	err := s.bus.RetryBucket(ctx, "remove secret "+string(name), mayfly.BucketSecrets, func(ctx context.Context, kv jetstream.KeyValue) error {
		return kv.Purge(ctx, string(name)) // deletes the bytes too
	})
	if err != nil {
		return err
	}
	return s.bus.Sync(ctx)
}

// EnvName returns the name of the environment variable that holds a secret:
// API_KEY for api-key.
func EnvName(name mayfly.Name) string {
	return strings.ToUpper(strings.ReplaceAll(string(name), "-", "_"))
}

func decode(name mayfly.Name, data []byte) (stored, error) {
	var kept stored
	if err := json.Unmarshal(data, &kept); err != nil {
		// The cause is dropped: it may quote a value in the clear.
		return kept, mayfly.Errorf(mayfly.Invalid, "secret %q was not stored by Mayfly", name).
			WithHint("set it again: mayfly secret set %s", name)
	}
	if kept.V > version {
		return kept, mayfly.Errorf(mayfly.Invalid, "secret %q was stored by a newer Mayfly: it has version %d, this one knows %d", name, kept.V, version).
			WithHint("upgrade this Mayfly")
	}
	return kept, nil
}

// check rejects names that ParseName would not accept: they become subjects.
func check(name mayfly.Name) error {
	_, err := mayfly.ParseName(string(name))
	return err
}

func missing(name mayfly.Name) error {
	return mayfly.Errorf(mayfly.NotFound, "no secret %q", name).WithHint("mayfly secret set %s", name)
}
