package shim_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mayfly-run/mayfly/internal/shim"
)

// What a build lacks or finds by a link is told, so that somebody can watch it.
func TestJavaScriptTellsWhereToLookAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		files  map[string]string // the entry is a.js
		links  map[string]string
		inputs []string // among others
		sought []string // among others
	}{
		{
			"a file that comes later",
			map[string]string{"a.js": `import "./lib/word.js"`},
			nil,
			[]string{"a.js"},
			[]string{"lib/word.js", "lib/word.ts", "lib/word.js/index.js", "package.json", "tsconfig.json"},
		},
		{
			"a file that another one lacks",
			map[string]string{"a.js": `import "./lib/b.js"`, "lib/b.js": `import "../c"`},
			nil,
			[]string{"a.js", "lib/b.js"},
			[]string{"c.ts", "c/index.ts"},
		},
		{
			"a package that is installed later",
			map[string]string{"a.js": `import "@x/dep/sub"`},
			nil,
			[]string{"a.js"},
			[]string{"node_modules/@x/dep/package.json", "node_modules/.package-lock.json"},
		},
		{
			"an export that is added later",
			map[string]string{"a.js": `import { x } from "./b.js"; console.log(x)`, "b.js": "export {}"},
			nil,
			[]string{"a.js", "b.js"},
			nil,
		},
		{
			"links",
			map[string]string{
				"a.js": `import "./b"; import "./lib/c.js"; import "dep"; export default () => 1`, "b1.js": "", "lib1/c.js": "", "dep1/index.js": "",
			},
			map[string]string{"b.js": "b1.js", "lib": "lib1", "node_modules/dep": "../dep1"},
			[]string{"a.js", "b1.js", "lib1/c.js", "dep1/index.js"},
			[]string{"b.js", "lib", "node_modules/dep"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			folder, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range tt.files {
				file := filepath.Join(folder, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for name, to := range tt.links {
				if err := os.MkdirAll(filepath.Join(folder, filepath.Dir(name)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(to, filepath.Join(folder, name)); err != nil {
					t.Fatal(err)
				}
			}
			r, err := shim.JavaScript(t.Context(), shim.JavaScriptOptions{Entry: filepath.Join(folder, "a.js"), Out: t.TempDir()})
			if (err != nil) != (tt.links == nil) {
				t.Fatalf("error %v", err)
			}
			for _, list := range []struct {
				name      string
				got, want []string
			}{{"inputs", r.Inputs, tt.inputs}, {"sought", r.Sought, tt.sought}} {
				for _, name := range list.want {
					if !slices.Contains(list.got, filepath.Join(folder, name)) {
						t.Errorf("%s are %q, without %s", list.name, list.got, name)
					}
				}
			}
		})
	}
}
