package shim

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// esbuild's notes on what it cannot bundle: require(name), import(name), and require
// that is not called.
const (
	requireCall     = "unsupported-require-call"
	importCall      = "unsupported-dynamic-import"
	indirectRequire = "indirect-require"
	requireResolve  = "require-resolve-not-external" // require.resolve(name)
)

// separate finds packages that must be outside the bundle, and reports whether there
// are more than the bundle was built without. Outside are also the packages they need,
// since two instances of one are not the same, and those that need them, since only
// the code's own imports are resolved where the output is.
func (b *javaScriptBuild) separate(built api.BuildResult, meta metafile) bool {
	folder := filepath.Dir(b.Entry)
	outside := map[string]bool{}
	for _, name := range b.shipped.names() {
		outside[name] = true
	}
	anything := false
	for _, m := range built.Errors {
		outside[packageOfMessage(m)] = true
	}
	for _, m := range built.Warnings {
		isDynamic := m.ID == requireCall || m.ID == importCall
		if isDynamic || m.ID == indirectRequire || m.ID == requireResolve {
			outside[packageOfMessage(m)] = true
		}
		if name := quoted(m.Text); m.ID == requireResolve && findPackage(packageOf(name), folder) != "" {
			outside[packageOf(name)] = true
		}
		anything = anything || isDynamic
	}
	own := map[string]bool{}
	for name := range meta.Inputs {
		file := absolute(folder, name)
		in := packageAt(file)
		if in == "" && !within(b.Root, file) && isPlaced(file) && slices.Contains(plain, filepath.Ext(file)) {
			in = linkedPackage(file, folder)
			outside[in] = true
		}
		if in == "" {
			own[file] = true
		} else if !outside[in] && isPlaced(file) {
			outside[in] = true
		}
	}
	required := b.requires(own)
	maps.Copy(outside, required.packages)
	if anything || required.anything {
		b.keep(own)
		for _, name := range b.dependencies(own) {
			if !meta.mustStay(folder, findPackage(name, folder)) {
				outside[name] = true
			}
		}
	}
	delete(outside, "") // the code itself
	for meta.spread(outside) {
	}
	before, name := len(b.shipped), b.name
	b.shipped.add(folder, slices.Sorted(maps.Keys(outside))...)
	if b.shipped.needModule(meta) {
		b.name = javaScriptModule
	}
	return len(b.shipped) > before || b.name != name
}

// packageOfMessage returns the package at fault, or "" for the code itself.
func packageOfMessage(m api.Message) string {
	if m.Location == nil {
		return ""
	}
	return packageAt(m.Location.File)
}

