package shim_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/shim"
)

func TestJavaScriptBundlesWhatIsImported(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files []string // names and texts; the first is the entry
		want  string
	}{
		{"TypeScript", []string{
			"hello.ts", `import { greet, type Name } from "./lib/greet";
				enum Tone { Kind = "kind" }
				export default (request: Request): string => greet("Ada" as Name) + Tone.Kind;`,
			"lib/greet.ts", `export type Name = string; export const greet = (name: Name) => "hello " + name;`,
		}, "hello Adakind"},
		{"JSX", []string{
			"page.tsx", `/** @jsx h */
				const h = (tag: string, _: unknown, ...children: string[]) => "<" + tag + ">" + children.join("") + "</" + tag + ">";
				export default () => <b>bold</b>;`,
		}, "<b>bold</b>"},
		{"JSON", []string{
			"data.mjs", `import data from "./data.json"; export default () => data.list[1];`,
			"data.json", `{"list": ["a", "b"]}`,
		}, "b"},
		{"a package", []string{
			"pkg.js", `import { pad } from "@mine/pad"; import old from "old"; export default () => pad(old.text);`,
			"node_modules/@mine/pad/package.json", `{"name": "@mine/pad", "type": "module", "exports": "./main.js"}`,
			"node_modules/@mine/pad/main.js", `export const pad = (text) => text.padStart(4, ".");`,
			"node_modules/old/package.json", `{"name": "old", "main": "lib/old.js"}`,
			"node_modules/old/lib/old.js", `exports.text = require("node:path").basename("/a/b");`,
		}, "...b"},
		{"CommonJS", []string{"old.cjs", `const { join } = require("path"); module.exports = () => join("a", "b");`}, "a/b"},
		{"CommonJS default", []string{"old.js", `Object.defineProperty(exports, "__esModule", { value: true }); exports.default = () => "default";`}, "default"},
		{"CommonJS fetch", []string{"old.js", `exports.fetch = async (request) => new Response("fetch");`}, "fetch"},
		{"the Workers form", []string{"worker.ts", `export default { async fetch(request: Request, env: Record<string, string>) { return new Response(env.GREETING); } };`}, "hi"},
		{"a class of the Workers form", []string{"worker.js", `class App { #text = "app"; fetch() { return this.#text; } } export default new App();`}, "app"},
		{"names that ES modules give themselves", []string{"own.mjs", `import { createRequire } from "node:module";
			import { dirname } from "node:path"; import { fileURLToPath } from "node:url";
			const require = createRequire(import.meta.url), __filename = fileURLToPath(import.meta.url), __dirname = dirname(__filename);
			export default () => String(__filename.startsWith(__dirname) && typeof require("node:fs").readFileSync);`}, "function"},
		{"names of CommonJS", []string{"names.js", `const fs = require("fs"); module.exports = () => String(fs.existsSync(__filename) && fs.statSync(__dirname).isDirectory());`}, "true"},
		{"a program that exports its server", []string{"app.js", `const http = require("http");
			const app = (req, res) => res.end("program");
			if (require.main === module) http.createServer(app).listen(process.env.MAYFLY_SOCKET);
			module.exports = app;`}, "program"},
		{"a program", []string{"server.mjs", `import http from "node:http"; http.createServer((req, res) => res.end("plain")).listen(process.env.MAYFLY_SOCKET);`}, "plain"},
		{"strict, as ES modules are", []string{"strict.js", `export default () => { try { undeclared = 1; return "sloppy"; } catch { return "strict"; } };`}, "strict"},
		{"sloppy, as CommonJS is", []string{"sloppy.js", `module.exports = () => { undeclared = 1; return "sloppy"; };`}, "sloppy"},
		{"its own place", []string{"place.js", `import fs from "node:fs";
			export default () => String(fs.existsSync(new URL(import.meta.url)) && fs.existsSync(import.meta.filename) && fs.statSync(import.meta.dirname).isDirectory());`}, "true"},
		{"more of its module", []string{"more.js", `export default () => typeof import.meta.resolve;`}, "function"},
		{"top-level await", []string{"await.js", `const text = await Promise.resolve("awaited"); export default () => text;`}, "awaited"},
		{"a default that is passed on", []string{
			"all.js", `export * from "./lib.js"; export { default } from "./lib.js";`,
			"lib.js", `export const other = 1; export default () => "passed on";`,
		}, "passed on"},
		{"a circle of defaults", []string{
			"circle.js", `import other, { twice } from "./other.js"; export const word = "circle"; export default () => other() + twice;`,
			"other.js", `import first, { word } from "./circle.js"; export const twice = 2; export default () => word + typeof first;`,
		}, "circlefunction2"},
		{"JSON by require", []string{"data.js", `module.exports = () => require("./data.json").list[1];`, "data.json", `{"list": ["a", "b"]}`}, "b"},
		{"a file by import()", []string{
			"lazy.js", `export default async () => { const { text } = await import("./lib.mjs"); const fs = await import("node:fs"); return text + typeof fs.readFileSync; };`,
			"lib.mjs", `import { join } from "node:path"; export const text = join("a", "b");`,
		}, "a/bfunction"},
		{"a package by import()", []string{
			"lazy.cjs", `module.exports = async () => (await import("late")).default() + (await import("old")).default.text;`,
			"node_modules/late/package.json", `{"name": "late", "type": "module", "exports": "./main.js"}`,
			"node_modules/late/main.js", `export default () => "late";`,
			"node_modules/old/index.js", `exports.text = "old";`,
		}, "lateold"},
		{"decorators", []string{"decorated.ts", `
			const loud = (method: () => string, _: unknown) => function (this: App) { return method.call(this).toUpperCase(); };
			class App { accessor text = "decorated"; @loud fetch() { return this.text; } }
			export default new App();`}, "DECORATED"},
		{"names that ES modules take from their module", []string{"own.mjs", `import fs from "node:fs";
			const __filename = import.meta.filename, __dirname = import.meta.dirname;
			export default () => String(fs.existsSync(__filename) && __filename.startsWith(__dirname));`}, "true"},
		{"the same of a module that waits", []string{"own.mjs", `import { createRequire } from "node:module"; import { dirname } from "node:path"; import { fileURLToPath } from "node:url";
			const require = createRequire(import.meta.url), __filename = fileURLToPath(import.meta.url), __dirname = await dirname(__filename);
			export default () => String(__filename.startsWith(__dirname) && typeof require("node:fs").readFileSync);`}, "function"},
		{"CommonJS in a module that waits", []string{
			"wait.mjs", `import where from "./where.cjs"; await null; export default () => where;`,
			"where.cjs", `const { sep } = require("path"); module.exports = String(__filename.startsWith(__dirname + sep));`,
		}, "true"},
		{"a sloppy package in an ES module", []string{
			"strict.mjs", `import sloppy from "sloppy"; export default () => sloppy;`,
			"node_modules/sloppy/index.js", `undeclared = 010; with ({ a: 1 }) undeclared += a; module.exports = "sloppy" + undeclared;`,
		}, "sloppy9"},
		{"a sloppy script", []string{"sloppy.js", `http = require("http"); http.createServer((req, res) => res.end("sloppy script")).listen(process.env.MAYFLY_SOCKET);`}, "sloppy script"},
		{"a first line for the shell", []string{"shell.mjs", "#!/usr/bin/env node\nexport default () => 'shell';"}, "shell"},
		{"a program that asks the process whether it is main", []string{"app.js", `const http = require("http");
			const app = (req, res) => res.end("main");
			if (process.mainModule === module) http.createServer(app).listen(process.env.MAYFLY_SOCKET);
			module.exports = app;`}, "main"},
		{"a program that asks its URL whether it is main", []string{"app.mjs", `import http from "node:http"; import { pathToFileURL } from "node:url";
			if (import.meta.url === pathToFileURL(process.argv[1]).href) http.createServer((req, res) => res.end("main")).listen(process.env.MAYFLY_SOCKET);`}, "main"},
		{"much", []string{"much.js", "export default () => text.length + text.slice(-4);\nconst text = `" + strings.Repeat("0123456789abcde\n", 5<<16) + "much`;"}, "5242884much"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := startJavaScript(t, writeFiles(t, tt.files...), "GREETING=hi")
			if res, got := n.do(t, "GET", "/", ""); got != tt.want {
				t.Errorf("%d %q, want %q", res.StatusCode, got, tt.want)
			}
		})
	}
}

