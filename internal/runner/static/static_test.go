package static_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/runner/static"
)

func TestSite(t *testing.T) {
	t.Parallel()
	folder := write(t, map[string]string{
		"index.html": "<h1>home", "style.css": "a{}", "app.js": "1", "data.json": "{}", "logo.svg": "<svg/>", "font.woff2": "wOF2", "no-extension": "text",
		"docs/index.html": "<h1>docs", "docs/a b.html": "<p>ü", "empty/x.txt": "x", "404.html": "<h1>none",
	})
	plain := open(t, folder, "")
	app := open(t, folder, "index.html")
	for _, tt := range []struct {
		name     string
		instance runner.Instance
		path     string // and query
		header   []string
		status   int
		kind     string // Content-Type
		body     string
		location string
	}{
		{"the root", plain, "/", nil, 200, "text/html; charset=utf-8", "<h1>home", ""},
		{"a file", plain, "/style.css", nil, 200, "text/css; charset=utf-8", "a{}", ""},
		{"a script", plain, "/app.js", nil, 200, "text/javascript; charset=utf-8", "1", ""},
		{"JSON", plain, "/data.json", nil, 200, "application/json", "{}", ""},
		{"an image", plain, "/logo.svg?v=1", nil, 200, "image/svg+xml", "<svg/>", ""},
		{"a font", plain, "/font.woff2", nil, 200, "font/woff2", "wOF2", ""},
		{"a file without extension", plain, "/no-extension", nil, 200, "text/plain; charset=utf-8", "text", ""},
		{"a folder", plain, "/docs/", nil, 200, "text/html; charset=utf-8", "<h1>docs", ""},
		{"a folder without its slash", plain, "/docs?q=1", nil, 307, "", "", "docs/?q=1"},
		{"an escaped name", plain, "/docs/a%20b.html", nil, 200, "text/html; charset=utf-8", "<p>ü", ""},
		{"a folder without a page", plain, "/empty/", nil, 404, "text/html; charset=utf-8", "<h1>none", ""},
		{"a file as a folder", plain, "/style.css/", nil, 404, "text/html; charset=utf-8", "<h1>none", ""},
		{"below a file", plain, "/style.css/x", nil, 404, "text/html; charset=utf-8", "<h1>none", ""},
		{"nothing", plain, "/none", []string{"If-None-Match", "*", "Range", "bytes=0-1"}, 404, "text/html; charset=utf-8", "<h1>none", ""},
		{"a range", plain, "/index.html", []string{"Range", "bytes=1-2"}, 206, "text/html; charset=utf-8", "h1", ""},
		{"a range beyond the end", plain, "/index.html", []string{"Range", "bytes=99-"}, 416, "text/plain; charset=utf-8", "invalid range: failed to overlap\n", ""},
		{"several ranges", plain, "/index.html", []string{"Range", "bytes=0-0,2-2"}, 200, "text/html; charset=utf-8", "<h1>home", ""},
		{"below /fn without a slash", plain, "", []string{"X-Forwarded-Prefix", "/fn/site"}, 307, "", "", "site/"},
		{"the rest of a pattern's path", plain, "/manual/docs/", []string{"Mayfly-Param-Path", "docs/"}, 200, "text/html; charset=utf-8", "<h1>docs", ""},
		{"a page of an application", app, "/orders/7", nil, 200, "text/html; charset=utf-8", "<h1>home", ""},
		{"a page that a browser opens", app, "/orders/7", []string{"Sec-Fetch-Dest", "document"}, 200, "text/html; charset=utf-8", "<h1>home", ""},
		{"a script that is gone", app, "/old.js", []string{"Sec-Fetch-Dest", "script"}, 404, "text/html; charset=utf-8", "<h1>none", ""},
		{"a file of an application", app, "/style.css", nil, 200, "text/css; charset=utf-8", "a{}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := call(t, tt.instance, "GET", tt.path, tt.header...)
			if valid := r.Header.Get("ETag") != ""; valid != (tt.status == 200 || tt.status == 206) {
				t.Errorf("%d with a validator: %v", r.Status, valid)
			}
			if kind := r.Header.Get("Content-Type"); r.Status != tt.status || kind != tt.kind || string(r.Body) != tt.body || r.Header.Get("Location") != tt.location {
				t.Errorf("%d %q %q %v, want %d %q %q %q", r.Status, kind, r.Body, r.Header, tt.status, tt.kind, tt.body, tt.location)
			}
		})
	}
}

func TestSiteTakesReadsAlone(t *testing.T) {
	t.Parallel()
	i := open(t, write(t, map[string]string{"index.html": "home"}), "")
	if r := call(t, i, "POST", "/"); r.Status != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST = %d %v", r.Status, r.Header)
	}
	if r := call(t, i, "HEAD", "/"); r.Status != 200 || len(r.Body) > 0 || r.Header.Get("Content-Length") != "4" {
		t.Errorf("HEAD = %+v", r)
	}
	if r := call(t, i, "GET", "/none"); r.Status != 404 || string(r.Body) != "there is no such file\n" {
		t.Errorf("GET = %+v", r)
	}
	r, err := i.Call(t.Context(), &mayfly.Call{Method: "POST", Path: "/"}) // as a NATS message arrives
	if err != nil || string(r.Body) != "home" {
		t.Errorf("a message = %+v, %v", r, err)
	}
}

