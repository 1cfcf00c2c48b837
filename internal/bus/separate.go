package bus

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mayfly-run/mayfly"
)

// ownStreams are the streams that earlier builds kept in the users' account.
var ownStreams = []string{
	"KV_" + mayfly.BucketMeta, "KV_" + mayfly.BucketRegistry, "OBJ_" + mayfly.BucketCode, "KV_" + mayfly.BucketSecrets, mayfly.StreamLogs,
}

// SeparateState moves Mayfly's streams in an embedded server's store from the users'
// account, where earlier builds kept them, into Mayfly's own. The server must not
// run. The checksums of nats-server depend on a stream's name, not on its account, so
// renaming a stream's folder moves it: at any moment it is whole in one place or the
// other, and after a crash the rest moves at the next start.
//
// A stream that is in both accounts stays in both, and is listed: the one in Mayfly's
// account is in use, and nothing is ever overwritten.
func SeparateState(store string) (left []string, err error) {
	return mover{rename: os.Rename, sync: SyncPath}.move(store)
}

// A mover does the moving; tests stop it in the middle.
type mover struct {
	rename func(from, to string) error
	sync   func(path string) error
}

func (m mover) move(store string) (left []string, err error) {
	accounts := filepath.Join(store, "jetstream")
	from := filepath.Join(accounts, mayfly.AccountMayfly, "streams")
	to := filepath.Join(accounts, mayfly.AccountCore, "streams")
	for _, name := range ownStreams {
		source, target := filepath.Join(from, name), filepath.Join(to, name)
		if _, err := os.Lstat(source); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, err := os.Lstat(target); err == nil {
			left = append(left, source)
			continue
		}
		if err := m.carry(source, target); err != nil {
			return left, cannotMove(source, err)
		}
	}
	return left, nil
}

// carry renames a stream's folder, and syncs every folder on the way.
func (m mover) carry(source, target string) error {
	from, to := filepath.Dir(source), filepath.Dir(target)
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	if err := m.rename(source, target); err != nil {
		return err
	}
	for _, folder := range []string{to, filepath.Dir(to), filepath.Dir(filepath.Dir(to)), from} {
		if err := m.sync(folder); err != nil {
			return err
		}
	}
	return nil
}

func cannotMove(stream string, err error) error {
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = e.Err
	}
	return mayfly.Errorf(mayfly.Unavailable, "cannot move stream %s to the account of Mayfly's state: %w", stream, err).
		WithHint("give the folder to this user, or copy the whole data folder to one file system and start there with --data; what has not been moved is moved at the next start")
}
