package project_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bundle"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/project"
)

const goHandler = "package hello\nimport \"net/http\"\nfunc Handle(w http.ResponseWriter, r *http.Request) {}\n"

func TestBuildMakesEachLanguageRun(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, need string
		files      map[string]string
		path       string // "" is the folder
		engine     mayfly.Engine
		start      string // the first word and the last
		platform   string
		holds      []string // besides mayfly.json, and maybe more
		inputs     []string
	}{
		{
			"a JavaScript file", "node",
			map[string]string{"hello.js": "import {a} from './lib.js'; export default () => a", "lib.js": "export const a = 'a'"},
			"hello.js",
			mayfly.EngineHTTP, "node mayfly/shim.cjs", mayfly.AnyPlatform,
			[]string{"function.cjs"},
			[]string{"hello.js", "lib.js"},
		},
		{
			"a folder of TypeScript", "node",
			map[string]string{"index.ts": "export default (): string => 'a'", "page.html": "hi", ".env": "A=1", "node_modules/x/index.js": ""},
			"",
			mayfly.EngineHTTP, "node mayfly/shim.cjs", mayfly.AnyPlatform,
			[]string{"function.cjs", "page.html"},
			[]string{"index.ts", "page.html"},
		},
		{
			"a Python file", "python3",
			map[string]string{"hello.py": "import lib.a\nfrom other import b\ndef handle(request): return b", "lib/a.py": "", "other.py": "import json\nb = 'b'", "alone.py": ""},
			"hello.py",
			mayfly.EngineHTTP, "python3 hello.py", mayfly.AnyPlatform,
			[]string{"hello.py", "lib/a.py", "other.py"},
			[]string{"hello.py", "lib/a.py", "other.py"},
		},
		{
			"a Python file of a package", "python3",
			map[string]string{"hello.py": "from .word import w\nfrom . import (\n  more,\n  b)\ndef handle(request): return b", "__init__.py": "", "word.py": "from json import w", "more.py": "", "json.py": "", "alone.py": ""},
			"hello.py",
			mayfly.EngineHTTP, "python3 hello.py", mayfly.AnyPlatform,
			[]string{"__init__.py", "hello.py", "json.py", "more.py", "word.py"},
			[]string{"__init__.py", "hello.py", "json.py", "more.py", "word.py"},
		},
		{
			"a folder of Python", "python3",
			map[string]string{"app.py": "def app(e, s): return []", "t/page.html": "hi", "__pycache__/x.pyc": ""},
			"",
			mayfly.EngineHTTP, "python3 app.py", mayfly.AnyPlatform,
			[]string{"app.py", "t/page.html"},
			[]string{"app.py", "t/page.html"},
		},
		{
			"a Go file", "",
			map[string]string{"hello.go": goHandler, "other.go": "package other"},
			"hello.go",
			mayfly.EngineHTTP, "./hello ./hello", mayfly.Platform(),
			[]string{"hello"},
			[]string{"hello.go"},
		},
		{
			"a shell script", "",
			map[string]string{"hello.sh": "echo hi", "other.sh": ""},
			"hello.sh",
			mayfly.EngineExec, "sh hello.sh", mayfly.AnyPlatform,
			[]string{"hello.sh"},
			[]string{"hello.sh"},
		},
		{
			"a script that names its interpreter", "",
			map[string]string{"hello": "#!/bin/sh\n"},
			"hello",
			mayfly.EngineExec, "./hello ./hello", mayfly.AnyPlatform,
			[]string{"hello"},
			[]string{"hello"},
		},
		{
			"a folder with a script", "",
			map[string]string{"index.sh": "#!/bin/sh\n", "data/a": "", "left.log": "", ".mayflyignore": "*.log"},
			"",
			mayfly.EngineExec, "./index.sh ./index.sh", mayfly.AnyPlatform,
			[]string{"index.sh", "data/a"},
			[]string{"index.sh", "data/a"},
		},
		{
			"a folder of pages", "",
			map[string]string{"index.html": "hi", "css/a.css": "", ".env": "A=1", "mayfly.yml": "functions: {hello: {code: .}}"},
			"",
			mayfly.EngineStatic, "files files", mayfly.AnyPlatform,
			[]string{"files/index.html", "files/css/a.css"},
			[]string{"index.html", "css/a.css"},
		},
		{
			"an executable", "",
			map[string]string{"hello": "\x7fELF..."},
			"hello",
			mayfly.EngineExec, "./hello ./hello", mayfly.Platform(),
			[]string{"hello"},
			[]string{"hello"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require(t, tt.need)
			folder := filepath.Join(t.TempDir(), "hello")
			for name, text := range tt.files {
				write(t, folder, name, text)
			}
			before := listing(t, folder)
			p, err := project.Open(filepath.Join(folder, tt.path), noEnv)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Functions) != 1 || len(p.Services) != 0 || p.Name != "hello" {
				t.Fatalf("project %+v", p)
			}
			built := buildSource(t, p.Functions[0], project.BuildOptions{})
			f := built.Unit
			if words := f.Start; f.Engine != tt.engine || words[0]+" "+words[len(words)-1] != tt.start {
				t.Errorf("engine %s, start %q", f.Engine, f.Start)
			}
			if built.Folders[tt.platform] != built.Folder || len(built.Folders) != 1 {
				t.Errorf("folders %v, want one for %s", built.Folders, tt.platform)
			}
			there := listing(t, built.Folder)
			for _, name := range append(tt.holds, "mayfly.json") {
				if !slices.Contains(there, name) {
					t.Errorf("no %s among %q", name, there)
				}
			}
			for name := range tt.files {
				if slices.Contains(there, name) && !slices.Contains(tt.holds, name) {
					t.Errorf("%s was not left out", name)
				}
			}
			var want []string
			for _, name := range tt.inputs {
				want = append(want, filepath.Join(folder, name))
			}
			slices.Sort(want)
			if diff := cmp.Diff(want, built.Inputs); diff != "" {
				t.Error("inputs:", diff)
			}
			var d project.Description
			if data, err := os.ReadFile(filepath.Join(built.Folder, "mayfly.json")); err != nil || json.Unmarshal(data, &d) != nil {
				t.Errorf("mayfly.json: %v, %s", err, data)
			}
			if diff := cmp.Diff(project.Description{V: 1, Engine: f.Engine, Start: f.Start, Platform: tt.platform}, d); diff != "" {
				t.Error("mayfly.json:", diff)
			}
			if diff := cmp.Diff(before, listing(t, folder)); diff != "" {
				t.Error("the user's folder changed:", diff)
			}
		})
	}
}