// quoted returns what stands first between quotes.
func quoted(text string) string {
	_, rest, _ := strings.Cut(text, `"`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

// plain are the extensions of code that Node.js runs as it is.
var plain = []string{".js", ".cjs", ".mjs"}

// isPlaced reports whether a file of a package depends on where it is.
func isPlaced(file string) bool {
	if filepath.Ext(file) == ".node" {
		return true
	}
	source, err := os.ReadFile(file)
	return err == nil && knowsItsPlace(source)
}

// mustStay reports whether a package must stay in the bundle: one that npm links to, with
// code that Node.js cannot run as it is. As long as there are errors this is not known.
func (m metafile) mustStay(base, folder string) bool {
	if folder == "" || packageAt(folder) != "" {
		return false
	}
	for name := range m.Inputs {
		file := absolute(base, name)
		extension := filepath.Ext(file)
		if packageAt(file) == "" && within(folder, file) && !slices.Contains(plain, extension) && extension != ".json" && extension != ".node" {
			return true
		}
	}
	return m.Inputs == nil
}

// spread adds a package that imports one of those outside, if there is one left.
func (m metafile) spread(outside map[string]bool) bool {
	for file, in := range m.Inputs {
		by := packageAt(file)
		if by == "" || outside[by] {
			continue
		}
		for _, i := range in.Imports {
			to := packageAt(i.Path)
			if i.External {
				to = packageOf(i.Path)
			}
			if outside[to] {
				outside[by] = true
				return true
			}
		}
	}
	return false
}

// A demand is what code takes from the disk at run time.
type demand struct {
	packages map[string]bool
	anything bool // what it takes is not known
}

var (
	// requirer matches where code makes a require function.
	requirer = regexp.MustCompile(`(?:([\w$]+)\s*=\s*)?\b(?:[\w$]+\.)?createRequire\s*\([^()]*(?:\([^()]*\))?[^()]*\)`)

	// literal matches the arguments of a call with a text.
	literal = regexp.MustCompile("^(?:\\.resolve)?\\s*\\(\\s*(?:\"([^\"]+)\"|'([^']+)'|`([^`$]+)`)")
	call    = regexp.MustCompile(`^(?:\.resolve)?\s*\(`)

	// worker and fork match where code runs files of its own as they are, threads and
	// processes what it imports for that: others have workers and forks too.
	worker    = regexp.MustCompile(`\bnew\s+(?:[\w$]+\.)?Worker\s*\(`)
	threads   = regexp.MustCompile("[\"'`](?:node:)?worker_threads[\"'`]")
	fork      = regexp.MustCompile(`\bfork\s*\(`)
	processes = regexp.MustCompile("[\"'`](?:node:)?child_process[\"'`]")

	// neighbor matches a file that code names by its own place.
	neighbor = regexp.MustCompile(`\bnew\s+URL\s*\(\s*["'\x60]([^"'\x60$]+)["'\x60]\s*,\s*import\.meta\.url\b` +
		`|\b(?:join|resolve)\s*\(\s*(?:__dirname|import\.meta\.dirname)\s*((?:,\s*["'\x60][^"'\x60$]+["'\x60]\s*)+)\)`)
	word = regexp.MustCompile("[\"'`]([^\"'`]+)[\"'`]")
)

// requires finds what own code takes from the disk: with require functions that it
// makes itself, or by its own place.
func (b *javaScriptBuild) requires(own map[string]bool) demand {
	d := demand{packages: map[string]bool{}}
	for file := range own {
		source, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		d.anything = d.anything || worker.Match(source) && threads.Match(source) || fork.Match(source) && processes.Match(source)
		if !knowsItsPlace(source) {
			continue
		}
		for _, found := range neighbor.FindAllSubmatch(source, -1) {
			parts := []string{filepath.Dir(file), string(found[1])}
			for _, part := range word.FindAllSubmatch(found[2], -1) {
				parts = append(parts, string(part[1]))
			}
			b.keep(map[string]bool{filepath.Join(parts...): true})
		}
		for _, at := range requirer.FindAllSubmatchIndex(source, -1) {
			calls := [][]byte{source[at[1]:]}
			if at[2] >= 0 {
				calls = nil
				name := regexp.MustCompile(`(?:^|[^\w$.])` + regexp.QuoteMeta(string(source[at[2]:at[3]])) + `\b`)
				for _, use := range name.FindAllIndex(source, -1) {
					calls = append(calls, source[use[1]:])
				}
			}
			for _, rest := range calls {
				b.demand(&d, filepath.Dir(file), rest)
			}
		}
	}
	return d
}

// demand adds what a call takes.
func (b *javaScriptBuild) demand(d *demand, folder string, rest []byte) {
	found := literal.FindSubmatch(rest)
	if found == nil {
		d.anything = d.anything || call.Match(rest)
		return
	}
	wanted := string(slices.Concat(found[1:]...))
	if name := packageOf(wanted); name != "" {
		d.packages[name] = findPackage(name, folder) != "" // else it is one of Node's modules
		return
	}
	file := filepath.Join(folder, filepath.FromSlash(wanted))
	b.keep(map[string]bool{file: true})
	d.anything = d.anything || !slices.Contains([]string{".json", ".node"}, filepath.Ext(file))
}

// keep has own files in the output too.
func (b *javaScriptBuild) keep(own map[string]bool) {
	if b.files == nil {
		b.files = map[string]bool{}
	}
	for file := range own {
		if info, err := os.Stat(file); err == nil && file != b.Root && within(b.Root, file) && (info.Mode().IsRegular() || info.IsDir()) {
			b.files[file] = true
		}
	}
}

// dependencies returns the packages that the code's package.json lists; if it only lists
// those for development, the ones that the code names; else all that are installed
// beside it.
func (b *javaScriptBuild) dependencies(own map[string]bool) []string {
	folder := filepath.Dir(b.Entry)
	for {
		p := readPackage(folder)
		if len(p.needs) > 0 {
			return p.needs
		}
		if p.develops {
			return b.named(own)
		}
		var names []string
		for _, pattern := range []string{"*", "@*/*"} {
			installed, _ := filepath.Glob(filepath.Join(folder, nodeModules, pattern)) // the only error is a bad pattern
			for _, one := range installed {
				if name := packageAt(one); name != "" && !strings.HasSuffix(name, "/") {
					names = append(names, name)
				}
			}
		}
		above := filepath.Dir(folder)
		if len(names) > 0 || above == folder {
			return names
		}
		folder = above
	}
}

// packageName matches what may name a package or a file of one.
var packageName = regexp.MustCompile("[\"'`](\\w[\\w.-]*|@\\w[\\w.-]*/\\w[\\w.-]*)(?:/[\\w./-]*)?[\"'`]")

// named returns the installed packages that own code names, in an import or otherwise.
func (b *javaScriptBuild) named(own map[string]bool) []string {
	names := map[string]bool{}
	read := func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == nodeModules {
			return fs.SkipDir
		}
		source, _ := os.ReadFile(file) // a folder has none
		for _, found := range packageName.FindAllSubmatch(source, -1) {
			names[string(found[1])] = true
		}
		return nil
	}
	for _, places := range []map[string]bool{own, b.files} {
		for place := range places {
			_ = filepath.WalkDir(place, read) // read returns no error
		}
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool { return findPackage(name, filepath.Dir(b.Entry)) == "" })
	return slices.Sorted(maps.Keys(names))
}

// needModule reports whether code imports a package that CommonJS cannot load.
func (s shipment) needModule(meta metafile) bool {
	for _, in := range meta.Inputs {
		for _, i := range in.Imports {
			if i.External && i.Kind == "import-statement" && s[nodeModules+"/"+packageOf(i.Path)].onlyESM {
				return true
			}
		}
	}
	return false
}

// plugin loads CommonJS packages by require in an ES module too: Node.js itself finds
// only some of their named exports.
func (s shipment) plugin() api.Plugin {
	const namespace = "mayfly-package"
	return api.Plugin{Name: "packages", Setup: func(build api.PluginBuild) {
		build.OnResolve(api.OnResolveOptions{Filter: `^[^./]`}, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
			p, ok := s[nodeModules+"/"+packageOf(args.Path)]
			if !ok || p.onlyESM || args.Kind != api.ResolveJSImportStatement || args.Namespace == namespace {
				return api.OnResolveResult{}, nil
			}
			return api.OnResolveResult{Path: args.Path, Namespace: namespace}, nil
		})
		build.OnLoad(api.OnLoadOptions{Filter: ".", Namespace: namespace}, func(args api.OnLoadArgs) (api.OnLoadResult, error) {
			name, err := json.Marshal(args.Path)
			text := "module.exports = require(" + string(name) + ")"
			return api.OnLoadResult{Contents: &text, Loader: api.LoaderJS}, err
		})
	}}
}

// result returns what is known before the output is written.
func (b *javaScriptBuild) result(meta metafile) Result {
	r := Result{Inputs: meta.files(filepath.Dir(b.Entry)), Packages: map[string]string{}, Files: slices.Sorted(maps.Keys(b.files))}
	for place, p := range b.shipped {
		r.Packages[place] = p.folder
		r.Inputs = append(r.Inputs, p.manifest) // a new version replaces it
	}
	for _, file := range r.Files {
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			r.Inputs = append(r.Inputs, file)
		}
	}
	slices.Sort(r.Inputs)
	r.Inputs = slices.Compact(r.Inputs)
	return r
}
