package node

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// format is the version of the folder's contents. A folder of a newer format is rejected,
// never rewritten. In format 2 Mayfly's state has an account of its own.
const format = 2

// Names within a node's folder.
const (
	identityFile = "node.json"
	lockFile     = "lock"
	coreKeyFile  = "core.key"
	storeFolder  = "nats"

	temporaryFolder = "tmp" // of instances; emptied at the start
)

// An Identity is node.json: the node's names, which never change, and its addresses while
// it runs.
type Identity struct {
	Format    int        `json:"format"`
	Moving    bool       `json:"moving,omitempty"` // the store may still be of format 1, in part or whole
	ID        string     `json:"id"`
	Server    string     `json:"server"` // name of the embedded NATS server
	Listening *Listening `json:"listening,omitempty"`
}

// Listening holds the addresses of a running node.
type Listening struct {
	PID      int    `json:"pid"`
	NATS     string `json:"nats"`
	Gateway  string `json:"gateway"`
	Admin    string `json:"admin,omitempty"`
	Embedded bool   `json:"embedded,omitempty"` // whether the node runs the NATS server
	CoreKey  string `json:"core_key,omitempty"` // path of the file with the key of our state's account, if a key opens it
}

// A folder is the data folder of one node, locked while it is open.
type folder struct {
	path     string
	identity Identity
	lock     *os.File
}

// FolderOf returns the folder of a node below home (see config.DataHome): one for
// each project, told apart by where it lies, or the one of nodes without a
// project if path is empty.
func FolderOf(home string, name mayfly.Name, path string) (string, error) {
	if path == "" {
		return filepath.Join(home, "node"), nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", mayfly.Errorf(mayfly.Invalid, "find folder %s: %w", path, err)
	}
	sum := sha256.Sum256([]byte(abs))
	return filepath.Join(home, "projects", string(name)+"-"+hex.EncodeToString(sum[:4])), nil
}

// openFolder makes or opens the folder at path and locks it; fresh empties it
// first. Errors: Conflict if a node runs there, Unavailable if it cannot be
// written, Invalid if it is of a newer format.
func openFolder(path string, fresh bool) (_ *folder, err error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, cannotWrite(path, err)
	}
	f := &folder{path: path}
	if f.lock, err = lock(filepath.Join(path, lockFile)); err != nil {
		return nil, f.lockError(err)
	}
	defer func() {
		if err != nil {
			f.lock.Close()
		}
	}()
	if fresh {
		if err := f.empty(); err != nil {
			return nil, cannotWrite(path, err)
		}
	}
	// Instances of a node that was killed left it behind. What cannot go only takes space.
	_ = os.RemoveAll(filepath.Join(path, temporaryFolder))
	f.identity, err = readIdentity(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		id := strings.ToLower(rand.Text())
		_, err := os.Stat(f.store())
		f.identity = Identity{Format: format, Moving: err == nil, ID: id, Server: "mayfly-" + id[len(id)-8:]}
	case err != nil:
		return nil, err
	}
	return f, f.write()
}

// lockError distinguishes a folder in use from an unusable one.
func (f *folder) lockError(err error) error {
	if !errors.Is(err, errLocked) {
		return cannotWrite(f.path, err)
	}
	conflict := mayfly.Errorf(mayfly.Conflict, "a node already runs on %s", f.path)
	if id, err := readIdentity(f.path); err == nil && id.Listening != nil {
		return conflict.WithHint("deploy something: mayfly deploy PATH (gateway %s, NATS %s); for a second node pass --data and other addresses", id.Listening.Gateway, id.Listening.NATS)
	}
	return conflict.WithHint("for a second node pass --data and other addresses")
}

func cannotWrite(path string, err error) error {
	return mayfly.Errorf(mayfly.Unavailable, "cannot write to the data folder %s: %w", path, err).
		WithHint("make the folder writable for this user, free some space, or choose another with --data")
}

