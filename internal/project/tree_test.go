package project

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
)

func TestTreeIsCopiedButWhatIsSkippedOrThere(t *testing.T) {
	t.Parallel()
	from := folderOf(t, map[string]string{"a": "new", "b/c": "c", "skip/d": "d", "b/skipped": "e"})
	for name, to := range map[string]string{"b/up": "../a", "dangling": "nobody", "linked": "b"} {
		if err := os.Symlink(to, filepath.Join(from, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(from, "b", "c"), 0o700); err != nil {
		t.Fatal(err)
	}
	to := folderOf(t, map[string]string{"a": "old"})
	files, err := copyTree(t.Context(), from, to, func(name string) bool { return name == "skip/" || name == "b/skipped" })
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range []string{"a", "b/c", "b/up", "dangling", "linked"} {
		want = append(want, filepath.Join(from, name))
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
	for name, text := range map[string]string{"a": "old", "b/c": "c", "b/up": "old", "linked/c": "c"} {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != text {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if info, err := os.Stat(filepath.Join(to, "b", "c")); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("b/c is no longer executable: %v, %v", info.Mode(), err)
	}
	if all, err := os.ReadDir(to); err != nil || len(all) != 4 {
		t.Errorf("copied %v, %v", all, err)
	}
}

func TestCopyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := copyTree(ctx, folderOf(t, map[string]string{"a": ""}), t.TempDir(), func(string) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// As root, who tests in containers, everything is readable: the message is all that
// can be tested.
func TestWhatCannotBeReadIsDenied(t *testing.T) {
	t.Parallel()
	err := unreadable("/x/key.pem", &fs.PathError{Op: "open", Path: "key.pem", Err: fs.ErrPermission})
	if mayfly.CodeOf(err) != mayfly.Denied || err.Error() != "no permission to read /x/key.pem" || mayfly.HintOf(err) == "" {
		t.Errorf("error %v, hint %q", err, mayfly.HintOf(err))
	}
}
