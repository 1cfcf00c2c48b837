package bundle

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/mayfly-run/mayfly"
)

// Unpack unpacks a bundle to folder, which must be empty or not exist: it appears
// whole, by one rename, or not at all. Unpack reads r to its end, so a digest of what
// it reads covers the whole bundle.
//
// Errors have code Invalid for a broken or hostile bundle, and Conflict for a folder
// that exists.
func Unpack(r io.Reader, folder string, l Limits) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("unpack a bundle: %w", err)
		}
	}()
	l = l.withDefaults()
	parent, base := filepath.Split(filepath.Clean(folder))
	temporary, err := os.MkdirTemp(filepath.Clean(parent+"."), "."+base+".*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary) // after the rename it no longer exists
	if err := unpack(r, temporary, l); err != nil {
		return err
	}
	if err := os.Chmod(temporary, 0o755); err != nil {
		return err
	}
	if err = os.Rename(temporary, folder); err == nil {
		return nil
	}
	if _, missing := os.Lstat(folder); missing == nil {
		return mayfly.Errorf(mayfly.Conflict, "%s is already there", folder)
	}
	return err
}

func unpack(r io.Reader, folder string, l Limits) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	packed := &metered{r: r, limit: l.Packed}
	z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return broken(err)
	}
	defer z.Close()
	u := unpacker{root: root, weight: Weight{Limits: l}, kinds: map[string]byte{".": tar.TypeDir}}
	// The tar format's own bytes are bounded too, with room for each file's header
	// and padding.
	u.plain = &metered{r: z, limit: l.Bytes + int64(l.Files)*4096 + 1<<20, packed: packed}
	t := tar.NewReader(u.plain)
	for {
		h, err := t.Next()
		if err == io.EOF && u.plain.n == 0 {
			return broken(io.ErrUnexpectedEOF)
		}
		if err == io.EOF {
			_, err := io.Copy(io.Discard, u.plain) // the digest covers all bytes
			return broken(err)
		}
		if err != nil {
			return broken(err)
		}
		if err := u.add(h, t); err != nil {
			return err
		}
	}
}

// broken gives err code Invalid unless it has a code.
func broken(err error) error {
	if _, ok := errors.AsType[*mayfly.Error](err); ok || err == nil {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return mayfly.Errorf(mayfly.Invalid, "the bundle is truncated: %w", err)
	}
	return mayfly.Errorf(mayfly.Invalid, "the bundle is corrupt: %w", err)
}

// An unpacker creates one folder.
type unpacker struct {
	root   *os.Root
	plain  *metered
	weight Weight
	kinds  map[string]byte // tar's type flag of each path
}

// add creates what a header describes.
func (u *unpacker) add(h *tar.Header, body io.Reader) error {
	name := strings.TrimSuffix(h.Name, "/")
	if !fs.ValidPath(name) || name == "." || len(name) > maxName || strings.ContainsAny(name, "\\\x00") || !filepath.IsLocal(filepath.FromSlash(name)) {
		return mayfly.Errorf(mayfly.Invalid, "the bundle contains the path %q, which leaves its folder", mayfly.Clip(h.Name))
	}
	if _, twice := u.kinds[name]; twice {
		return mayfly.Errorf(mayfly.Invalid, "the bundle contains %q twice", mayfly.Clip(name))
	}
	if err := u.weight.Add(name, max(0, h.Size)); err != nil {
		return err
	}
	// If a parent were a link, the recorded paths would be wrong.
	if kind, there := u.kinds[path.Dir(name)]; !there || kind != tar.TypeDir {
		return mayfly.Errorf(mayfly.Invalid, "the bundle contains %q inside something that is not a folder", mayfly.Clip(name))
	}
	u.kinds[name] = h.Typeflag
	switch h.Typeflag {
	case tar.TypeDir:
		return u.root.Mkdir(name, 0o755)
	case tar.TypeSymlink:
		if err := CheckLink(name, h.Linkname); err != nil {
			return err
		}
		return u.root.Symlink(filepath.FromSlash(h.Linkname), name)
	case tar.TypeReg:
		return u.file(name, h, body)
	default:
		return mayfly.Errorf(mayfly.Invalid, "the bundle contains %q, which is not a file, folder or link (type %q)", mayfly.Clip(name), h.Typeflag)
	}
}

func (u *unpacker) file(name string, h *tar.Header, body io.Reader) error {
	mode := fs.FileMode(0o644)
	if h.Mode&0o111 != 0 {
		mode = 0o755
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, body); err != nil {
		f.Close()
		return broken(err)
	}
	return f.Close()
}

// A metered reader fails at its limit, and, if it knows its packed source, when its
// bytes are too many for that.
type metered struct {
	r      io.Reader
	n      int64
	limit  int64
	packed *metered
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	if m.n > m.limit {
		return n, mayfly.Errorf(mayfly.Invalid, "the bundle is larger than %s", sized(m.limit))
	}
	if m.packed != nil && bombed(m.n, m.packed.n) {
		return n, mayfly.Errorf(mayfly.Invalid, "the bundle looks like a zip bomb: %s of it unpack to more than %s", sized(m.packed.n), sized(m.n))
	}
	return n, err
}
