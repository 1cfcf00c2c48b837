package project

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mayfly-run/mayfly"
)

const (
	worker  = "package main\nimport \"github.com/nats-io/nats.go\"\nfunc main() { nats.Connect(\"\") }\n"
	web     = "package main\nimport \"net/http\"\nfunc main() { http.ListenAndServe(\"\", nil) }\n"
	handler = "package hello\nimport \"net/http\"\nfunc Handle(w http.ResponseWriter, r *http.Request) {}\n"
)

func TestDetectKnowsEachRow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files map[string]string
		path  string // "" is the folder
		want  string // language, engine, entry
	}{
		{"JavaScript", map[string]string{"a.js": ""}, "a.js", "JavaScript http a.js"},
		{"a module", map[string]string{"a.mjs": ""}, "a.mjs", "JavaScript http a.mjs"},
		{"TypeScript", map[string]string{"a.ts": ""}, "a.ts", "JavaScript http a.ts"},
		{"capitals", map[string]string{"A.JS": ""}, "A.JS", "JavaScript http A.JS"},
		{"Python", map[string]string{"a.py": ""}, "a.py", "Python http a.py"},
		{"a Go handler", map[string]string{"a.go": handler}, "a.go", "Go http a.go"},
		{"a Go program", map[string]string{"a.go": web}, "a.go", "Go http a.go"},
		{"a Go service", map[string]string{"a.go": worker}, "a.go", "Go service a.go"},
		{"a Go service of micro alone", map[string]string{"a.go": strings.Replace(worker, "nats.go", "nats.go/micro", 1)}, "a.go", "Go service a.go"},
		{"a Go program that speaks both", map[string]string{"a.go": strings.Replace(worker, "import", "import _ \"net/http\"\nimport", 1)}, "a.go", "Go http a.go"},
		{"a Go handler that speaks NATS", map[string]string{"a.go": strings.Replace(worker, "main", "hello", 1)}, "a.go", "Go http a.go"},
		{"a module of a like name", map[string]string{"a.go": strings.Replace(worker, "nats.go", "nats.gobble", 1)}, "a.go", "Go http a.go"},
		{"Go that does not compile", map[string]string{"a.go": "pakcage main"}, "a.go", "Go http a.go"},
		{"a shell script", map[string]string{"a.sh": "echo"}, "a.sh", "shell exec a.sh"},
		{"a script by its first line", map[string]string{"a": "#!/usr/bin/env perl\n"}, "a", "program exec a"},
		{"a script of another extension", map[string]string{"a.pl": "#!/usr/bin/perl\n"}, "a.pl", "program exec a.pl"},
		{"an executable", map[string]string{"a": "\x7fELF\x02"}, "a", "program exec a"},
		{"an executable of macOS", map[string]string{"a": "\xcf\xfa\xed\xfe\x07"}, "a", "program exec a"},

		{"index.js", map[string]string{"index.js": "", "util.js": "", "package.json": "{}"}, "", "JavaScript http index.js"},
		{"index.mts", map[string]string{"index.mts": ""}, "", "JavaScript http index.mts"},
		{"index.py", map[string]string{"index.py": ""}, "", "Python http index.py"},
		{"index.sh", map[string]string{"index.sh": ""}, "", "shell exec index.sh"},
		{"package.json's main", map[string]string{"package.json": `{"main":"./src/server.js"}`, "src/server.js": "", "index.js": ""}, "", "JavaScript http src/server.js"},
		{"main without extension", map[string]string{"package.json": `{"main":"server"}`, "server.js": ""}, "", "JavaScript http server.js"},
		{"main that is not there", map[string]string{"package.json": `{"main":"index.js"}`, "index.ts": ""}, "", "JavaScript http index.ts"},
		{"main that is a folder", map[string]string{"package.json": `{"main":"./lib/"}`, "lib/index.js": ""}, "", "JavaScript http lib/index.js"},
		{"main that is the folder", map[string]string{"package.json": `{"main":"."}`, "index.js": ""}, "", "JavaScript http index.js"},
		{"exports", map[string]string{"package.json": `{"exports":"./dist/app.js"}`, "dist/app.js": ""}, "", "JavaScript http dist/app.js"},
		{"exports with conditions", map[string]string{"package.json": `{"exports":{".":{"types":"./a.d.ts","import":["./a.mjs"]},"./b":"./b.js"},"main":"b.js"}`, "a.mjs": "", "b.js": ""}, "", "JavaScript http a.mjs"},
		{"exports of subpaths", map[string]string{"package.json": `{"exports":{"./b":"./b.js"},"main":"a.js"}`, "a.js": "", "b.js": ""}, "", "JavaScript http a.js"},
		{"handler.js", map[string]string{"handler.js": "", "handler.test.js": "", "util.js": ""}, "", "JavaScript http handler.js"},
		{"handler.py", map[string]string{"handler.py": ""}, "", "Python http handler.py"},
		{"an index beside a handler", map[string]string{"index.js": "", "handler.js": ""}, "", "JavaScript http index.js"},
		{"app.py", map[string]string{"app.py": "", "db.py": ""}, "", "Python http app.py"},
		{"main.py", map[string]string{"main.py": ""}, "", "Python http main.py"},
		{"a Go package", map[string]string{"a.go": handler, "b.go": "package hello", "a_test.go": "package hello_test"}, "", "Go http "},
		{"a Go program in files", map[string]string{"main.go": "package main\nfunc main() { run() }", "run.go": strings.Replace(worker, "func main", "func run", 1)}, "", "Go service "},
		{"a Go program for another system", map[string]string{"a.go": worker, "b_plan9.go": web}, "", "Go service "},
		{"Go of two packages", map[string]string{"a.go": "package a", "b.go": "package b"}, "", "Go http "},
		{"pages", map[string]string{"index.html": "", "script.js": "", "docs/index.html": ""}, "", "files static "},
		{"pages beside a program", map[string]string{"index.html": "", "index.js": "", "package.json": "{}"}, "", "JavaScript http index.js"},
		{"pages beside a handler", map[string]string{"index.html": "", "index.js": "export default () => 1"}, "", "JavaScript http index.js"},
		{"pages beside TypeScript", map[string]string{"index.html": "", "index.ts": ""}, "", "JavaScript http index.ts"},
		{"an editor's lock", map[string]string{"app.py": "", ".index.js": ""}, "", "Python http app.py"},
		{"an index that is a folder", map[string]string{"index.js/x": "", "app.py": ""}, "", "Python http app.py"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			folder := folderOf(t, tt.files)
			f, err := detect(filepath.Join(folder, tt.path))
			if err != nil {
				t.Fatal(err)
			}
			entry, _ := below(folder, f.entry)
			if f.entry == folder || f.entry == "" {
				entry = ""
			}
			if got := string(f.language) + " " + string(f.engine) + " " + entry; got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			if f.whole != (tt.path == "") || f.folder != folder {
				t.Errorf("found %+v", f)
			}
		})
	}
}

func TestDetectSaysWhatItLookedFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files map[string]string
		path  string
		code  mayfly.Code
		want  string
	}{
		{"nothing there", nil, "a.js", mayfly.NotFound, "no file or folder FOLDER/a.js"},
		{"an empty folder", nil, "", mayfly.NotFound, "nothing to run in FOLDER: looked for mayfly.yaml, " + sought},
		{"only tests", map[string]string{"a_test.go": "package a"}, "", mayfly.NotFound, "nothing to run in FOLDER"},
		{"only other pages", map[string]string{"page.html": ""}, "", mayfly.NotFound, "nothing to run in FOLDER"},
		{"a page", map[string]string{"page.html": ""}, "page.html", mayfly.Invalid, "FOLDER/page.html is an HTML page, not a program"},
		{"pages that must be built", map[string]string{"index.html": "", "package.json": "{}"}, "", mayfly.NotFound, "nothing to run in FOLDER"},
		{"pages with a script", map[string]string{"index.html": "", "index.js": "document.title = 1"}, "", mayfly.Invalid, "more than one thing to run in FOLDER: index.html, index.js"},
		{"two languages", map[string]string{"index.js": "", "app.py": ""}, "", mayfly.Invalid, "more than one thing to run in FOLDER: app.py, index.js"},
		{"two of Python", map[string]string{"main.py": "", "app.py": ""}, "", mayfly.Invalid, "more than one thing to run in FOLDER: app.py, main.py"},
		{"two of JavaScript", map[string]string{"index.js": "", "index.ts": ""}, "", mayfly.Invalid, "more than one thing to run in FOLDER: index.js, index.ts"},
		{"main and Go", map[string]string{"package.json": `{"main":"a.js"}`, "a.js": "", "a.go": handler}, "", mayfly.Invalid, "more than one thing to run in FOLDER: a.js (main of package.json), a Go package"},
		{"text", map[string]string{"a.txt": "hello"}, "a.txt", mayfly.Invalid, "cannot run FOLDER/a.txt"},
		{"an empty file", map[string]string{"a": ""}, "a", mayfly.Invalid, "cannot run FOLDER/a"},
		{"WebAssembly", map[string]string{"a.wasm": "\x00asm"}, "a.wasm", mayfly.Invalid, "FOLDER/a.wasm is WebAssembly, which this version does not support"},
		{"a broken package.json", map[string]string{"package.json": `{`}, "", mayfly.Invalid, "read FOLDER/package.json: unexpected end of JSON input"},
		{"exports that lead out", map[string]string{"package.json": `{"exports":{".":"../a.js"}}`}, "", mayfly.Invalid, `exports "../a.js" in FOLDER/package.json is not below its folder`},
		{"a main that leads out", map[string]string{"package.json": `{"main":"../a.js"}`}, "", mayfly.Invalid, `main "../a.js" in FOLDER/package.json is not below its folder`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			folder := folderOf(t, tt.files)
			_, err := detect(filepath.Join(folder, tt.path))
			if want := strings.ReplaceAll(tt.want, "FOLDER", folder); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Fatalf("error %v\nwant  %s", err, want)
			}
			if code := mayfly.CodeOf(err); code != tt.code {
				t.Errorf("code %v, want %v", code, tt.code)
			}
		})
	}
}

