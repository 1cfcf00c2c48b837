package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/mayfly-run/mayfly"
)

func TestPackedFolderComesBack(t *testing.T) {
	t.Parallel()
	from := t.TempDir()
	write(t, from, "b/deep/er/data.bin", strings.Repeat("\x00\x01", 1<<20), 0o600)
	write(t, from, "run", "#!/bin/sh\n", 0o700)
	write(t, from, "größe/名前 with space", "x", 0o644)
	write(t, from, strings.Repeat("long/", 60)+"name", "x", 0o644)
	write(t, from, Manifest, "{}", 0o644)
	if err := os.Mkdir(filepath.Join(from, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	symlink(t, "../run", filepath.Join(from, "b", "up"))
	symlink(t, "nobody", filepath.Join(from, "dangling"))
	packed, digest := packFolder(t, from)
	if len(digest) != 64 {
		t.Errorf("digest %q", digest)
	}
	if first := names(t, packed)[0]; first != Manifest {
		t.Errorf("%q comes first", first)
	}
	to := filepath.Join(t.TempDir(), "there")
	if err := Unpack(iotest.OneByteReader(bytes.NewReader(packed)), to, Limits{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(picture(t, from), picture(t, to)); diff != "" {
		t.Error(diff)
	}
}

func TestEqualContentHasAnEqualDigest(t *testing.T) {
	t.Parallel()
	make := func(order []string, mode fs.FileMode, at time.Time) string {
		folder := t.TempDir()
		for _, name := range order {
			write(t, folder, name, "content of "+name, mode)
			if err := os.Chtimes(filepath.Join(folder, name), at, at); err != nil {
				t.Fatal(err)
			}
		}
		_, digest := packFolder(t, folder)
		return digest
	}
	first := make([]string{"a", "b/c", "mayfly.json"}, 0o600, time.Unix(1, 0))
	if again := make([]string{"mayfly.json", "b/c", "a"}, 0o644, time.Unix(1e9, 0)); again != first {
		t.Error("order, mode or time changed the digest")
	}
	if other := make([]string{"mayfly.json", "b/c", "a"}, 0o755, time.Unix(1, 0)); other == first {
		t.Error("what is executable does not show in the digest")
	}
	if other := make([]string{"mayfly.json", "b/d", "a"}, 0o600, time.Unix(1, 0)); other == first {
		t.Error("a name does not show in the digest")
	}
}

func TestPackRefusesWhatCannotTravel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		make func(folder string) error
		want string
	}{
		{"an absolute link", func(f string) error { return os.Symlink("/etc/passwd", f+"/a") }, `link "a" points to an absolute path`},
		{"a link that leads out", func(f string) error { return os.Symlink("../x", f+"/a") }, `link "a" leads out of the folder`},
		{"a link that hides where it leads", func(f string) error { return os.Symlink("b/../../x", f+"/a") }, `link "a" goes up after it went down`},
		{"a socket", func(f string) error {
			l, err := net.Listen("unix", f+"/s")
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		}, `"s" is a socket: only files, folders and links can be packed`},
		{"a backslash", func(f string) error { return os.WriteFile(f+`/a\b`, nil, 0o600) }, `the path "a\\b" is too long or has a backslash`},
		{"too many files", func(f string) error {
			for i := range 11 {
				write(t, f, fmt.Sprintf("node_modules/p/%d", i), "", 0o600)
			}
			return nil
		}, "the bundle would hold more than 12 files, mostly in node_modules/p (11 files), its own files (1 file)"},
		{"many small folders", func(f string) error {
			for i := range 5 {
				write(t, f, fmt.Sprintf("node_modules/p%d/index.js", i), "", 0o600)
				write(t, f, fmt.Sprintf("node_modules/p%d/package.json", i), "", 0o600)
			}
			return nil
		}, "the bundle would hold more than 12 files, mostly in node_modules (12 files), its own files (1 file)"},
		{"too many bytes", func(f string) error {
			write(t, f, "a", "x", 0o600)
			return os.Truncate(f+"/a", 5<<20)
		}, "the bundle would hold more than 4 MiB, mostly in its own files (5 MiB)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			folder, err := os.MkdirTemp("", "b") // short: the path of a socket is
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(folder) })
			if err := tt.make(folder); err != nil {
				t.Fatal(err)
			}
			_, _, err = pack(io.Discard, folder, Limits{Files: 12, Bytes: 4 << 20, Packed: 1 << 20})
			wantInvalid(t, err, "pack "+folder+": "+tt.want)
		})
	}
}

func TestPackEndsAtTheLimitOfThePacked(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write(t, folder, "noise", noise(2<<20), 0o600)
	_, _, err := pack(io.Discard, folder, Limits{Packed: 1 << 20}.withDefaults())
	wantInvalid(t, err, "the bundle is larger than 1 MiB")
}