// A validator is of the content: the same on every node and after each deploy that
// leaves the file alone.
func TestSiteKnowsWhatTheClientHas(t *testing.T) {
	t.Parallel()
	first := open(t, write(t, map[string]string{"a.css": "one"}), "")
	tag := call(t, first, "GET", "/a.css").Header.Get("ETag")
	again := open(t, write(t, map[string]string{"a.css": "one"}), "")
	if r := call(t, again, "GET", "/a.css", "If-None-Match", tag); tag == "" || r.Status != 304 || len(r.Body) > 0 {
		t.Errorf("with %q: %+v", tag, r)
	}
	changed := open(t, write(t, map[string]string{"a.css": "two"}), "")
	for range 2 { // the second time it is not read again
		if r := call(t, changed, "GET", "/a.css", "If-None-Match", tag); r.Status != 200 || string(r.Body) != "two" || r.Header.Get("Last-Modified") != "" {
			t.Errorf("changed: %+v", r)
		}
	}
}

func TestLongFileIsStreamed(t *testing.T) {
	t.Parallel()
	long := make([]byte, 300<<10)
	rand.Read(long)
	i := open(t, write(t, map[string]string{"long.bin": string(long)}), "")
	for _, tt := range []struct {
		header []string
		status int
		want   []byte
	}{{nil, 200, long}, {[]string{"Range", "bytes=1000-"}, 206, long[1000:]}} {
		r := call(t, i, "GET", "/long.bin", tt.header...)
		if r.Stream == nil || r.Length != int64(len(tt.want)) || len(r.Body) > 0 || r.Status != tt.status {
			t.Fatalf("%d, %d bytes in hand, a stream of %d", r.Status, len(r.Body), r.Length)
		}
		got, err := io.ReadAll(r.Stream)
		if err = errors.Join(err, r.Stream.Close()); err != nil || !bytes.Equal(got, tt.want) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	}
}

func TestSiteStaysInItsFolder(t *testing.T) {
	t.Parallel()
	outside := write(t, map[string]string{"secret": "s"})
	folder := write(t, map[string]string{"index.html": ""})
	if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(folder, "files", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "mayfly.json"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	i := open(t, folder, "")
	for _, path := range []string{"/../mayfly.json", "/..%2fmayfly.json", "/%2e%2e/mayfly.json", "/mayfly.json", "/link", "//etc/passwd"} {
		r, err := i.Call(t.Context(), &mayfly.Call{Method: "GET", Path: path, Host: "localhost"})
		if err == nil && r.Status != 404 || strings.Contains(string(r.Body), "s\n") {
			t.Errorf("%s = %d %q, %v", path, r.Status, r.Body, err)
		}
	}
}

func TestFallbackMustBeThere(t *testing.T) {
	t.Parallel()
	s := runner.Spec{Name: "site", Folder: write(t, map[string]string{"index.html": ""}), Program: mayfly.Program{Start: []string{"files"}, Fallback: "app.html"}}
	if _, err := (static.Engine{}).Start(t.Context(), s); mayfly.CodeOf(err) != mayfly.Crashed || err.Error() != "site has no file app.html to fall back on" {
		t.Errorf("err = %v", err)
	}
}

// Without a folder the whole bundle would be served, its description included.
func TestFolderMustBeNamed(t *testing.T) {
	t.Parallel()
	folder := write(t, map[string]string{"index.html": ""})
	for _, start := range [][]string{nil, {"files", "more"}, {"fi", "les"}} {
		s := runner.Spec{Name: "site", Folder: folder, Program: mayfly.Program{Start: start}}
		if _, err := (static.Engine{}).Start(t.Context(), s); mayfly.CodeOf(err) != mayfly.Crashed || mayfly.HintOf(err) == "" {
			t.Errorf("%q: err = %v", start, err)
		}
	}
}

func TestInstanceStops(t *testing.T) {
	t.Parallel()
	i := open(t, write(t, map[string]string{"index.html": strings.Repeat("x", 100<<10)}), "")
	r := call(t, i, "GET", "/")
	i.Stop(t.Context())
	i.Stop(t.Context())
	<-i.Done()
	if _, err := i.Call(t.Context(), &mayfly.Call{Method: "GET", Path: "/"}); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("a call after the end: %v", err)
	}
	if n, err := io.Copy(io.Discard, r.Stream); n != 100<<10 || err != nil { // was on its way
		t.Errorf("read %d bytes, %v", n, err)
	}
	if err := errors.Join(i.Err(), r.Stream.Close()); err != nil {
		t.Error(err)
	}
}

// write makes a bundle's folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		file := filepath.Join(folder, "files", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func open(t *testing.T, folder, fallback string) runner.Instance {
	t.Helper()
	i, err := static.Engine{}.Start(t.Context(), runner.Spec{Name: "site", Folder: folder, Program: mayfly.Program{Start: []string{"files"}, Fallback: fallback}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Stop(t.Context()) })
	return i
}

func call(t *testing.T, i runner.Instance, method, path string, header ...string) mayfly.Reply {
	t.Helper()
	path, query, _ := strings.Cut(path, "?")
	c := &mayfly.Call{Method: method, Path: path, Query: query, Host: "localhost", Header: http.Header{}}
	for n := 0; n < len(header); n += 2 {
		c.Header.Set(header[n], header[n+1])
	}
	r, err := i.Call(t.Context(), c)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}
