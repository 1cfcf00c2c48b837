package static

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly"
)

// Files with a meaning.
const (
	indexFile   = "index.html" // a folder's page
	missingFile = "404.html"   // what is said of a path without a file
)

// A site finds the file that a request asks for.
type site struct {
	root     *os.Root
	fallback string // answers paths without a file; "" if that is an error

	mu   sync.Mutex
	tags map[string]string // validators by file
}

func newSite(root *os.Root, fallback string) *site {
	return &site{root: root, fallback: fallback, tags: map[string]string{}}
}

// serve answers a request. If it returns a file, the response reads from it.
func (s *site) serve(w *response, r *http.Request) (*os.File, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.header.Set("Allow", "GET, HEAD")
		http.Error(w, "this is a file: only GET and HEAD are allowed", http.StatusMethodNotAllowed)
		return nil, nil
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	slash := strings.HasSuffix(r.URL.Path, "/")
	switch info, err := s.root.Stat(path.Join(".", name)); {
	case err == nil && info.IsDir():
		name = path.Join(name, indexFile)
		if _, err := s.root.Stat(name); err != nil {
			break
		}
		if !slash {
			w.redirect(path.Base(r.URL.Path), r.URL.RawQuery)
			return nil, nil
		}
		return s.file(w, r, name)
	case err == nil && info.Mode().IsRegular() && !slash:
		return s.file(w, r, name)
	case err != nil && !absent(err):
		return nil, mayfly.Errorf(mayfly.Internal, "read %s: %w", name, err)
	}
	if s.fallback != "" && wantsPage(r) {
		return s.file(w, r, s.fallback)
	}
	w.status = http.StatusNotFound // whatever follows
	r.Header = http.Header{}
	if _, err := s.root.Stat(missingFile); err == nil {
		return s.file(w, r, missingFile)
	}
	http.Error(w, "there is no such file", http.StatusNotFound)
	return nil, nil
}

// file answers with a file.
func (s *site) file(w *response, r *http.Request, name string) (*os.File, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "read %s: %w", name, err)
	}
	if w.status == 0 {
		tag, err := s.tag(name, f)
		if err != nil {
			_ = f.Close()
			return nil, mayfly.Errorf(mayfly.Internal, "read %s: %w", name, err)
		}
		w.header.Set("ETag", tag)
	}
	w.header.Set("Cache-Control", "no-cache") // ask each time: a deploy shows at once
	if strings.Contains(r.Header.Get("Range"), ",") {
		r.Header.Del("Range") // several ranges would have to be held
	}
	http.ServeContent(w, r, name, time.Time{}, f)
	return f, nil
}

// tag returns the validator of a file, read once.
func (s *site) tag(name string, f *os.File) (string, error) {
	s.mu.Lock()
	tag, ok := s.tags[name]
	s.mu.Unlock()
	if ok {
		return tag, nil
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	tag = `"` + base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:16]) + `"`
	s.mu.Lock()
	s.tags[name] = tag
	s.mu.Unlock()
	_, err := f.Seek(0, io.SeekStart)
	return tag, err
}

// absent reports whether an error says that there is no such file.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// wantsPage reports whether a request may be that of a page, and not of its scripts,
// styles or images, which a page in their place would break.
func wantsPage(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "", "document", "iframe", "empty":
		return true
	}
	return false
}
