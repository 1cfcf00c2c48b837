package node

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
)

// format is the version of what the folder holds. A folder of a newer format is
// refused, never rewritten. In format 2 Mayfly's state has an account of its own.
const format = 2

// Names within a node's folder.
const (
	identityFile = "node.json"
	lockFile     = "lock"
	coreKeyFile  = "core.key"
	storeFolder  = "nats"
)

// An Identity is node.json: who the node is, made once, and where it listens while
// it runs.
type Identity struct {
	Format    int        `json:"format"`
	Moving    bool       `json:"moving,omitempty"` // the store may still be of format 1, in part or whole
	ID        string     `json:"id"`
	Server    string     `json:"server"` // name of the embedded NATS server
	Listening *Listening `json:"listening,omitempty"`
}

// Listening says where a running node is reached.
type Listening struct {
	PID     int    `json:"pid"`
	NATS    string `json:"nats"`
	Gateway string `json:"gateway"`
	Admin   string `json:"admin,omitempty"`
	CoreKey string `json:"core_key,omitempty"` // path of the file with the key of our state's account, if a key opens it
}

// A folder is where one node keeps its state, locked for as long as it is open.
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

// lockError tells a folder in use from one that cannot be used.
func (f *folder) lockError(err error) error {
	if !errors.Is(err, errLocked) {
		return cannotWrite(f.path, err)
	}
	conflict := mayfly.Errorf(mayfly.Conflict, "a node already runs on %s", f.path)
	if id, err := readIdentity(f.path); err == nil && id.Listening != nil {
		return conflict.WithHint("deploy something: mayfly deploy PATH (gateway %s, NATS %s); for a second node pass --data and other addresses", id.Listening.Gateway, id.Listening.NATS)
	}
	return conflict.WithHint("for a second one choose --data and other addresses")
}

func cannotWrite(path string, err error) error {
	return mayfly.Errorf(mayfly.Unavailable, "the data folder %s cannot be written: %w", path, err).
		WithHint("give the folder to this user, free some space, or choose another with --data")
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

// bundles is where fetched code lies, unpacked.
func (f *folder) bundles() string { return filepath.Join(f.path, "bundles") }

// maxSockets is the longest path that sockets may return: systems allow about a
// hundred bytes for the path of a socket, its name included (unix(7)).
const maxSockets = 80

// sockets returns where instances are reached, an empty folder: in the node's own
// or, if its path is long, in the system's folder for what is temporary.
func (f *folder) sockets() (string, error) {
	path := filepath.Join(f.path, "run")
	for _, short := range []string{os.TempDir(), "/tmp"} {
		if len(path) <= maxSockets {
			break
		}
		path = filepath.Join(short, "mayfly-"+f.identity.ID[:min(len(f.identity.ID), 10)])
	}
	// Whatever a node that was killed has left. Of somebody else's nothing goes, and
	// Mkdir fails then.
	_ = os.RemoveAll(path)
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", cannotWrite(path, err)
	}
	return path, nil
}

// separateState brings a store of an earlier format to ours, before the server starts:
// see bus.SeparateState. From before the first step an older build refuses the folder;
// what a crash has left undone is done at the next start.
func (f *folder) separateState() (left []string, err error) {
	if f.identity.Format == format && !f.identity.Moving {
		return nil, nil
	}
	f.identity.Format, f.identity.Moving = format, true
	if err := f.write(); err != nil {
		return nil, err
	}
	for _, path := range []string{filepath.Join(f.path, identityFile), f.path} {
		if err := bus.SyncPath(path); err != nil {
			return nil, cannotWrite(f.path, err)
		}
	}
	if left, err = bus.SeparateState(f.store()); err != nil {
		return left, err
	}
	f.identity.Moving = false
	return left, f.write()
}

// announce writes where the node listens, or with nil that it no longer does.
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
	path := filepath.Join(f.path, identityFile)
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return cannotWrite(f.path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return cannotWrite(f.path, err)
	}
	return nil
}

// close says that nobody listens any more and unlocks the folder.
func (f *folder) close() error {
	return errors.Join(f.announce(nil), f.lock.Close())
}

// readIdentity reads node.json. A file that is not there is fs.ErrNotExist.
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
			WithHint("use that version, or another folder with --data")
	}
	return id, nil
}

// A Running node is one that a client on this machine can reach.
type Running struct {
	Folder string
	Listening
}

// FindRunning returns the nodes of this user that run now, by the locks on their
// folders: a node that was killed leaves node.json behind, but no lock.
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

// RunningAt returns the node that runs on one folder, if one does.
func RunningAt(path string) (Running, bool) {
	id, err := readIdentity(path)
	if err != nil || id.Listening == nil || !locked(filepath.Join(path, lockFile)) {
		return Running{}, false
	}
	return Running{Folder: path, Listening: *id.Listening}, true
}
