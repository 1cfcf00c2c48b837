package bundle

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/mayfly-run/mayfly"
)

// Pack writes the folder as a bundle and returns its length and its sha256 in hex.
// Names, content and executable bits are packed; times, owners and other modes are
// not. Errors have code Invalid for anything but regular files, folders and links
// that stay within, and for more than the default Limits allow.
func Pack(w io.Writer, folder string) (digest string, size int64, err error) {
	return pack(w, folder, Limits{}.withDefaults())
}

func pack(w io.Writer, folder string, l Limits) (digest string, size int64, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("pack %s: %w", folder, err)
		}
	}()
	root, err := os.OpenRoot(folder)
	if err != nil {
		return "", 0, err
	}
	defer root.Close()
	entries, err := list(root, l)
	if err != nil {
		return "", 0, err
	}
	hash := sha256.New()
	packed := &counted{w: io.MultiWriter(w, hash), limit: l.Packed}
	// One encoder, so that the output is the same on every machine.
	z, err := zstd.NewWriter(packed, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window))
	if err != nil {
		return "", 0, err
	}
	plain := &counted{w: z}
	t := tar.NewWriter(plain)
	for _, e := range entries {
		if err := e.write(t, root); err != nil {
			return "", 0, err
		}
		if bombed(plain.n, packed.n) {
			return "", 0, mayfly.Errorf(mayfly.Invalid, "%s up to %q compresses to almost nothing, like a zip bomb", sized(plain.n), mayfly.Clip(e.name)).
				WithHint("exclude empty files in .mayflyignore")
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(hash.Sum(nil)), packed.n, nil
}

// An entry is a file, folder or link to pack.
type entry struct {
	name string
	info fs.FileInfo
	link string // its target
}

// list returns the folder's entries: the manifest, then the rest by name.
func list(root *os.Root, l Limits) ([]entry, error) {
	var entries []entry
	weight := Weight{Limits: l}
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		e := entry{name: name}
		if e.info, err = d.Info(); err != nil {
			return err
		}
		if err := e.check(root); err != nil {
			return err
		}
		entries = append(entries, e)
		return weight.Add(name, e.size())
	})
	slices.SortFunc(entries, func(a, b entry) int {
		if (a.name == Manifest) != (b.name == Manifest) {
			if a.name == Manifest {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	return entries, err
}

// check rejects what cannot be packed.
func (e *entry) check(root *os.Root) (err error) {
	if len(e.name) > maxName || strings.ContainsAny(e.name, "\\\x00") {
		return mayfly.Errorf(mayfly.Invalid, "the path %q is too long or has a backslash", mayfly.Clip(e.name)).WithHint("rename it")
	}
	switch mode := e.info.Mode(); {
	case mode.IsRegular() || mode.IsDir():
		return nil
	case mode&fs.ModeSymlink != 0:
		if e.link, err = root.Readlink(e.name); err != nil {
			return err
		}
		e.link = filepath.ToSlash(e.link)
		return CheckLink(e.name, e.link)
	default:
		return mayfly.Errorf(mayfly.Invalid, "%q is %s: only files, folders and links can be packed", mayfly.Clip(e.name), kind(mode)).
			WithHint("delete it, or list it in .mayflyignore")
	}
}

func (e *entry) size() int64 {
	if e.info.Mode().IsRegular() {
		return e.info.Size()
	}
	return 0
}

func (e *entry) write(t *tar.Writer, root *os.Root) error {
	h := &tar.Header{Name: e.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: e.size(), Format: tar.FormatPAX}
	switch mode := e.info.Mode(); {
	case mode.IsDir():
		h.Typeflag, h.Mode, h.Name = tar.TypeDir, 0o755, e.name+"/"
	case e.link != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
	case mode&0o111 != 0:
		h.Mode = 0o755
	}
	if err := t.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := root.Open(e.name)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(t, f)
	if n < h.Size && err == nil || errors.Is(err, tar.ErrWriteTooLong) {
		return mayfly.Errorf(mayfly.Conflict, "%q changed while being packed", mayfly.Clip(e.name)).WithHint("try again")
	}
	return err
}

// kind names the type of a mode.
func kind(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	default:
		return "no regular file"
	}
}

// A counted writer counts its bytes, and fails at its limit if it has one.
type counted struct {
	w     io.Writer
	n     int64
	limit int64 // 0 is none
}

func (c *counted) Write(p []byte) (int, error) {
	if c.limit > 0 && c.n+int64(len(p)) > c.limit {
		return 0, mayfly.Errorf(mayfly.Invalid, "the bundle is larger than %s", sized(c.limit)).
			WithHint("exclude what is not needed at run time in .mayflyignore")
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