// empty removes everything but the lock, which is held.
func (f *folder) empty() error {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(f.path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// store returns where the embedded NATS server keeps its files.
func (f *folder) store() string { return filepath.Join(f.path, storeFolder) }

// bundles returns the folder of fetched code, unpacked.
func (f *folder) bundles() string { return filepath.Join(f.path, "bundles") }

// temporary returns the TMPDIR of an instance.
func (f *folder) temporary(name, instance string) string {
	return filepath.Join(f.path, temporaryFolder, name, instance)
}

// maxSockets is the longest path that sockets may return: systems allow about a
// hundred bytes for the path of a socket, its name included (unix(7)).
const maxSockets = 80

// sockets returns an empty folder for the sockets of instances: in the node's own or, if
// its path is too long, in the system's temporary folder.
func (f *folder) sockets() (string, error) {
	path := filepath.Join(f.path, "run")
	for _, short := range []string{os.TempDir(), "/tmp"} {
		if len(path) <= maxSockets {
			break
		}
		path = filepath.Join(short, "mayfly-"+f.identity.ID[:min(len(f.identity.ID), 10)])
	}
	// A killed node leaves it behind. If it is another user's it stays, and Mkdir fails.
	_ = os.RemoveAll(path)
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", cannotWrite(path, err)
	}
	return path, nil
}

// separateState converts a store of an earlier format, before the server starts: see
// bus.SeparateState. From the first step on an older build rejects the folder; the next
// start finishes what a crash interrupted.
func (f *folder) separateState() (left []string, err error) {
	if f.identity.Format == format && !f.identity.Moving {
		return nil, nil
	}
	f.identity.Format, f.identity.Moving = format, true
	if err := f.write(); err != nil {
		return nil, err
	}
	if left, err = bus.SeparateState(f.store()); err != nil {
		return left, err
	}
	f.identity.Moving = false
	return left, f.write()
}

// announce writes the node's addresses, or with nil that it does not listen any more.
func (f *folder) announce(l *Listening) error {
	f.identity.Listening = l
	return f.write()
}

// write replaces node.json whole, so that a crash leaves the old or the new one.
func (f *folder) write() error {
	data, err := json.MarshalIndent(f.identity, "", "  ")
	if err != nil {
		return mayfly.Errorf(mayfly.Internal, "write %s: %w", identityFile, err)
	}
	if err := bus.ReplaceFile(filepath.Join(f.path, identityFile), append(data, '\n')); err != nil {
		return cannotWrite(f.path, err)
	}
	return nil
}

// close removes the addresses and unlocks the folder.
func (f *folder) close() error {
	return errors.Join(f.announce(nil), f.lock.Close())
}

// readIdentity reads node.json. A missing file is fs.ErrNotExist.
func readIdentity(path string) (Identity, error) {
	file := filepath.Join(path, identityFile)
	data, err := os.ReadFile(file)
	if err != nil {
		return Identity{}, err
	}
	var id Identity
	if err := json.Unmarshal(data, &id); err != nil || id.ID == "" || id.Server == "" {
		return Identity{}, mayfly.Errorf(mayfly.Invalid, "%s is damaged", file).
			WithHint("remove it: the node gets a new name and keeps its streams; or start with --fresh")
	}
	if id.Format > format {
		return Identity{}, mayfly.Errorf(mayfly.Invalid, "%s was written by a newer Mayfly: it has format %d, this version knows %d", path, id.Format, format).
			WithHint("use that version, or choose another folder with --data")
	}
	return id, nil
}

// A Running node is one that a client on this machine can reach.
type Running struct {
	Folder string
	Listening
}

// FindRunning returns this user's running nodes by the locks on their folders: a killed
// node leaves node.json behind, but no lock.
func FindRunning(home string) []Running {
	folders, _ := filepath.Glob(filepath.Join(home, "projects", "*")) // the pattern is valid
	folders = append(folders, filepath.Join(home, "node"))
	var running []Running
	for _, path := range folders {
		if r, ok := RunningAt(path); ok {
			running = append(running, r)
		}
	}
	return running
}

// Names of files in a home of nodes: one for each node that runs on a folder of its own
// choice, with the folder's path.
const elsewhereFolder = "elsewhere"

// FindElsewhere returns this user's running nodes on folders outside home.
func FindElsewhere(home string) []Running {
	files, _ := filepath.Glob(filepath.Join(home, elsewhereFolder, "*")) // the pattern is valid
	var running []Running
	for _, file := range files {
		path, err := os.ReadFile(file)
		if err != nil {
			continue // the node has just stopped
		}
		if r, ok := RunningAt(string(path)); ok {
			running = append(running, r)
		}
	}
	return running
}

// elsewhere returns where a folder outside home is noted for FindElsewhere, or "" if
// FindRunning finds it.
func elsewhere(home, folder string) (file, path string, err error) {
	if path, err = filepath.Abs(folder); err != nil || home == "" {
		return "", path, err
	}
	if home, err = filepath.Abs(home); err != nil {
		return "", path, err
	}
	if path == filepath.Join(home, "node") || filepath.Dir(path) == filepath.Join(home, "projects") {
		return "", path, nil
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(home, elsewhereFolder, hex.EncodeToString(sum[:8])), path, nil
}

// noteElsewhere lets commands find a node that runs on a folder outside home. Without
// the note they need --data, so a home that cannot be written is not an error.
func noteElsewhere(home, folder string, log *slog.Logger) (remove func() error) {
	file, path, err := elsewhere(home, folder)
	if err != nil || file == "" {
		return func() error { return nil }
	}
	if err = os.MkdirAll(filepath.Dir(file), 0o700); err == nil {
		err = os.WriteFile(file, []byte(path), 0o600)
	}
	if err != nil {
		log.Debug("commands need --data to find this node", telemetry.KeyErr, err)
		return func() error { return nil }
	}
	return func() error {
		if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
}

// RunningAt returns the node that runs on one folder, if one does.
func RunningAt(path string) (Running, bool) {
	id, err := readIdentity(path)
	if err != nil || id.Listening == nil || !locked(filepath.Join(path, lockFile)) {
		return Running{}, false
	}
	return Running{Folder: path, Listening: *id.Listening}, true
}