func TestJavaScriptFormIsSeenWithoutRunning(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file, text string
		want             bool
	}{
		{"default function", "a.js", `export default () => "x"`, true},
		{"default passed on", "a.js", `export { handler as default }; const handler = () => "x"`, true},
		{"module.exports", "a.js", `module.exports = () => "x"`, true},
		{"exports.default", "a.cjs", `exports.default = () => "x"`, true},
		{"no exports", "a.js", `import "node:http"`, false},
		{"only require", "a.js", `require("http")`, false},
		{"other exports", "a.js", `export const app = 1`, false},
		{"other exports of CommonJS", "a.js", `exports.app = 1`, false},
		{"type exports", "a.ts", `export type A = string; console.log(1)`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, r := buildJavaScript(t, writeFiles(t, tt.file, tt.text))
			if r.Short != tt.want {
				t.Errorf("short = %v, want %v", r.Short, tt.want)
			}
		})
	}
}

func TestJavaScriptInputsAreWhatWasRead(t *testing.T) {
	t.Parallel()
	entry := writeFiles(t,
		"a.ts", `import "./lib/b"; import data from "./c.json"; export default () => data`,
		"lib/b.ts", `import "dep"`, "c.json", `{}`, "unused.ts", ``,
		"node_modules/dep/index.js", `require("fs")`,
	)
	_, r := buildJavaScript(t, entry)
	folder, err := filepath.EvalSymlinks(filepath.Dir(entry))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range []string{"a.ts", "c.json", "lib/b.ts", "node_modules/dep/index.js"} {
		want = append(want, filepath.Join(folder, filepath.FromSlash(name)))
	}
	if !slices.Equal(r.Inputs, want) {
		t.Errorf("inputs = %q, want %q", r.Inputs, want)
	}
}

func TestJavaScriptBuildSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "import \"./nowhere%d.js\";\n", i)
	}
	for _, tt := range []struct {
		name    string
		files   []string
		message string
		hint    string
		trace   string
	}{
		{"syntax", []string{"a.ts", "export default function( {\n"}, "a.ts does not compile", "", "a.ts:2:0"},
		{
			"syntax of an imported file",
			[]string{"a.js", `import "./b.js"; export default 1`, "b.js", "let x = ;"},
			"a.js does not compile", "", "b.js:1:8",
		},
		{"package", []string{"a.js", "import x from \"left-pad/lib\"\nexport default x"}, `a.js imports "left-pad/lib", which does not exist`, "npm install left-pad", "a.js:1:14"},
		{"scoped package", []string{"a.js", `require("@a/b/c")`}, `a.js imports "@a/b/c", which does not exist`, "npm install @a/b", "a.js:1:8"},
		{"file", []string{"a.js", `import "./nope.js"`}, `a.js imports "./nope.js", which does not exist`, "write the path relative", "a.js:1:7"},
		{"missing export", []string{"a.js", `import { c } from "./b.js"; export default c`, "b.js", `export const d = 1`}, "a.js does not compile", "", `No matching export in "b.js"`},
		{"other file", []string{"a.js", `import "./b.xyz"`, "b.xyz", ""}, "a.js needs a .xyz file, which cannot be bundled", "read the file at run time", "a.js:1:7"},
		{"another platform's handler", []string{"a.js", `export function handler() {}`}, "a.js exports handler but has no default export", "export default async (request) => {", ""},
		{"empty", []string{"a.js", " \n"}, "a.js is empty", "export default function", ""},
		{"binary", []string{"a.js", "\x00\x01\xff\xfe"}, "a.js does not compile", "", "a.js:1:0"},
		{"a thousand faults", []string{"a.js", many.String()}, `a.js imports "./nowhere0.js", which does not exist`, "write the path relative", "and 990 more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			entry := writeFiles(t, tt.files...)
			_, err := shim.JavaScript(t.Context(), shim.JavaScriptOptions{Entry: entry, Out: t.TempDir()})
			e, ok := errors.AsType[*mayfly.Error](err)
			if !ok || e.Code != mayfly.Invalid || e.Message != tt.message {
				t.Fatalf("error = %v, want Invalid %q", err, tt.message)
			}
			if !strings.HasPrefix(e.Hint, tt.hint) || (e.Hint == "") != (tt.hint == "") {
				t.Errorf("hint = %q, want %q", e.Hint, tt.hint)
			}
			if trace := mayflyTrace(err); !strings.Contains(trace, tt.trace) || (trace == "") != (tt.trace == "") {
				t.Errorf("trace has no %q:\n%s", tt.trace, trace)
			}
		})
	}
}

func TestJavaScriptNeedsAFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, tt := range []struct {
		name, entry string
		want        mayfly.Code
	}{
		{"missing", filepath.Join(folder, "a.js"), mayfly.NotFound},
		{"a folder", folder, mayfly.Invalid},
	} {
		_, err := shim.JavaScript(t.Context(), shim.JavaScriptOptions{Entry: tt.entry, Out: t.TempDir()})
		if mayfly.CodeOf(err) != tt.want {
			t.Errorf("%s: error = %v, want code %v", tt.name, err, tt.want)
		}
	}
}

func TestJavaScriptWritesNothingIntoTheUsersFolder(t *testing.T) {
	t.Parallel()
	entry := writeFiles(t, "a.js", `export default () => "x"`)
	buildJavaScript(t, entry)
	files, err := os.ReadDir(filepath.Dir(entry))
	if err != nil || len(files) != 1 {
		t.Errorf("the folder holds %v (%v), want a.js alone", files, err)
	}
}

func TestJavaScriptOutputTellsNothingOfTheMachine(t *testing.T) {
	t.Parallel()
	entry := writeFiles(t, "a.ts", `import { b } from "./lib/b"; export default () => b`, "lib/b.ts", `export const b = "b"`)
	out := t.TempDir()
	for _, development := range []bool{false, true} {
		o := shim.JavaScriptOptions{Entry: entry, Out: out}
		if development {
			o.Traced = func(file string) string { return file }
		}
		if _, err := shim.JavaScript(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(out, "function.cjs.map"))
		if err != nil {
			t.Fatal(err)
		}
		if named := strings.Contains(string(data), filepath.Base(filepath.Dir(entry))); named != development {
			t.Errorf("development %v: the source map is %s", development, data)
		}
	}
}
