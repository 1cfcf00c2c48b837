package project_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/project"
)

// Each function answers with what it read at run time, from wherever it runs.
func TestJavaScriptFindsItsFilesAndPackages(t *testing.T) {
	t.Parallel()
	require(t, "node")
	const (
		place = `require("node:fs").readFileSync(require("node:path").join(__dirname, "text.txt"), "utf8")`
		here  = `fs.readFileSync(new URL("text.txt", import.meta.url), "utf8")`
	)
	for _, tt := range []struct {
		name    string
		files   []string // names and texts
		path    string   // "" is the folder
		want    string
		outside []string // packages in the output
	}{
		{"__dirname of main in a folder", []string{
			"package.json", `{"main":"dist/index.js"}`, "dist/index.js", `module.exports = () => ` + place, "dist/text.txt", "main",
		}, "", "main", nil},
		{"__dirname of a module in a folder", []string{
			"index.js", `const { text } = require("./lib/a/text.js"); module.exports = () => text`,
			"lib/a/text.js", `"use strict"; exports.text = ` + place, "lib/a/text.txt", "module",
		}, "", "module", nil},
		{"import.meta.url of a module in a folder", []string{
			"index.mjs", `import { text } from "./lib/text.ts"; export default () => text`,
			"lib/text.ts", `import fs from "node:fs"; export const text: string = ` + here, "lib/text.txt", "url",
		}, "", "url", nil},
		{"the same of one that waits", []string{
			"index.mjs", `import { text } from "./lib/text.mjs"; export default () => text`,
			"lib/text.mjs", `import fs from "node:fs"; export const text = await ` + here, "lib/text.txt", "waited",
		}, "", "waited", nil},
		{"names that a module declares", []string{
			"index.mjs", `import { text } from "./lib/text.mjs"; export default () => text`,
			"lib/text.mjs", `import fs from "node:fs"; import { dirname } from "node:path"; import { fileURLToPath } from "node:url";
				const __dirname = dirname(fileURLToPath(import.meta.url)); export const text = fs.readFileSync(__dirname + "/text.txt", "utf8")`, "lib/text.txt", "declared",
		}, "", "declared", nil},
		{"a package by createRequire", []string{
			"index.mjs", `import { createRequire } from "node:module"; const load = createRequire(import.meta.url); export default () => load("dep")`,
			"node_modules/dep/index.js", `module.exports = require("deeper")`, "node_modules/deeper/index.js", `module.exports = "required"`,
			"node_modules/dep/package.json", `{"dependencies":{"deeper":"1"}}`, "node_modules/other/index.js", ``,
		}, "", "required", []string{"deeper", "dep"}},
		{"a file by createRequire", []string{
			"a.mjs", `import { createRequire } from "node:module"; export default () => createRequire(import.meta.url)("./lib/data.json").text`,
			"lib/data.json", `{"text":"data"}`, "node_modules/other/index.js", ``,
		}, "a.mjs", "data", nil},
		{"code by createRequire", []string{
			"index.mjs", `import { createRequire } from "node:module"; const require = createRequire(import.meta.url); const { text } = require("./lib/code.cjs"); export default () => text`,
			"lib/code.cjs", `exports.text = require("dep")`, "node_modules/dep/index.js", `module.exports = "code"`,
		}, "", "code", []string{"dep"}},
		{"a package with native code", []string{
			"index.js", `const read = require("native"); const plain = require("plain"); module.exports = () => read() + plain`,
			"node_modules/native/index.js", `module.exports = () => { const file = require.resolve("./build/it.node"); process.env.NEVER && require("./build/it.node"); return require("fs").readFileSync(file, "latin1").slice(1); }`,
			"node_modules/native/build/it.node", "\x7fELF", "node_modules/plain/index.js", `module.exports = " bundled"`,
		}, "", "ELF bundled", []string{"native"}},
		{"a package for a package with native code", []string{
			"a.mjs", `import { read } from "@my/wrapper/sub.js"; import plain from "plain"; export default () => read() + plain`,
			"node_modules/@my/wrapper/package.json", `{"dependencies":{"native":"1","plain":"2"},"optionalDependencies":{"missing":"1"}}`,
			"node_modules/@my/wrapper/sub.js", `exports["rea" + "d"] = () => require("native") + require("plain")`,
			"node_modules/native/index.js", `require("bindings"); module.exports = "native"`, "node_modules/native/package.json", `{"dependencies":{"bindings":"1"}}`,
			"node_modules/bindings/index.js", `module.exports = (name) => require(__dirname + name)`,
			"node_modules/plain/index.js", `module.exports = "1"`, "node_modules/@my/wrapper/node_modules/plain/index.js", `module.exports = "2"`,
		}, "a.mjs", "native21", []string{"@my/wrapper", "@my/wrapper/node_modules/plain", "bindings", "native", "plain"}},
		{"a package that reads a file of its own", []string{
			"index.js", `const text = require("reads"); module.exports = () => text`,
			"node_modules/reads/package.json", `{"main":"lib"}`, "node_modules/reads/lib/index.js", `module.exports = ` + place, "node_modules/reads/lib/text.txt", "read",
		}, "", "read", []string{"reads"}},
		{"an ES module that reads a file of its own", []string{
			"index.js", `import { text } from "reads"; import { name } from "old"; export default () => text + name`,
			"node_modules/reads/package.json", `{"type":"module","exports":"./index.js"}`, "node_modules/reads/index.js", `import fs from "node:fs"; export const text = ` + here, "node_modules/reads/text.txt", "read",
			"node_modules/old/index.js", `Object.assign(module.exports, { ["name"]: " and " + typeof __dirname });`,
		}, "", "read and string", []string{"old", "reads"}},
		{"a package by a computed name", []string{
			"index.js", `const view = require("view"); module.exports = () => view("engine")`, "package.json", `{"dependencies":{"view":"1","engine":"1"}}`,
			"node_modules/view/index.js", `module.exports = (name) => require(name)`, "node_modules/engine/index.js", `module.exports = "computed"`, "node_modules/other/index.js", ``,
		}, "", "computed", []string{"engine", "view"}},
		{"own code by a computed name", []string{
			"index.js", `const fs = require("fs"), path = require("path"); require("./routes/a.js"); const folder = path.join(__dirname, "routes");
				module.exports = () => fs.readdirSync(folder).map((name) => require(path.join(folder, name))).join()`,
			"routes/a.js", `module.exports = "a"`, "routes/b.js", `module.exports = require("dep")`, "node_modules/dep/index.js", `module.exports = "b"`,
		}, "", "a,b", []string{"dep"}},
		{"a package that cannot be bundled", []string{
			"index.js", `const db = require("db"); module.exports = () => db.text`,
			"node_modules/db/index.js", `exports.text = "lazy"; exports.open = () => require("not-installed")`,
		}, "", "lazy", []string{"db"}},
		{"a neighbor of a file", []string{
			"a.mjs", `import fs from "node:fs"; import path from "node:path"; const here = (name) => fs.readFileSync(name, "utf8");
				export default () => here(new URL("./text.txt", import.meta.url)) + here(path.join(import.meta.dirname, "views", 'v.html')) + fs.existsSync(new URL("other.txt", import.meta.url))`,
			"text.txt", "text", "views/v.html", "<p>", "unused.txt", "",
		}, "a.mjs", "text<p>false", nil},
		{"a folder beside a file", []string{
			"a.js", `const path = require("path"); module.exports = () => require("fs").readdirSync(path.join(__dirname, "views")).join()`, "views/b/c", "", "views/d", "",
		}, "a.js", "b,d", nil},
		{"a worker", []string{
			"index.mjs", `import { Worker } from "node:worker_threads"; import { once } from "node:events";
				export default async () => (await once(new Worker(new URL("./lib/work.js", import.meta.url)), "message"))[0]`,
			"lib/work.js", `require("node:worker_threads").parentPort.postMessage(require("dep"))`, "node_modules/dep/index.js", `module.exports = "worked"`,
		}, "", "worked", []string{"dep"}},
		{"the path of a package", []string{
			"a.js", `const file = require.resolve("dep/text.txt"); module.exports = () => require("fs").readFileSync(file, "utf8")`, "node_modules/dep/text.txt", "path",
		}, "a.js", "path", []string{"dep"}},
		{"a package that leaves files out", []string{
			"index.js", `const text = require("reads"); module.exports = () => text`, ".mayflyignore", "node_modules/reads/docs\nnode_modules/other\n",
			"node_modules/reads/package.json", `{"dependencies":{"other":"1"}}`, "node_modules/reads/index.js", `module.exports = ` + place, "node_modules/reads/text.txt", "read",
			"node_modules/reads/docs/big.txt", "", "node_modules/other/index.js", "",
		}, "", "read", []string{"reads"}},
		{"a package of the workspace", []string{
			"package.json", "{}", "fn/index.js", `const { text } = require("@my/lib"); module.exports = () => text`, "fn/package.json", "{}",
			"lib/package.json", `{"name":"@my/lib","dependencies":{"dep":"1"}}`, "lib/index.js", `exports.text = require("dep") + ` + place, "lib/text.txt", "read",
			"node_modules/dep/index.js", `module.exports = "dep "`, "node_modules/@my/lib", "-> ../../lib",
		}, "fn", "dep read", []string{"@my/lib", "dep"}},
		{"secrets of packages", []string{
			"package.json", "{}", "fn/index.js", `const { text } = require("@my/lib"); module.exports = () => text + require("reads")`,
			"lib/package.json", `{"name":"@my/lib"}`, "lib/index.js", `exports.text = ` + place, "lib/text.txt", "read",
			"lib/.env", "", "lib/.git/config", "", "lib/.npmrc", "", "lib/.cache/key", "", "lib/sub/__pycache__/a.pyc", "",
			"node_modules/reads/index.js", `module.exports = require("fs").readFileSync(__dirname + "/.text", "utf8")`, "node_modules/reads/.text", " dots",
			"node_modules/reads/.env.local", "", "node_modules/reads/.git/config", "", "node_modules/reads/lib/.npmrc", "",
			"node_modules/@my/lib", "-> ../../lib",
		}, "fn", "read dots", []string{"@my/lib", "reads"}},
		{"a package of the workspace in TypeScript", []string{
			"package.json", "{}", "fn/index.js", `const { text } = require("@my/lib"); module.exports = () => text + require(["d", "ep"].join(""))`, "fn/package.json", `{"dependencies":{"@my/lib":"*","dep":"1"}}`,
			"lib/package.json", `{"name":"@my/lib","main":"src/index.ts"}`, "lib/src/index.ts", `export const text: string = "typed "`,
			"node_modules/dep/index.js", `module.exports = "dep"`, "node_modules/@my/lib", "-> ../../lib",
		}, "fn", "typed dep", []string{"dep"}},
		{"workers and forks of packages", []string{
			"index.js", `const { Worker, repo } = require("queue"); new Worker("jobs"); module.exports = () => repo.fork("queued") // not new Worker()`,
			"node_modules/queue/index.js", `exports.Worker = class {}; exports.repo = { fork: (text) => text }`,
		}, "", "queued", nil},
		{"packages listed for development", []string{
			"index.js", `const use = require("use"); module.exports = () => use("view") + require(["vi", "ew"].join(""))`, "package.json", `{"devDependencies":{"use":"1","view":"1","big":"1"}}`,
			"node_modules/use/index.js", `module.exports = (name) => require(name)`, "node_modules/view/index.js", `module.exports = "view"`, "node_modules/big/index.js", "",
		}, "", "viewview", []string{"use", "view"}},
		{"optional peers", []string{
			"index.js", `const use = require("use"); module.exports = () => use("driver")`, "package.json", `{"dependencies":{"use":"1","driver":"1"}}`,
			"node_modules/use/index.js", `module.exports = (name) => require(name)`, "node_modules/use/package.json", `{"peerDependencies":{"driver":"*","compiler":"*"},"peerDependenciesMeta":{"driver":{"optional":true},"compiler":{"optional":true}}}`,
			"node_modules/driver/index.js", `module.exports = "driven"`, "node_modules/compiler/index.js", "",
		}, "", "driven", []string{"driver", "use"}},
		{"native code of its own", []string{
			"lib/index.js", `module.exports = () => { try { require("../build/it.node") } catch (e) { return e.code } }`, "package.json", `{"main":"lib"}`, "build/it.node", "\x7fELF",
		}, "", "ERR_DLOPEN_FAILED", nil},
	} {
		modes := []string{"deployed", "in development", "built"}
		if tt.path != "" {
			modes = modes[:2] // a build command has a folder
		}
		for _, mode := range modes {
			t.Run(tt.name+" "+mode, func(t *testing.T) {
				t.Parallel()
				folder := filepath.Join(t.TempDir(), "hello")
				for i := 0; i < len(tt.files); i += 2 {
					if to, link := strings.CutPrefix(tt.files[i+1], "-> "); link {
						path := filepath.Join(folder, tt.files[i])
						if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(to, path)); err != nil {
							t.Fatal(err)
						}
						continue
					}
					write(t, folder, tt.files[i], tt.files[i+1])
				}
				p, err := project.Open(filepath.Join(folder, tt.path), noEnv)
				if err != nil {
					t.Fatal(err)
				}
				s := p.Functions[0]
				if mode == "built" {
					s.Build = "true"
				}
				built := buildSource(t, s, project.BuildOptions{Development: mode != "deployed"})
				if got := run(t, built); got != tt.want {
					t.Errorf("it read %q, want %q", got, tt.want)
				}
				if mode != "deployed" {
					return
				}
				if got := packagesIn(t, built.Folder); !slices.Equal(got, tt.outside) {
					t.Errorf("packages %q, want %q", got, tt.outside)
				}
				if slices.ContainsFunc(listing(t, built.Folder), func(name string) bool { return filepath.Base(name) == "big.txt" }) {
					t.Error("it holds what is ignored")
				}
				if secret := regexp.MustCompile(`\.env|\.git/|\.npmrc|\.cache|__pycache__`).FindString(strings.Join(listing(t, built.Folder), "\n")); secret != "" {
					t.Errorf("it holds %s", secret)
				}
				native := strings.Contains(strings.Join(tt.files, ""), "\x7fELF")
				if want := map[bool]string{true: mayfly.Platform(), false: mayfly.AnyPlatform}[native]; built.Folders[want] == "" {
					t.Errorf("built for %v, want %s", built.Folders, want)
				}
			})
		}
	}
}

