package shim

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
	"github.com/mayfly-run/mayfly"
)

//go:embed javascript/*.mjs
var javaScriptShim embed.FS

// The names of the built output. The shim loads the function from the folder above
// its own. Node loads CommonJS in half the time that it takes for ES modules, so both
// are made that; a function that only an ES module can be is one.
const (
	javaScriptFunction = "function.cjs"
	javaScriptModule   = "function.mjs"
	javaScriptFolder   = "mayfly"
	javaScriptServer   = javaScriptFolder + "/shim.cjs"
)

// JavaScriptOptions say what JavaScript builds.
type JavaScriptOptions struct {
	// Entry is the user's file, absolute: JavaScript or TypeScript, of ES modules or
	// CommonJS. It is read where it is, with all that it imports.
	Entry string

	// Out is the folder of the built output, made if it is not there. It gets
	// function.cjs (or .mjs) with its source map, and the shim in a folder of its own.
	Out string

	// Development makes stack traces name the user's files by their absolute paths,
	// as a terminal opens them. Otherwise they are relative to the entry's folder, and
	// the output says nothing of the machine that built it.
	Development bool
}

// JavaScript makes a function of a JavaScript or TypeScript file: one file for any
// Node.js from 18, with everything that it imports but Node's own modules. A
// file with a default export (or CommonJS's module.exports) is a short form, any
// other a program.
//
// Errors: NotFound without the file; Invalid when it does not compile or imports
// what is not there, with a mayfly.Trace that names file, line and column. With an
// error Inputs are the entry and the files at fault.
func JavaScript(ctx context.Context, o JavaScriptOptions) (Result, error) {
	source, err := os.ReadFile(o.Entry)
	if err == nil {
		o.Entry, err = filepath.EvalSymlinks(o.Entry) // esbuild names what it read so
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, mayfly.Errorf(mayfly.NotFound, "%s does not exist", filepath.Base(o.Entry))
	}
	if err != nil {
		return Result{}, mayfly.Errorf(mayfly.Invalid, "cannot read %s: %w", filepath.Base(o.Entry), err)
	}
	function := javaScriptFunction
	built, err := bundleJavaScript(ctx, o, function, source)
	if err == nil && onlyModule(built) {
		function = javaScriptModule
		built, err = bundleJavaScript(ctx, o, function, source)
	}
	if err != nil {
		return Result{}, err
	}
	if err := javaScriptFault(o.Entry, built.Errors); err != nil {
		return Result{Inputs: faultyFiles(o.Entry, built.Errors)}, err
	}
	meta, err := readMetafile(built)
	if err != nil {
		return Result{}, err
	}
	r := Result{Inputs: meta.files(filepath.Dir(o.Entry))}
	isModule := meta.Inputs[filepath.Base(o.Entry)].Format != "cjs"
	if isModule {
		r.Form, err = moduleForm(o.Entry, source)
	} else if handled.Match(source) {
		r.Form = Short
	}
	if err != nil {
		return r, err
	}
	r.Start = []string{"node", "--enable-source-maps", function}
	if r.Form == Short {
		r.Start[2] = javaScriptServer
	}
	if meta.strict() {
		beStrict(built.OutputFiles)
	}
	if err := writeJavaScript(o, built.OutputFiles); err != nil || r.Form == Program {
		return r, err
	}
	return r, writeShim(filepath.Join(o.Out, javaScriptFolder), function)
}

// What code of the other kind expects of its module. The long names stand for
// __dirname, __filename and import.meta.url where a module has none of its own: many
// declare them, and nothing may be declared twice.
const (
	commonJSBanner = `const mayflyURL = require("node:url").pathToFileURL(__filename).href;`
	moduleBanner   = `import { createRequire as mayflyCreateRequire } from "node:module"; ` +
		`import { dirname as mayflyDirname } from "node:path"; ` +
		`import { fileURLToPath as mayflyFileURLToPath } from "node:url"; ` +
		`const require = mayflyCreateRequire(import.meta.url), ` +
		`mayflyFile = mayflyFileURLToPath(import.meta.url), mayflyFolder = mayflyDirname(mayflyFile);`
)

var (
	commonJSNames = map[string]string{"import.meta.url": "mayflyURL", "import.meta.filename": "__filename", "import.meta.dirname": "__dirname"}
	moduleNames   = map[string]string{"__dirname": "mayflyFolder", "__filename": "mayflyFile"}
)