func TestUnpackRefusesHostileBundles(t *testing.T) {
	t.Parallel()
	dir := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644} }
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	for _, tt := range []struct {
		name    string
		headers []tar.Header
		want    string
	}{
		{"a way up", []tar.Header{file("../evil")}, `the path "../evil"`},
		{"a hidden way up", []tar.Header{dir("a"), file("a/../../evil")}, `the path "a/../../evil"`},
		{"an absolute path", []tar.Header{file("/evil")}, `the path "/evil"`},
		{"a backslash", []tar.Header{file(`..\evil`)}, `the path "..\\evil"`},
		{"the folder itself", []tar.Header{dir("./")}, `the path "./"`},
		{"a long path", []tar.Header{file(strings.Repeat("a", 2000))}, "the path"},
		{"a link out", []tar.Header{link("a", "../x")}, `link "a" leads out of the folder`},
		{"an absolute link", []tar.Header{link("a", "/etc")}, `link "a" points to an absolute path`},
		{"a link to nothing", []tar.Header{link("a", "")}, `link "a" has an invalid target`},
		{"a file through a link", []tar.Header{dir("d"), link("a", "d"), file("a/x")}, `"a/x" inside something that is not a folder`},
		{"a link through a link", []tar.Header{dir("d"), dir("d/e"), link("d/e/s", "../.."), link("d/e/s/x", "../../../q")}, `"d/e/s/x" inside something that is not a folder`},
		{"a link that climbs a link", []tar.Header{dir("d"), link("d/s", ".."), link("x", "d/s/../../y")}, `link "x" goes up after it went down`},
		{"a file in a file", []tar.Header{file("a"), file("a/b")}, `"a/b" inside something that is not a folder`},
		{"a file without its folder", []tar.Header{file("a/b")}, `"a/b" inside something that is not a folder`},
		{"a file twice", []tar.Header{file("a"), file("a")}, `"a" twice`},
		{"a file in place of a link", []tar.Header{link("a", "b"), file("a")}, `"a" twice`},
		{"a hard link", []tar.Header{file("b"), {Name: "a", Typeflag: tar.TypeLink, Linkname: "b"}}, `"a", which is not a file, folder or link`},
		{"a device", []tar.Header{{Name: "a", Typeflag: tar.TypeChar}}, `"a", which is not a file, folder or link`},
		{"a pipe", []tar.Header{{Name: "a", Typeflag: tar.TypeFifo}}, `"a", which is not a file, folder or link`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			above := t.TempDir()
			err := Unpack(bytes.NewReader(bundleOf(t, tt.headers, nil)), filepath.Join(above, "in"), Limits{})
			wantInvalid(t, err, tt.want)
			wantEmpty(t, above)
		})
	}
}

func TestUnpackRefusesBombs(t *testing.T) {
	t.Parallel()
	many := func(n int) []byte {
		var headers []tar.Header
		for i := range n {
			headers = append(headers, tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeReg})
		}
		return bundleOf(t, headers, nil)
	}
	zeros := func(size int64) []byte {
		return bundleOf(t, []tar.Header{{Name: "zeros", Typeflag: tar.TypeReg, Size: size}}, io.LimitReader(zero{}, size))
	}
	for _, tt := range []struct {
		name   string
		bundle []byte
		limits Limits
		want   string
	}{
		{"too many files", many(101), Limits{Files: 100}, "the bundle would hold more than 100 files"},
		{"too large a file", zeros(2 << 20), Limits{Bytes: 1 << 20}, "the bundle would hold more than 1 MiB"},
		{"a bundle that is large itself", bundleOf(t, []tar.Header{{Name: "n", Typeflag: tar.TypeReg, Size: 2 << 20}}, strings.NewReader(noise(2<<20))), Limits{Packed: 1 << 20}, "the bundle is larger than 1 MiB"},
		{"next to nothing that unpacks to much", zeros(32 << 20), Limits{}, "the bundle looks like a zip bomb"},
		{"zeros after the end", compress(t, append(make([]byte, 1024), make([]byte, 32<<20)...)), Limits{}, "the bundle looks like a zip bomb"},
		{"a window that takes all memory", hugeWindow(t), Limits{}, "the bundle is corrupt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			above := t.TempDir()
			err := Unpack(bytes.NewReader(tt.bundle), filepath.Join(above, "in"), tt.limits)
			wantInvalid(t, err, tt.want)
			wantEmpty(t, above)
		})
	}
}

