package node

import (
	"cmp"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/secrets"
)

// The key of the account of Mayfly's state is only in a file: never in an argument, a
// variable, a log line or an error.

// coreKey returns the key of the server in this folder and where it is absolutely: in
// the file that is named, or else in core.key, made at the first start.
func (f *folder) coreKey(named string) (key, path string, err error) {
	if path, err = filepath.Abs(cmp.Or(named, filepath.Join(f.path, coreKeyFile))); err != nil {
		return "", "", cannotWrite(f.path, err)
	}
	if _, err := os.Lstat(path); named == "" && errors.Is(err, fs.ErrNotExist) {
		text := "# Opens the NATS account of this Mayfly's state. Keep it private: its owner can deploy.\n" + rand.Text() + "\n"
		if err := bus.ReplaceFile(path, []byte(text)); err != nil {
			return "", "", cannotWrite(f.path, err)
		}
	}
	key, err = readCoreKey(path)
	return key, path, err
}

// readCoreKey reads a key: the first line that is neither empty nor a comment.
func readCoreKey(path string) (string, error) {
	const least = 16
	line, _, err := secrets.ReadKey(path)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return "", mayfly.Errorf(mayfly.Denied, "cannot read the core key %s: %w", path, err).
			WithHint("--core.key names the file: core.key in the data folder of the node that runs the NATS server")
	}
	if len(line) < least || strings.ContainsAny(line, " \t$") { // a $ would be a hash to nats-server
		return "", mayfly.Errorf(mayfly.Invalid, "%s does not hold a core key", path).
			WithHint("copy core.key again from the node that runs the NATS server; on that node, remove the file and restart to get a new key")
	}
	return line, nil
}

// CoreOf translates the configured login to the account of Mayfly's state on the server at
// remote. The zero Remote means that none is configured.
func CoreOf(c config.Core, remote bus.Remote) (bus.Remote, error) {
	switch {
	case c.Context != "":
		return bus.Remote{Context: c.Context}, nil
	case c.Creds != "":
		return remote.WithCoreCreds(c.Creds), nil
	case c.Key != "":
		key, err := readCoreKey(c.Key)
		return remote.WithCoreKey(key), err
	default:
		return bus.Remote{}, nil
	}
}

// CoreKeyAt returns the file with the key of the account of Mayfly's state on the
// server at these addresses, if a node of this user that uses it runs on this machine
// and the file can be read.
func CoreKeyAt(running []Running, remote bus.Remote) (path string) {
	for _, r := range running {
		if r.CoreKey == "" || !sameServer(r.NATS, remote) {
			continue
		}
		if file, err := os.Open(r.CoreKey); err == nil {
			file.Close()
			return r.CoreKey
		}
	}
	return ""
}

// sameServer reports whether a node's address is the one in remote.
func sameServer(address string, remote bus.Remote) bool {
	here := func(s string) string { return strings.ReplaceAll(s, "//localhost:", "//127.0.0.1:") }
	return address != "" && here(address) == here(remote.String())
}