// bundleJavaScript bundles the entry into a file of that name, CommonJS or an ES
// module.
func bundleJavaScript(ctx context.Context, o JavaScriptOptions, name string, source []byte) (api.BuildResult, error) {
	options := api.BuildOptions{
		EntryPoints:    []string{o.Entry},
		AbsWorkingDir:  filepath.Dir(o.Entry),
		Outfile:        filepath.Join(o.Out, name),
		Bundle:         true,
		Platform:       api.PlatformNode,
		Format:         api.FormatCommonJS,
		Engines:        node18,
		Sourcemap:      api.SourceMapLinked,
		SourcesContent: api.SourcesContentExclude,
		Banner:         map[string]string{"js": commonJSBanner},
		Define:         commonJSNames,
		Metafile:       true,
		LogLevel:       api.LogLevelSilent,
		Plugins:        []api.Plugin{entryIsMain(o.Entry, source)},
	}
	if name == javaScriptModule {
		options.Format, options.Define = api.FormatESModule, moduleNames
		options.Banner["js"] = moduleBanner
	}
	build, fault := api.Context(options)
	if fault != nil {
		return api.BuildResult{Errors: fault.Errors}, nil
	}
	defer build.Dispose()
	defer context.AfterFunc(ctx, build.Cancel)()
	built := build.Rebuild()
	return built, ctx.Err()
}

// node18 is what the output must run on.
var node18 = []api.Engine{{Name: api.EngineNode, Version: "18"}}

// onlyModule reports whether what was built as CommonJS has to be an ES module: it
// waits while it is loaded, or asks its module for more than its name.
func onlyModule(built api.BuildResult) bool {
	return slices.ContainsFunc(built.Errors, func(m api.Message) bool { return strings.HasPrefix(m.Text, "Top-level await") }) ||
		slices.ContainsFunc(built.Warnings, func(m api.Message) bool { return m.ID == "empty-import-meta" })
}

// beStrict makes code of ES modules as strict in CommonJS as it was meant to be. No
// line moves.
func beStrict(files []api.OutputFile) {
	for i, f := range files {
		if filepath.Base(f.Path) == javaScriptFunction { // a line for the shell may stand above
			files[i].Contents = bytes.Replace(f.Contents, []byte(commonJSBanner), []byte(`"use strict"; `+commonJSBanner), 1)
		}
	}
}

// mainModule is how code of CommonJS names the module that was started.
var mainModule = regexp.MustCompile(`\b(require\.main|process\.mainModule)\b`)

// entryIsMain makes `if (require.main === module)` true in the entry. By that an
// ordinary CommonJS program tells whether it was started or imported; in a bundle
// it would never be. The words stay as long as they were, and every column with
// them.
func entryIsMain(entry string, source []byte) api.Plugin {
	return api.Plugin{Name: "entry is main", Setup: func(build api.PluginBuild) {
		if !mainModule.Match(source) {
			return
		}
		contents := mainModule.ReplaceAllStringFunc(string(source), func(words string) string {
			return fmt.Sprintf("%-*s", len(words), "module")
		})
		only := api.OnLoadOptions{Filter: "^" + regexp.QuoteMeta(entry) + "$", Namespace: "file"}
		build.OnLoad(only, func(api.OnLoadArgs) (api.OnLoadResult, error) {
			return api.OnLoadResult{Contents: &contents, Loader: api.LoaderDefault}, nil
		})
	}}
}

// unresolved and unloadable are esbuild's words for the faults that have a remedy.
var (
	unresolved = regexp.MustCompile(`^Could not resolve "(.*)"`)
	unloadable = regexp.MustCompile(`^No loader is configured for "(.*)" files`)
)