// Equal input is an equal bundle: by that a deploy of the same makes no revision.
func TestBuildIsTheSameTwice(t *testing.T) {
	t.Parallel()
	require(t, "python3")
	folder := filepath.Join(t.TempDir(), "hello")
	write(t, folder, "app.py", "import lib\ndef handle(request): return 'a'")
	write(t, folder, "lib.py", "a = 1")
	var digests [2]string
	for i := range digests {
		p, err := project.Open(folder, noEnv)
		if err != nil {
			t.Fatal(err)
		}
		built := buildSource(t, p.Functions[0], project.BuildOptions{})
		if digests[i], _, err = bundle.Pack(io.Discard, built.Folder); err != nil {
			t.Fatal(err)
		}
	}
	if digests[0] != digests[1] {
		t.Error("the bundles differ")
	}
}

func TestGoIsCompiledForEachPlatform(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "hello")
	write(t, folder, "hello.go", "package main\nfunc main() {}\n")
	p, err := project.Open(filepath.Join(folder, "hello.go"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	other := "plan9/" + runtime.GOARCH
	built := buildSource(t, p.Functions[0], project.BuildOptions{Platforms: []string{other, mayfly.Platform()}})
	if len(built.Folders) != 2 || built.Folder != built.Folders[mayfly.Platform()] {
		t.Fatalf("folders %v", built.Folders)
	}
	for platform, elf := range map[string]bool{other: false, mayfly.Platform(): runtime.GOOS == "linux"} {
		data, err := os.ReadFile(filepath.Join(built.Folders[platform], "hello"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(data, []byte("\x7fELF")) != elf {
			t.Errorf("the binary for %s begins with %q", platform, data[:4])
		}
	}
}

func TestBuildOfAServiceAndOfMistakes(t *testing.T) {
	t.Parallel()
	manifest := `
functions:
  ok: {code: main.sh, engine: exec, concurrency: 8, env: {A: b}}
  listens: {code: main.sh, engine: http, start: "sh main.sh --port $PORT"}
  argv: {code: main.sh, start: [sh, main.sh], engine: exec}
  made: {code: src, build: "echo building && sed s/hi/ho/ in > index.sh"}
  fails: {code: src, build: "echo reading $PWD/in >&2; echo src/x:1 is wrong; exit 3"}
  cgi: {code: main.sh, cgi: true}
  notcgi: {code: main.sh, cgi: true, start: sh main.sh}
  worker: {code: worker.go}
services:
  Worker: {code: main.sh, instances: 2, start: sh main.sh}
`
	folder := filepath.Join(t.TempDir(), "shop")
	write(t, folder, "mayfly.yaml", manifest)
	write(t, folder, "main.sh", "echo hi")
	write(t, folder, "src/in", "echo hi")
	write(t, folder, "worker.go", "package main\nimport _ \"github.com/nats-io/nats.go\"\nfunc main() {}\n")
	p, err := project.Open(folder, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	source := func(name string) project.Source {
		all := p.Sources()
		return all[slices.IndexFunc(all, func(s project.Source) bool { return s.Name == name })]
	}
	if f := buildSource(t, source("ok"), project.BuildOptions{}).Unit; f.Engine != mayfly.EngineExec || f.Concurrency != 1 || f.Env["A"] != "b" || f.Project != "shop" {
		t.Errorf("ok is %+v", f)
	}
	if f := buildSource(t, source("cgi"), project.BuildOptions{}).Unit; !f.CGI {
		t.Errorf("cgi is %+v", f)
	}
	if f := buildSource(t, source("listens"), project.BuildOptions{}).Unit; f.Engine != mayfly.EngineHTTP || strings.Join(f.Start, "|") != "sh|-c|sh main.sh --port $PORT" {
		t.Errorf("listens is %+v", f)
	}
	if f := buildSource(t, source("argv"), project.BuildOptions{}).Unit; f.Engine != mayfly.EngineExec || strings.Join(f.Start, "|") != "sh|main.sh" {
		t.Errorf("argv is %+v", f)
	}
	if h := buildSource(t, source("Worker"), project.BuildOptions{}).Unit; h.Engine != mayfly.EngineService || h.Instances != mayfly.Exactly(2) || len(h.Start) != 3 {
		t.Errorf("Worker is %+v", h)
	}

	made := buildSource(t, source("made"), project.BuildOptions{})
	if text, err := os.ReadFile(filepath.Join(made.Folder, "index.sh")); err != nil || string(text) != "echo ho\n" && string(text) != "echo ho" {
		t.Errorf("built %q, %v", text, err)
	}
	if want := []string{filepath.Join(folder, "src", "in")}; !slices.Equal(made.Inputs, want) {
		t.Errorf("inputs %q", made.Inputs)
	}

	for _, tt := range []struct{ name, want, trace string }{
		{"fails", "build fails: the build of fails failed", "reading in\nsrc/x:1 is wrong\n"},
		{"notcgi", "build notcgi: cgi is only for engine exec, but notcgi has engine http", ""},
		{"worker", "build worker: worker speaks NATS itself (it imports nats.go and not net/http), so it is a service", ""},
	} {
		output := t.TempDir()
		built, err := project.Build(t.Context(), source(tt.name), project.BuildOptions{Folder: output, Cache: t.TempDir()})
		if err == nil || err.Error() != tt.want || mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("error %v, want %s", err, tt.want)
		}
		trace, _ := errors.AsType[mayfly.Trace](err)
		if string(trace) != tt.trace {
			t.Errorf("trace %q, want %q", trace, tt.trace)
		}
		if left, _ := os.ReadDir(output); len(left) > 0 || built.Folder != "" {
			t.Errorf("%v is left behind, %+v", left, built)
		}
	}
	if diff := cmp.Diff([]string{"main.sh", "mayfly.yaml", "src/in", "worker.go"}, listing(t, folder)); diff != "" {
		t.Error("the user's folder changed:", diff)
	}
}

func TestCompilerErrorsNameTheUsersFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, need, file, text, want, trace string }{
		{"JavaScript", "node", "hello.js", "export default () => {\n  return {;\n}", "build hello: hello.js does not compile", "hello.js:2:"},
		{"Python", "python3", "hello.py", "def handle(request):\n  return (", "build hello: hello.py does not compile", `hello.py", line 2`},
		{"Go", "", "hello.go", "package main\nfunc main() { nobody() }\n", "build hello: hello.go does not compile", "hello.go:2:15: undefined: nobody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require(t, tt.need)
			folder := t.TempDir()
			write(t, folder, tt.file, tt.text)
			p, err := project.Open(filepath.Join(folder, tt.file), noEnv)
			if err != nil {
				t.Fatal(err)
			}
			built, err := project.Build(t.Context(), p.Functions[0], project.BuildOptions{Folder: t.TempDir(), Cache: t.TempDir()})
			if err == nil || err.Error() != tt.want || mayfly.CodeOf(err) != mayfly.Invalid {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			trace, _ := errors.AsType[mayfly.Trace](err)
			if !strings.Contains(string(trace), tt.trace) || strings.Contains(string(trace), folder) {
				t.Errorf("trace %q, want one with %q", trace, tt.trace)
			}
			if want := []string{filepath.Join(folder, tt.file)}; !slices.Equal(built.Inputs, want) {
				t.Errorf("inputs %q, want %q", built.Inputs, want)
			}
		})
	}
}

// A copy that the build removes is nothing to open or to watch.
func TestBuildNamesNoFileOfItsCopy(t *testing.T) {
	t.Parallel()
	require(t, "node")
	folder := filepath.Join(t.TempDir(), "hello")
	write(t, folder, "index.js", "import {a} from './made.js'; import {b} from './lib.js'; export default () => a + b")
	write(t, folder, "lib.js", "export const b = 'b'")
	s := project.Source{
		Name: "hello", Unit: &mayfly.Unit{Name: "hello", Project: "hello"}, Code: folder,
		Build: "echo \"export const a = 'a'\" > made.js",
	}
	o := project.BuildOptions{Folder: t.TempDir(), Cache: t.TempDir(), Development: true}
	built, err := project.Build(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(built.Folder, "function.cjs.map"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Sources []string }
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(folder, "index.js"), filepath.Join(folder, "lib.js"), "made.js"}, slices.Sorted(slices.Values(m.Sources))); diff != "" {
		t.Error("traces name:", diff)
	}
	if want := filepath.Join(folder, "package.json"); !slices.Contains(built.Sought, want) {
		t.Errorf("%s is not among what is sought, %q", want, built.Sought)
	}
	for _, path := range slices.Concat(built.Inputs, built.Sought) {
		if strings.HasPrefix(path, o.Folder) {
			t.Errorf("%s is watched", path)
		}
	}
}

