package project_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/project"
)

// The package comes from a server of the test: no test needs the network.
func TestPackagesOfNPMAreInstalledOnce(t *testing.T) {
	t.Parallel()
	require(t, "npm")
	archive := tarball(t, map[string]string{"package/package.json": `{"name":"greet","version":"1.0.0","main":"g.js"}`, "package/g.js": "module.exports = 'greetings from a package'"})
	var fetched atomic.Int32
	waiting := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		select {
		case <-waiting:
		case <-r.Context().Done():
		}
		w.Write(archive)
	}))
	defer server.Close()
	sum := sha512.Sum512(archive)
	folder := filepath.Join(t.TempDir(), "hello")
	write(t, folder, "index.js", "import greet from 'greet'; export default () => greet")
	write(t, folder, "package.json", `{"name":"hello","version":"1.0.0","type":"module","dependencies":{"greet":"^1.0.0"}}`)
	write(t, folder, ".npmrc", "cache="+t.TempDir()+"\n")
	write(t, folder, "node_modules/.vite/deps/_metadata.json", "{}") // a cache is no package
	p, err := project.Open(folder, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	o := project.BuildOptions{Folder: t.TempDir(), Cache: t.TempDir(), Progress: func(s string) { steps = append(steps, s) }}

	_, err = project.Build(t.Context(), p.Functions[0], o)
	if mayfly.CodeOf(err) != mayfly.Invalid || mayfly.HintOf(err) != "run `npm install` in "+folder {
		t.Errorf("without a lock file: %v, hint %q", err, mayfly.HintOf(err))
	}

	write(t, folder, "package-lock.json", fmt.Sprintf(`{"name":"hello","version":"1.0.0","lockfileVersion":3,"packages":{
		"":{"name":"hello","version":"1.0.0","dependencies":{"greet":"^1.0.0"}},
		"node_modules/greet":{"version":"1.0.0","resolved":"%s/greet.tgz","integrity":"sha512-%s"}}}`,
		server.URL, base64.StdEncoding.EncodeToString(sum[:])))
	before := listing(t, folder)
	// Two at once, of which one waits while the other installs; and a later one.
	o.Installs, o.Idle = &project.Installs{}, func(wait func()) { close(waiting); wait() }
	all := make(chan project.Built, 3)
	build := func() {
		built, err := project.Build(t.Context(), p.Functions[0], o)
		if err != nil {
			trace, _ := traceOf(err)
			t.Errorf("%v\n%s", err, trace)
		}
		all <- built
	}
	var both sync.WaitGroup
	both.Go(build)
	both.Go(build)
	both.Wait()
	build()
	close(all)
	for built := range all {
		text, err := os.ReadFile(filepath.Join(built.Folder, "function.cjs"))
		if err != nil || !bytes.Contains(text, []byte("greetings from a package")) {
			t.Errorf("%v: the package is not in\n%s", err, text)
		}
		for _, name := range []string{"index.js", "package.json", "package-lock.json"} {
			if !slices.Contains(built.Inputs, filepath.Join(folder, name)) {
				t.Errorf("no %s among the inputs %q", name, built.Inputs)
			}
		}
		// What has just been installed is newer than the build, but no change.
		if slices.ContainsFunc(slices.Concat(built.Inputs, built.Sought), func(file string) bool { return strings.HasPrefix(file, o.Cache) }) {
			t.Errorf("some of the inputs %q, or of what was sought, %q, are in the cache", built.Inputs, built.Sought)
		}
	}
	if want := []string{"installing the packages of hello with npm"}; !slices.Equal(steps, want) || fetched.Load() != 1 {
		t.Errorf("steps %q, fetched %d times", steps, fetched.Load())
	}
	if after := listing(t, folder); !slices.Equal(before, after) {
		t.Errorf("the user's folder changed to %q", after)
	}

	write(t, folder, "package-lock.json", `{"lockfileVersion":3,"packages":{}}`)
	_, err = project.Build(t.Context(), p.Functions[0], o)
	if trace, ok := traceOf(err); err == nil || err.Error() != "build hello: npm ci failed" || !ok || !strings.Contains(trace, "npm") {
		t.Errorf("a wrong lock file: %v\n%s", err, trace)
	}
}