// javaScriptFault returns the error for what esbuild found wrong, or nil.
func javaScriptFault(entry string, faults []api.Message) error {
	if len(faults) == 0 {
		return nil
	}
	const most = 10 // for one mistake there may be hundreds
	shown := slices.Clone(faults[:min(len(faults), most)])
	for i := range shown {
		shown[i].Notes = nil // they tell users of esbuild about its options
	}
	text := strings.Join(api.FormatMessages(shown, api.FormatMessagesOptions{Kind: api.ErrorMessage}), "")
	if more := len(faults) - len(shown); more > 0 {
		text += fmt.Sprintf("and %d more\n", more)
	}
	e := &mayfly.Error{
		Code:    mayfly.Invalid,
		Message: filepath.Base(entry) + " does not compile",
		Err:     mayfly.Trace(strings.TrimSpace(text)),
	}
	first := faults[0]
	if found := unresolved.FindStringSubmatch(first.Text); found != nil {
		e.Message = fmt.Sprintf("%s imports %q, which does not exist", fileOf(first, entry), found[1])
		if name := packageOf(found[1]); name != "" {
			return e.WithHint("npm install %s", name)
		}
		return e.WithHint("write the path relative to the importing file, such as ./lib/add.js")
	}
	if found := unloadable.FindStringSubmatch(first.Text); found != nil {
		e.Message = fmt.Sprintf("%s needs a %s file, which cannot be bundled", filepath.Base(entry), found[1])
		if found[1] == ".node" {
			return e.WithHint("native addons run on one platform only; choose a package without one")
		}
		return e.WithHint("read the file at run time with node:fs")
	}
	return e
}

// fileOf returns the file that a fault is in, as the user would name it.
func fileOf(m api.Message, entry string) string {
	if m.Location == nil {
		return filepath.Base(entry)
	}
	return m.Location.File
}

// packageOf returns the npm package of an import, or "" for that of a file.
func packageOf(imported string) string {
	first, rest, _ := strings.Cut(imported, "/")
	switch {
	case first == "" || first[0] == '.' || first[0] == '#' || strings.Contains(first, ":"):
		return ""
	case first[0] == '@':
		second, _, _ := strings.Cut(rest, "/")
		return first + "/" + second
	}
	return first
}