// Whoever opened the pipe would wait for ever.
func TestDetectOpensNoPipe(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"index.js", "app.py", "a.go", "index.sh"} {
		folder := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(folder, name), 0o600); err != nil {
			t.Fatal(err)
		}
		linked := t.TempDir()
		if err := os.Symlink(filepath.Join(folder, name), filepath.Join(linked, name)); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{folder, filepath.Join(folder, name), linked} {
			if _, err := detect(path); mayfly.CodeOf(err) != mayfly.Invalid || err == nil {
				t.Errorf("%s: error %v", name, err)
			}
		}
	}
}

func TestNamesFromFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		path   string
		folder bool
		want   string // "" is an error
	}{
		{"/x/hello.js", false, "hello"},
		{"/x/Hello_World 2.ts", false, "hello-world-2"},
		{"/x/run", false, "run"},
		{"/x/My Shop", true, "my-shop"},
		{"/x/shop/index.js", false, "shop"},
		{"/x/shop/Main.go", false, "shop"},
		{"/x/shop/app.py", false, "shop"},
		{"/x/shop/handler.ts", false, "shop"},
		{"/x/shop/handlers.ts", false, "handlers"},
		{"/x/index", true, "index"},
		{"/x/a.b", true, ""},
		{"/x/hello.test.js", false, ""},
		{"/x/.js", false, ""},
		{"/x/größe.js", false, ""},
		{"/", true, ""},
		{"/index.js", false, ""},
		{"/x/" + strings.Repeat("a", 64) + ".js", false, ""},
	} {
		got, err := nameOf(tt.path, tt.folder)
		if string(got) != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("nameOf(%q) = %q, %v, want %q", tt.path, got, err, tt.want)
		}
		if err != nil && (mayfly.CodeOf(err) != mayfly.Invalid || mayfly.HintOf(err) == "") {
			t.Errorf("nameOf(%q): code %v, hint %q", tt.path, mayfly.CodeOf(err), mayfly.HintOf(err))
		}
	}
}

func folderOf(t testing.TB, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