// run calls the handler of a built JavaScript function.
func run(t *testing.T, built project.Built) string {
	t.Helper()
	var file string
	for _, name := range listing(t, built.Folder) {
		if base := filepath.Base(name); base == "function.cjs" || base == "function.mjs" {
			file = "./" + filepath.ToSlash(name)
		}
	}
	const script = `import(process.argv[1]).then((m) => (m.default.default ?? m.default)()).then((text) => process.stdout.write(text))`
	node := exec.Command("node", "--input-type=module", "-e", strings.ReplaceAll(script, "process.argv[1]", `"`+file+`"`))
	node.Dir = built.Folder
	text, err := node.Output()
	if failed, ok := err.(*exec.ExitError); ok {
		t.Fatalf("%v\n%s", err, failed.Stderr)
	}
	return string(text)
}

// packagesIn returns the packages in an output, sorted.
func packagesIn(t *testing.T, folder string) []string {
	t.Helper()
	var names []string
	for _, name := range listing(t, folder) {
		place, inside := strings.CutPrefix(filepath.ToSlash(name), "node_modules/")
		if !inside {
			continue
		}
		parts := strings.Split(place, "/")
		for i, part := range parts {
			if i == 0 || parts[i-1] == "node_modules" || strings.HasPrefix(parts[i-1], "@") {
				if part != "node_modules" && !strings.HasPrefix(part, "@") && !slices.Contains(names, strings.Join(parts[:i+1], "/")) {
					names = append(names, strings.Join(parts[:i+1], "/"))
				}
			}
		}
	}
	slices.Sort(names)
	return names
}