// faultyFiles returns the entry and the files that faults are in.
func faultyFiles(entry string, faults []api.Message) []string {
	files := []string{entry}
	for _, m := range faults {
		if m.Location != nil && (m.Location.Namespace == "" || m.Location.Namespace == "file") {
			files = append(files, absolute(filepath.Dir(entry), m.Location.File))
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// A metafile is what esbuild says of a build.
type metafile struct {
	Inputs map[string]struct {
		Format string `json:"format"` // "cjs", "esm" or ""
	} `json:"inputs"`
	Outputs map[string]struct {
		Exports []string `json:"exports"`
	} `json:"outputs"`
}

func readMetafile(built api.BuildResult) (m metafile, err error) {
	if err = json.Unmarshal([]byte(built.Metafile), &m); err != nil {
		err = fmt.Errorf("read esbuild's metafile: %w", err)
	}
	return m, err
}

// files returns the files that were read, absolute and sorted. Paths are relative
// to the folder; those with a namespace are no files.
func (m metafile) files(folder string) []string {
	var files []string
	for name := range maps.Keys(m.Inputs) {
		if !strings.Contains(name, ":") || filepath.IsAbs(name) {
			files = append(files, absolute(folder, name))
		}
	}
	slices.Sort(files)
	return files
}

// strict reports whether all code is of ES modules. One old package in CommonJS may
// hold what is an error in strict code.
func (m metafile) strict() bool {
	for name, in := range m.Inputs {
		if in.Format != "esm" && filepath.Ext(name) != ".json" {
			return false
		}
	}
	return true
}

func absolute(folder, name string) string {
	name = filepath.FromSlash(name)
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(folder, name)
}

// handled finds what a CommonJS module exports as its handler: esbuild says of
// every such module that it has a default export.
var handled = regexp.MustCompile(`\bmodule\s*\.\s*exports\b|\bexports\s*\.\s*(default|fetch)\b`)

// handlerNames are exports by which other platforms know a handler.
var handlerNames = []string{"fetch", "handle", "handler", "GET", "POST", "onRequest"}

// moduleForm tells from what an ES module exports how it takes calls.
func moduleForm(file string, source []byte) (Form, error) {
	exports, err := exportsOf(file)
	if err != nil || slices.Contains(exports, "default") {
		return Short, err
	}
	entry := filepath.Base(file)
	for _, name := range exports {
		if slices.Contains(handlerNames, name) {
			return Program, mayfly.Errorf(mayfly.Invalid, "%s exports %s but has no default export", entry, name).
				WithHint("export default function (request) { ... }")
		}
	}
	if len(bytes.TrimSpace(source)) == 0 {
		return Program, mayfly.Errorf(mayfly.Invalid, "%s is empty", entry).
			WithHint("export default function (request) { return \"hello\" }")
	}
	return Program, nil
}

// exportsOf returns the names that an ES module exports. Of a bundle that is CommonJS
// esbuild does not say; what `export *` passes on never has a default.
func exportsOf(file string) (names []string, err error) {
	alone := api.Build(api.BuildOptions{
		EntryPoints: []string{file}, AbsWorkingDir: filepath.Dir(file),
		Format: api.FormatESModule, Metafile: true, LogLevel: api.LogLevelSilent,
	})
	meta, err := readMetafile(alone)
	for _, out := range meta.Outputs {
		names = append(names, out.Exports...)
	}
	return names, err
}

// writeJavaScript writes what was built.
func writeJavaScript(o JavaScriptOptions, files []api.OutputFile) error {
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return fmt.Errorf("create the folder of %s: %w", javaScriptFunction, err)
	}
	for _, f := range files {
		data := f.Contents
		if filepath.Ext(f.Path) == ".map" {
			var err error
			if data, err = renameSources(data, o); err != nil {
				return err
			}
		}
		if err := os.WriteFile(f.Path, data, 0o644); err != nil {
			return fmt.Errorf("write the bundle of %s: %w", o.Entry, err)
		}
	}
	return nil
}

// writeShim bundles the shim into one file, which Node loads in a fraction of the time
// of its parts. It loads the function of that name.
func writeShim(folder, function string) error {
	built := api.Build(api.BuildOptions{
		EntryPoints: []string{"./shim.mjs"},
		Outfile:     filepath.Join(folder, path.Base(javaScriptServer)),
		Write:       true,
		Bundle:      true,
		Platform:    api.PlatformNode,
		Format:      api.FormatCommonJS,
		Engines:     node18,
		External:    []string{"../" + function},
		Banner:      map[string]string{"js": `"use strict";`},
		Define:      map[string]string{"FUNCTION": strconv.Quote("../" + function)},
		LogLevel:    api.LogLevelSilent,
		Plugins:     []api.Plugin{embedded(javaScriptShim, "javascript")},
	})
	if len(built.Errors) > 0 {
		return fmt.Errorf("write the JavaScript shim: %s", built.Errors[0].Text)
	}
	return nil
}

// embedded gives esbuild the files of a folder within this program.
func embedded(files embed.FS, folder string) api.Plugin {
	return api.Plugin{Name: "embedded", Setup: func(build api.PluginBuild) {
		own := api.OnResolveOptions{Filter: `^\./`}
		build.OnResolve(own, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
			return api.OnResolveResult{Path: path.Join(folder, args.Path), Namespace: "embedded"}, nil
		})
		load := api.OnLoadOptions{Filter: ".", Namespace: "embedded"}
		build.OnLoad(load, func(args api.OnLoadArgs) (api.OnLoadResult, error) {
			data, err := files.ReadFile(args.Path)
			text := string(data)
			return api.OnLoadResult{Contents: &text, Loader: api.LoaderJS}, err
		})
	}}
}

// renameSources names the sources of a map as stack traces shall: the bundle will
// lie elsewhere when it runs, and esbuild's names are relative to where it was
// written.
func renameSources(data []byte, o JavaScriptOptions) ([]byte, error) {
	var sourceMap map[string]json.RawMessage
	var sources []string
	err := json.Unmarshal(data, &sourceMap)
	if err == nil {
		err = json.Unmarshal(sourceMap["sources"], &sources)
	}
	if err != nil {
		return nil, fmt.Errorf("read the source map of %s: %w", o.Entry, err)
	}
	for i, source := range sources {
		file := absolute(o.Out, source)
		if !o.Development {
			if file, err = filepath.Rel(filepath.Dir(o.Entry), file); err != nil {
				return nil, fmt.Errorf("name %s in a source map: %w", source, err)
			}
		}
		sources[i] = (&url.URL{Path: filepath.ToSlash(file)}).EscapedPath()
	}
	if sourceMap["sources"], err = json.Marshal(sources); err == nil {
		data, err = json.Marshal(sourceMap)
	}
	return data, err
}