func TestBuildRefusesHostileFolders(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		make func(folder string) error
		code mayfly.Code
		want string
	}{
		{"a link that leads out", func(f string) error { return os.Symlink("../../secret", f+"/a") }, mayfly.Invalid, `link "a" leads out of the folder`},
		{"an absolute link", func(f string) error { return os.Symlink("/etc/passwd", f+"/a") }, mayfly.Invalid, `link "a" points to an absolute path`},
		{"a pipe", func(f string) error { return syscall.Mkfifo(f+"/pipe", 0o600) }, mayfly.Invalid, "FOLDER/pipe is not a file, folder or link"},
		{"too many files", func(f string) error {
			if err := os.Mkdir(f+"/many", 0o755); err != nil {
				return err
			}
			for i := range 51_000 {
				if err := os.Symlink("x", fmt.Sprintf("%s/many/%d", f, i)); err != nil {
					return err
				}
			}
			return nil
		}, mayfly.Invalid, "the bundle would hold more than 50000 files, mostly in many ("},
		{"too many bytes", func(f string) error {
			big := filepath.Join(f, "data", "big")
			if err := os.Mkdir(filepath.Dir(big), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(big, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(big, 600<<20)
		}, mayfly.Invalid, "the bundle would hold more than 512 MiB, mostly in data (600 MiB)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "hello")
			write(t, folder, "index.sh", "echo")
			if err := tt.make(folder); err != nil {
				t.Fatal(err)
			}
			p, err := project.Open(folder, noEnv)
			if err != nil {
				t.Fatal(err)
			}
			output := t.TempDir()
			_, err = project.Build(t.Context(), p.Functions[0], project.BuildOptions{Folder: output, Cache: t.TempDir()})
			if want := strings.ReplaceAll(tt.want, "FOLDER", folder); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v\nwant one with %s", err, want)
			}
			if mayfly.CodeOf(err) != tt.code || mayfly.HintOf(err) == "" {
				t.Errorf("code %v, hint %q", mayfly.CodeOf(err), mayfly.HintOf(err))
			}
			if left, _ := os.ReadDir(output); len(left) > 0 {
				t.Errorf("%v is left behind", left)
			}
		})
	}
}