func TestUnpackLeavesNothingHalf(t *testing.T) {
	t.Parallel()
	from := t.TempDir()
	write(t, from, "a", noise(100_000), 0o644)
	packed, _ := packFolder(t, from)
	for _, tt := range []struct {
		name string
		r    io.Reader
		want string
	}{
		{"nothing", strings.NewReader(""), "the bundle"},
		{"no bundle", strings.NewReader("hello"), "the bundle is corrupt"},
		{"half a bundle", bytes.NewReader(packed[:len(packed)/2]), "the bundle is truncated"},
		{"a changed bundle", bytes.NewReader(bytes.Replace(packed, packed[5000:5001], []byte{packed[5000] ^ 1}, -1)), "the bundle is corrupt"},
		{"a source that fails", io.MultiReader(bytes.NewReader(packed[:5000]), iotest.ErrReader(errors.New("wire cut"))), "wire cut"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			above := t.TempDir()
			if err := Unpack(tt.r, filepath.Join(above, "in"), Limits{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			wantEmpty(t, above)
		})
	}
	above := t.TempDir()
	folder := filepath.Join(above, "in")
	if err := Unpack(bytes.NewReader(packed), folder, Limits{}); err != nil {
		t.Fatal(err)
	}
	before := picture(t, folder)
	if err := Unpack(bytes.NewReader(packed), folder, Limits{}); mayfly.CodeOf(err) != mayfly.Conflict {
		t.Errorf("unpacked twice: %v", err)
	}
	if diff := cmp.Diff(before, picture(t, folder)); diff != "" {
		t.Error(diff)
	}
	if all, _ := os.ReadDir(above); len(all) != 1 {
		t.Errorf("%v is left behind", all)
	}
}

func FuzzUnpack(f *testing.F) {
	seed := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			if err := w.WriteHeader(&h); err != nil {
				f.Fatal(err)
			}
		}
		w.Close()
		return b.Bytes()
	}
	f.Add(seed(tar.Header{Name: "a/", Typeflag: tar.TypeDir}, tar.Header{Name: "a/b", Typeflag: tar.TypeReg, Mode: 0o755}), true)
	f.Add(seed(tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "../../b"}), true)
	f.Add(seed(tar.Header{Name: "../a", Typeflag: tar.TypeReg}, tar.Header{Name: "b", Typeflag: tar.TypeLink, Linkname: "a"}), true)
	f.Add([]byte("\x28\xb5\x2f\xfd"), false)
	// One for all: to make it takes longer than to unpack.
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, plain bool) {
		if plain {
			data = z.EncodeAll(data, nil)
		}
		above := t.TempDir()
		err := Unpack(bytes.NewReader(data), filepath.Join(above, "in"), Limits{Files: 100, Bytes: 1 << 20})
		if err != nil {
			if _, ok := errors.AsType[*fs.PathError](err); !ok && mayfly.CodeOf(err) != mayfly.Invalid {
				t.Fatalf("code %v: %v", mayfly.CodeOf(err), err)
			}
			wantEmpty(t, above)
			return
		}
		if all, _ := os.ReadDir(above); len(all) != 1 {
			t.Fatalf("%v beside the folder", all)
		}
		root, err := os.OpenRoot(filepath.Join(above, "in"))
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		for name, what := range picture(t, root.Name()) {
			if !strings.HasPrefix(what, "link") {
				continue
			}
			if _, err := root.Stat(name); err != nil && strings.Contains(err.Error(), "escapes") {
				t.Fatalf("%s is a %s", name, what)
			}
		}
	})
}

// picture returns what lies in a folder, as far as bundles care.
func picture(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(folder, path)
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			all[name] = "folder"
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			all[name] = "link to " + to
			return err
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			all[name] = fmt.Sprintf("executable %v: %q", info.Mode()&0o111 != 0, data)
			return err
		default:
			all[name] = info.Mode().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func packFolder(t *testing.T, folder string) (packed []byte, digest string) {
	t.Helper()
	var b bytes.Buffer
	digest, size, err := Pack(&b, folder)
	if err != nil {
		t.Fatal(err)
	}
	if size != int64(b.Len()) {
		t.Errorf("size %d of %d bytes", size, b.Len())
	}
	return b.Bytes(), digest
}

// bundleOf packs headers as they are. body is that of the last one.
func bundleOf(t *testing.T, headers []tar.Header, body io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if body != nil {
		if _, err := io.Copy(w, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return compress(t, b.Bytes())
}

func compress(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(data, nil)
}

// hugeWindow returns a frame that asks its reader to remember half a gigabyte.
func hugeWindow(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstd.MaxWindowSize))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write([]byte(noise(1000))); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil { // without its size the frame cannot be a small one
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func names(t *testing.T, packed []byte) []string {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var all []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h.Name)
	}
}

// noise returns text that does not pack.
func noise(size int) string {
	b, x := make([]byte, size), uint64(1)
	for i := range b {
		x = x*6364136223846793005 + 1442695040888963407
		b[i] = byte(x >> 56)
	}
	return string(b)
}

type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func write(t *testing.T, folder, name, text string, mode fs.FileMode) {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func wantInvalid(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v\nwant one with %s", err, want)
	}
	if code := mayfly.CodeOf(err); code != mayfly.Invalid {
		t.Errorf("code %v, want invalid", code)
	}
}

func wantEmpty(t *testing.T, folder string) {
	t.Helper()
	all, err := os.ReadDir(folder)
	if err != nil || len(all) > 0 {
		t.Errorf("%v is left behind, %v", all, err)
	}
}
