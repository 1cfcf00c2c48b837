package secrets

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
)

// A key is the file with the identity that opens the secrets. It is read on each use and
// not kept in memory; another process may have created it since.
type key struct {
	path string
	ours bool // we may create it
	log  *slog.Logger
}

// errNoKey is the cause of the error for a missing file.
var errNoKey = errors.New("no key")

// read returns the key. Errors: Denied, for a missing file with the cause errNoKey;
// Invalid for a file without a key.
func (k key) read() (*age.X25519Identity, error) {
	text, mode, err := ReadKey(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, mayfly.Errorf(mayfly.Denied, "cannot open secrets: no key at %s: %w", k.path, errNoKey).
			WithHint("copy secret.key from the node where they were set, or name it with --secret-key")
	}
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Denied, "cannot read the key for secrets: %w", err).
			WithHint("make the file readable for this user, or name another with --secret-key")
	}
	if runtime.GOOS != "windows" && mode.Perm()&0o077 != 0 {
		k.log.Warn("key for secrets is readable by other users", "file", k.path)
	}
	identity, err := age.ParseX25519Identity(text)
	if err != nil { // it may quote the key, so it is dropped
		return nil, mayfly.Errorf(mayfly.Invalid, "%s does not contain a key", k.path).
			WithHint("it needs a line AGE-SECRET-KEY-1..., as age-keygen writes it")
	}
	return identity, nil
}

// ReadKey returns a key file's first line that is neither empty nor a comment, or "", and
// the file's mode.
func ReadKey(path string) (line string, mode fs.FileMode, err error) {
	const most = 32 << 10 // less than the longest line of a Scanner
	file, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", 0, err
	}
	lines := bufio.NewScanner(io.LimitReader(file, most))
	for lines.Scan() {
		if line = strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
			return line, info.Mode(), nil
		}
	}
	return "", info.Mode(), lines.Err()
}

// make creates the key file, whole or not at all. If another process was first, its key
// is returned.
func (k key) make() (*age.X25519Identity, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("generate a key: %w", err)
	}
	text := fmt.Sprintf("# Opens the secrets of this Mayfly. Keep a copy; without it they are lost.\n# public key: %s\n%s\n", identity.Recipient(), identity)
	if err := bus.CreateFile(k.path, []byte(text)); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, mayfly.Errorf(mayfly.Unavailable, "cannot write the key for secrets: %w", err).
			WithHint("make the folder writable for this user, free some space, or choose another with --data")
	}
	return k.read()
}

// seal encrypts a value together with its name, so that a writer to the bucket cannot
// pass one secret off as another.
func seal(to age.Recipient, name mayfly.Name, value []byte) ([]byte, error) {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, to)
	if err != nil {
		return nil, fmt.Errorf("encrypt a secret: %w", err)
	}
	if _, err = w.Write(slices.Concat([]byte(name), []byte{0}, value)); err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encrypt a secret: %w", err)
	}
	return sealed.Bytes(), nil
}

// unseal returns the value that seal encrypted under the same name.
func unseal(identity age.Identity, name mayfly.Name, sealed []byte) ([]byte, error) {
	damaged := func() error {
		return mayfly.Errorf(mayfly.Denied, "secret %q is damaged, or was replaced by another", name).
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