func TestMissingToolsAreNamed(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("PATH", folder)
	for _, tt := range []struct{ file, text, want, hint string }{
		{"hello.js", "", "build hello: hello needs node, which is not in PATH", "https://nodejs.org"},
		{"hello.py", "", "build hello: hello needs python3, which is not in PATH", "https://www.python.org"},
		{"hello.go", goHandler, "build hello: hello needs go, which is not in PATH", "https://go.dev/dl"},
	} {
		write(t, folder, tt.file, tt.text)
		p, err := project.Open(filepath.Join(folder, tt.file), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		_, err = project.Build(t.Context(), p.Functions[0], project.BuildOptions{Folder: t.TempDir(), Cache: t.TempDir(), Development: true})
		if err == nil || err.Error() != tt.want || mayfly.CodeOf(err) != mayfly.Unavailable || !strings.HasSuffix(mayfly.HintOf(err), tt.hint) {
			t.Errorf("error %v, hint %q", err, mayfly.HintOf(err))
		}
	}
}

func TestBuildEndsWithItsContext(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "shop")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, folder, "a.sh", "")
	write(t, folder, "mayfly.yaml", fmt.Sprintf("functions: {a: {code: a.sh, build: \"(echo started > %s; sleep 600) & wait\"}}", pipe))
	p, err := project.Open(folder, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := project.Build(ctx, p.Functions[0], project.BuildOptions{Folder: t.TempDir(), Cache: t.TempDir()})
		done <- err
	}()
	if _, err := os.ReadFile(pipe); err != nil { // ends when the build has begun
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the build goes on")
	}
}

// buildSource builds what must be buildable.
func buildSource(t *testing.T, s project.Source, o project.BuildOptions) project.Built {
	t.Helper()
	o.Folder, o.Cache = t.TempDir(), t.TempDir()
	built, err := project.Build(t.Context(), s, o)
	if err != nil {
		trace, _ := errors.AsType[mayfly.Trace](err)
		t.Fatalf("%v\n%s", err, trace)
	}
	if left, _ := os.ReadDir(o.Folder); len(left) != len(built.Folders) {
		t.Errorf("%v for %v", left, built.Folders)
	}
	return built
}

// listing returns the files below a folder.
func listing(t *testing.T, folder string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(folder, path)
			all = append(all, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// require says that a test needs a tool.
func require(t *testing.T, tool string) {
	t.Helper()
	if tool == "" {
		return
	}
	_, err := exec.LookPath(tool)
	natstest.Require(t, tool, err, "install it")
}
