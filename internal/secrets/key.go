package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"filippo.io/age"
	"github.com/mayfly-run/mayfly"
)

// A key is the file with the identity that opens the secrets. It is read each time
// it is needed, a short while per instance: another process may have made it since,
// and memory is no place to keep it.
type key struct {
	path string
	ours bool // we may make it
	log  *slog.Logger
}

// errNoKey is the cause of the error that there is no file.
var errNoKey = errors.New("no key")

// read returns the key. Errors: Denied with cause errNoKey, Invalid for a file that
// is no key.
func (k key) read() (*age.X25519Identity, error) {
	const most = 64 << 10
	file, err := os.Open(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, mayfly.Errorf(mayfly.Denied, "there is no key %s to open secrets with: %w", k.path, errNoKey).
			WithHint("copy secret.key from the node where they were set, or name it with --secret-key")
	}
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Denied, "the key of the secrets cannot be read: %w", err).
			WithHint("give the file to this user, or name another with --secret-key")
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		k.log.Warn("key of the secrets is open to other users", "file", k.path)
	}
	data, err := io.ReadAll(io.LimitReader(file, most))
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Denied, "the key of the secrets cannot be read: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		// The first is the one. What age says of a bad line is not passed on: it
		// may quote it.
		if identity, err := age.ParseX25519Identity(line); err == nil {
			return identity, nil
		}
		break
	}
	return nil, mayfly.Errorf(mayfly.Invalid, "%s holds no key", k.path).
		WithHint("it must have a line AGE-SECRET-KEY-1..., as age-keygen makes it")
}

// make makes a key that is there whole or not at all. Who comes second gets the
// key of the first.
func (k key) make() (*age.X25519Identity, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if err := k.write(identity); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, mayfly.Errorf(mayfly.Unavailable, "the key of the secrets cannot be written: %w", err).
			WithHint("give the folder to this user, free some space, or choose another with --data")
	}
	return k.read()
}

func (k key) write(identity *age.X25519Identity) (err error) {
	file, err := os.CreateTemp(filepath.Dir(k.path), ".secret-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = fmt.Fprintf(file, "# Opens the secrets of this Mayfly. Keep a copy; without it they are lost.\n# public key: %s\n%s\n", identity.Recipient(), identity)
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Link(file.Name(), k.path)
}

// seal encrypts a value together with its name, so that nobody who may write to
// the bucket can pass one secret off as another.
func seal(to age.Recipient, name mayfly.Name, value []byte) ([]byte, error) {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, to)
	if err != nil {
		return nil, fmt.Errorf("encrypt a secret: %w", err)
	}
	for _, part := range [][]byte{[]byte(name), {0}, value} {
		if _, err := w.Write(part); err != nil {
			return nil, fmt.Errorf("encrypt a secret: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encrypt a secret: %w", err)
	}
	return sealed.Bytes(), nil
}

// unseal returns the value that seal encrypted under the same name.
func unseal(identity age.Identity, name mayfly.Name, sealed []byte) ([]byte, error) {
	damaged := func() error {
		return mayfly.Errorf(mayfly.Denied, "secret %q is damaged, or is another that was put in its place", name).
			WithHint("set it again: mayfly secret set %s", name)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), identity)
	if err != nil {
		return nil, damaged()
	}
	opened, err := io.ReadAll(io.LimitReader(r, mayfly.MaxName+1+MaxValue+1))
	if err != nil {
		return nil, damaged()
	}
	value, ok := bytes.CutPrefix(opened, append([]byte(name), 0))
	if !ok || len(value) > MaxValue {
		return nil, damaged()
	}
	return value, nil
}
