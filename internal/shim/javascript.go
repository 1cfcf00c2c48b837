package shim

import (
	"bytes"
	"cmp"
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
	"strings"
	"sync"

	"github.com/evanw/esbuild/pkg/api"
	"github.com/mayfly-run/mayfly"
)

//go:embed javascript/*.mjs
var javaScriptShim embed.FS

// The names of the built output. The shim loads the function from its parent folder.
// Node loads CommonJS in half the time of ES modules, so both files are CommonJS,
// except a function that must be an ES module.
const (
	javaScriptFunction = "function.cjs"
	javaScriptModule   = "function.mjs"
	javaScriptFolder   = "mayfly"
	javaScriptServer   = javaScriptFolder + "/shim.cjs"
)

// JavaScriptOptions configure JavaScript.
type JavaScriptOptions struct {
	// Entry is the user's file, absolute: JavaScript or TypeScript, ES module or
	// CommonJS. It and all its imports are read in place.
	Entry string

	// Root is the folder of the code, the entry's if empty. The output has the same
	// folders, so that code finds the files beside it.
	Root string

	// Out is the output folder, created if missing. It gets function.cjs (or .mjs)
	// with its source map, in the entry's folder, and the shim in a subfolder.
	Out string

	// Traced returns the absolute path that stack traces name for a file, so that
	// terminals can open it. If it is nil or returns "", they name the path relative to
	// the entry's folder, which reveals nothing about the machine that built the output.
	Traced func(file string) string
}