func TestPackagesOfPipAreInstalledOnce(t *testing.T) {
	t.Parallel()
	require(t, "python3")
	natstest.Require(t, "python3", exec.Command("python3", "-c", "import pip").Run(), "install pip")
	folder := filepath.Join(t.TempDir(), "hello")
	write(t, folder, "app.py", "import greet\ndef handle(request): return greet.TEXT")
	write(t, folder, "requirements.txt", "-r more.txt\n")
	write(t, folder, "more.txt", "./greet-1.0-py3-none-any.whl\n")
	write(t, folder, "greet-1.0-py3-none-any.whl", wheel(t, map[string]string{
		"greet.py": "TEXT = 'hi'", "greet_old.py": "print 'for another Python'", "greet-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n",
		"greet-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", "greet-1.0.dist-info/RECORD": "greet.py,,\n",
	}))
	p, err := project.Open(folder, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	o := project.BuildOptions{Folder: t.TempDir(), Cache: t.TempDir(), Progress: func(s string) { steps = append(steps, s) }}
	before := listing(t, folder)
	for range 2 {
		built, err := project.Build(t.Context(), p.Functions[0], o)
		if err != nil {
			trace, _ := traceOf(err)
			t.Fatalf("%v\n%s", err, trace)
		}
		there := listing(t, built.Folder)
		compiled := func(name string) bool { return strings.HasPrefix(name, "__pycache__/greet.") }
		if !slices.Contains(there, "greet.py") || !slices.ContainsFunc(there, compiled) || !slices.Contains(there, "app.py") {
			t.Errorf("the bundle holds %q", there)
		}
	}
	if want := []string{"installing the packages of hello with pip"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q", steps)
	}
	if after := listing(t, folder); !slices.Equal(before, after) {
		t.Errorf("the user's folder changed to %q", after)
	}
}

// Only the user's folder tells a version manager which Python its packages are for.
func TestPackagesAreForThePythonOfTheFolder(t *testing.T) {
	require(t, "python3")
	natstest.Require(t, "python3", exec.Command("python3", "-c", "import pip").Run(), "install pip")
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		t.Fatal(err)
	}
	folder, shims := filepath.Join(t.TempDir(), "hello"), filepath.Join(t.TempDir(), "shims")
	write(t, shims, "python3", fmt.Sprintf("#!/bin/sh\necho \"${PYENV_DIR:-$PWD}\" >> %s/asked\nexec %s \"$@\"\n", shims, strings.TrimSpace(string(out))))
	if err := os.Chmod(filepath.Join(shims, "python3"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", shims+":"+os.Getenv("PATH"))
	write(t, folder, "app.py", "def handle(request): return 'hi'")
	write(t, folder, "requirements.txt", "# none\n")
	s := project.Source{Name: "hello", Unit: &mayfly.Unit{Name: "hello", Project: "hello"}, Code: folder, Build: "true"}
	if _, err := project.Build(t.Context(), s, project.BuildOptions{Folder: t.TempDir(), Cache: t.TempDir(), Development: true}); err != nil {
		trace, _ := traceOf(err)
		t.Fatalf("%v\n%s", err, trace)
	}
	asked, err := os.ReadFile(filepath.Join(shims, "asked"))
	if err != nil {
		t.Fatal(err)
	}
	for place := range strings.Lines(string(asked)) {
		if place != folder+"\n" {
			t.Errorf("python3 was started for %s", place)
		}
	}
}

func traceOf(err error) (string, bool) {
	trace, ok := errors.AsType[mayfly.Trace](err)
	return string(trace), ok
}

func tarball(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func wheel(t *testing.T, files map[string]string) string {
	t.Helper()
	var b strings.Builder
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