// JavaScript builds a function from a JavaScript or TypeScript file: a single file
// for Node.js 18 or later, with all imports but Node's own modules and packages that
// only work as they are installed: those with native code, and code that depends on
// where it is or what else is installed. A file with a default export (or CommonJS's
// module.exports) is a short form, any other a program.
//
// Errors: NotFound without the file; Invalid when it does not compile or an import is
// missing, with a mayfly.Trace that names file, line and column. On an error Inputs
// and Sought are set too.
func JavaScript(ctx context.Context, o JavaScriptOptions) (Result, error) {
	source, err := os.ReadFile(o.Entry)
	if err == nil {
		o.Root = cmp.Or(o.Root, filepath.Dir(o.Entry))
		o.Entry, err = filepath.EvalSymlinks(o.Entry) // esbuild names the files it reads this way
	}
	if err == nil {
		o.Root, err = filepath.EvalSymlinks(o.Root)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, mayfly.Errorf(mayfly.NotFound, "%s does not exist", filepath.Base(o.Entry))
	}
	if err != nil {
		return Result{}, mayfly.Errorf(mayfly.Invalid, "cannot read %s: %w", filepath.Base(o.Entry), err)
	}
	seen := newTrail()
	b := &javaScriptBuild{JavaScriptOptions: o, trail: seen, source: source, name: javaScriptFunction, shipped: shipment{}}
	built, meta, err := b.settle(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := javaScriptFault(o.Entry, built.Errors); err != nil {
		return Result{Inputs: seen.read(faultyFiles(o.Entry, built.Errors)...), Sought: seen.sought(o.Entry, built.Errors)}, err
	}
	r := b.result(meta)
	r.Sought = seen.sought(o.Entry, nil)
	isModule := meta.Inputs[filepath.Base(o.Entry)].Format != "cjs"
	if r.Short, err = isShort(o.Entry, source, isModule); err != nil {
		return r, err
	}
	function := b.function()
	r.Start = []string{"node", "--enable-source-maps", function}
	if r.Short {
		r.Start[2] = javaScriptServer
	}
	b.complete(built.OutputFiles, meta.strict())
	if err := writeJavaScript(o, built.OutputFiles); err != nil || !r.Short {
		return r, err
	}
	return r, writeShim(filepath.Join(o.Out, javaScriptFolder), function)
}

// A javaScriptBuild is one call of JavaScript.
type javaScriptBuild struct {
	JavaScriptOptions
	trail   *trail
	source  []byte // of the entry
	name    string // of the output
	places  places
	shipped shipment        // packages outside the bundle
	files   map[string]bool // own files that code reads by createRequire or by computed names
}

// function returns the path of the bundle in the output, with slashes: code in the
// entry's folder then finds itself where it was.
func (b *javaScriptBuild) function() string {
	folder, err := filepath.Rel(b.Root, filepath.Dir(b.Entry))
	if err != nil || !filepath.IsLocal(folder) {
		folder = "."
	}
	return path.Join(filepath.ToSlash(folder), b.name)
}

// settle bundles until it is known what must stay outside.
func (b *javaScriptBuild) settle(ctx context.Context) (built api.BuildResult, meta metafile, err error) {
	for {
		if built, err = b.bundle(ctx); err != nil {
			return built, meta, err
		}
		if b.name == javaScriptFunction && onlyModule(built) {
			b.name = javaScriptModule
			continue
		}
		meta = metafile{}
		if built.Metafile != "" {
			if meta, err = readMetafile(built); err != nil {
				return built, meta, err
			}
		}
		if !b.separate(built, meta) {
			return built, meta, nil
		}
	}
}

// What code of the other module kind expects. The long names replace __dirname,
// __filename and import.meta.url where a module lacks them: many modules declare
// them, and a second declaration is an error.
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

// bundle bundles the entry, as CommonJS or an ES module.
func (b *javaScriptBuild) bundle(ctx context.Context) (api.BuildResult, error) {
	b.places = places{root: b.Root, entry: b.Entry, used: map[string]string{}}
	options := api.BuildOptions{
		EntryPoints:    []string{b.Entry},
		AbsWorkingDir:  filepath.Dir(b.Entry),
		Outfile:        filepath.Join(b.Out, filepath.FromSlash(b.function())),
		Bundle:         true,
		Platform:       api.PlatformNode,
		Format:         api.FormatCommonJS,
		Engines:        node18,
		Sourcemap:      api.SourceMapLinked,
		SourcesContent: api.SourcesContentExclude,
		Banner:         map[string]string{"js": commonJSBanner},
		Define:         commonJSNames,
		External:       b.shipped.names(),
		Loader:         map[string]api.Loader{".node": api.LoaderCopy},
		Metafile:       true,
		LogLevel:       api.LogLevelSilent,
		LogOverride:    map[string]api.LogLevel{requireCall: api.LogLevelWarning, importCall: api.LogLevelWarning, indirectRequire: api.LogLevelWarning, requireResolve: api.LogLevelWarning},
		Plugins:        []api.Plugin{b.trail.plugin(), entryIsMain(b.Entry, b.source), b.places.plugin()},
	}
	if b.name == javaScriptModule {
		options.Format, options.Define = api.FormatESModule, moduleNames
		options.Banner["js"] = moduleBanner
		options.Plugins = append(options.Plugins, b.shipped.plugin())
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

// node18 is the oldest platform that the output runs on.
var node18 = []api.Engine{{Name: api.EngineNode, Version: "18"}}

// onlyModule reports whether code built as CommonJS must be an ES module: it has a
// top-level await, or uses import.meta for more than its URL.
func onlyModule(built api.BuildResult) bool {
	return slices.ContainsFunc(built.Errors, func(m api.Message) bool { return strings.HasPrefix(m.Text, "Top-level await") }) ||
		slices.ContainsFunc(built.Warnings, func(m api.Message) bool { return m.ID == "empty-import-meta" })
}

// complete adds to the line before the code: what declares the places, and in
// CommonJS what keeps code of ES modules strict. No line moves.
func (b *javaScriptBuild) complete(files []api.OutputFile, strict bool) {
	banner, folder, prefix := commonJSBanner, "__dirname", ""
	if b.name == javaScriptModule {
		banner, folder = moduleBanner, "mayflyFolder"
	} else if strict {
		prefix = `"use strict"; `
	}
	for i, f := range files {
		if filepath.Base(f.Path) == b.name { // a #! line may come first
			files[i].Contents = bytes.Replace(f.Contents, []byte(banner), []byte(prefix+banner+b.places.line(folder)), 1)
		}
	}
}

// mainModule matches how CommonJS code names the main module.
var mainModule = regexp.MustCompile(`\b(require\.main|process\.mainModule)\b`)

// entryIsMain makes `if (require.main === module)` true in the entry. CommonJS
// programs use it to tell whether they were started or imported; in a bundle it
// would never be true. The replacement has the same length, so no column moves.
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

// unresolved and unloadable match esbuild's messages for faults that have a remedy.
var (
	unresolved = regexp.MustCompile(`^Could not resolve "(.*)"`)
	unloadable = regexp.MustCompile(`^No loader is configured for "(.*)" files`)
)

// javaScriptFault turns esbuild's errors into one, or nil if there are none.
func javaScriptFault(entry string, faults []api.Message) error {
	if len(faults) == 0 {
		return nil
	}
	const most = 10 // one mistake can cause hundreds
	shown := slices.Clone(faults[:min(len(faults), most)])
	for i := range shown {
		shown[i].Notes = nil // they explain esbuild's options
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
		return e.WithHint("read the file at run time with node:fs")
	}
	return e
}

// fileOf returns the file of a fault, as the user would name it.
func fileOf(m api.Message, entry string) string {
	if m.Location == nil {
		return filepath.Base(entry)
	}
	return m.Location.File
}

// packageOf returns the npm package of an import, or "" if it imports a file.
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

// faultyFiles returns the entry and the files with faults.
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

// A metafile is esbuild's description of a build.
type metafile struct {
	Inputs map[string]struct {
		Format  string `json:"format"` // "cjs", "esm" or ""
		Imports []struct {
			Path     string `json:"path"`
			Kind     string `json:"kind"`
			External bool   `json:"external"`
		} `json:"imports"`
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

// files returns the files that were read, absolute and sorted. Paths are relative to
// the folder; those with a namespace are not files.
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

// strict reports whether all code is in ES modules. A single old CommonJS package may
// contain code that strict mode rejects.
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

// writeJavaScript writes the output files.
func writeJavaScript(o JavaScriptOptions, files []api.OutputFile) error {
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
			return fmt.Errorf("create the folder of the bundle: %w", err)
		}
		data := f.Contents
		if filepath.Ext(f.Path) == ".map" {
			var err error
			if data, err = renameSources(data, filepath.Dir(f.Path), o); err != nil {
				return err
			}
		}
		if err := os.WriteFile(f.Path, data, 0o644); err != nil {
			return fmt.Errorf("write the bundle of %s: %w", o.Entry, err)
		}
	}
	return nil
}

// writeShim writes the shim, which loads the given function.
func writeShim(folder, function string) error {
	shim, err := bundledShim()
	if err != nil {
		return err
	}
	name, err := json.Marshal("../" + function)
	if err != nil {
		return err
	}
	text := slices.Concat([]byte("\"use strict\";\nconst FUNCTION = "), name, []byte(";\n"), shim)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, path.Base(javaScriptServer)), text, 0o644)
}

// bundledShim returns the shim in one file, which Node loads in a fraction of the time of
// the parts. It is the same for all functions, and most of the work of building a small one.
var bundledShim = sync.OnceValues(func() ([]byte, error) {
	built := api.Build(api.BuildOptions{
		EntryPoints: []string{"./shim.mjs"},
		Bundle:      true,
		Platform:    api.PlatformNode,
		Format:      api.FormatCommonJS,
		Engines:     node18,
		LogLevel:    api.LogLevelSilent,
		Plugins:     []api.Plugin{embedded(javaScriptShim, "javascript")},
	})
	if len(built.Errors) > 0 {
		return nil, fmt.Errorf("bundle the JavaScript shim: %s", built.Errors[0].Text)
	}
	return built.OutputFiles[0].Contents, nil
})

// embedded serves esbuild the files of an embedded folder.
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

// renameSources renames the sources of a map to what stack traces should show: the
// bundle runs elsewhere, and esbuild's names are relative to the folder it was written to.
func renameSources(data []byte, folder string, o JavaScriptOptions) ([]byte, error) {
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
		file, name := absolute(folder, source), ""
		if o.Traced != nil {
			name = o.Traced(file)
		}
		if name == "" {
			if name, err = filepath.Rel(filepath.Dir(o.Entry), file); err != nil {
				return nil, fmt.Errorf("name %s in a source map: %w", source, err)
			}
		}
		sources[i] = (&url.URL{Path: filepath.ToSlash(name)}).EscapedPath()
	}
	if sourceMap["sources"], err = json.Marshal(sources); err == nil {
		data, err = json.Marshal(sourceMap)
	}
	return data, err
}
