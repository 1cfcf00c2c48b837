package shim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/evanw/esbuild/pkg/api"
)

// places give modules in other folders than the entry their own __dirname, __filename
// and import.meta. The output is one file in the entry's folder, so the entry and its
// neighbors need none.
type places struct {
	root  string // of the code: what is not below it is not in the output
	entry string

	mu   sync.Mutex
	used map[string]string // variables of the output, each with the module's path from the entry's folder
}

// plugin replaces the names in such modules by members of a variable, which line
// declares.
func (p *places) plugin() api.Plugin {
	return api.Plugin{Name: "places", Setup: func(build api.PluginBuild) {
		build.OnLoad(api.OnLoadOptions{Filter: `\.[cm]?[jt]sx?$`, Namespace: "file"}, func(args api.OnLoadArgs) (api.OnLoadResult, error) {
			name, err := filepath.Rel(filepath.Dir(p.entry), args.Path)
			if err != nil || filepath.Dir(name) == "." || !within(p.root, args.Path) || packageAt(args.Path) != "" {
				return api.OnLoadResult{}, nil
			}
			source, err := os.ReadFile(args.Path)
			if err != nil || !knowsItsPlace(source) {
				return api.OnLoadResult{}, nil
			}
			return p.load(filepath.ToSlash(name), args.Path), nil
		})
	}}
}

// load returns a module with the names replaced. The inner build reads tsconfig.json
// and makes a source map, which the outer one continues.
func (p *places) load(name, file string) api.OnLoadResult {
	digest := sha256.Sum256([]byte(name))
	variable := "mayflyAt" + hex.EncodeToString(digest[:6])
	built := api.Build(api.BuildOptions{
		EntryPoints: []string{file}, AbsWorkingDir: filepath.Dir(file), Outfile: file,
		Platform: api.PlatformNode, LogLevel: api.LogLevelSilent,
		Sourcemap: api.SourceMapInline, SourcesContent: api.SourcesContentExclude,
		Define: map[string]string{
			"__dirname": variable + ".dirname", "__filename": variable + ".filename",
			"import.meta.dirname": variable + ".dirname", "import.meta.filename": variable + ".filename", "import.meta.url": variable + ".url",
		},
	})
	if len(built.Errors) > 0 || len(built.OutputFiles) != 1 {
		return api.OnLoadResult{} // the outer build has the same errors
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used[variable] = name
	contents := string(built.OutputFiles[0].Contents)
	return api.OnLoadResult{Contents: &contents, Loader: api.LoaderJS, ResolveDir: filepath.Dir(file)}
}

// line declares the variables, in a line that goes before the code.
func (p *places) line(folder string) string {
	if len(p.used) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, ` const mayflyPlace = (name) => { const path = require("node:path"), filename = path.join(%s, name);`+
		` return { filename, dirname: path.dirname(filename), url: require("node:url").pathToFileURL(filename).href }; };`, folder)
	for _, variable := range slices.Sorted(maps.Keys(p.used)) {
		fmt.Fprintf(&b, " const %s = mayflyPlace(%q);", variable, p.used[variable])
	}
	return b.String()
}

// within reports whether a file is a folder or in it.
func within(folder, file string) bool {
	name, err := filepath.Rel(folder, file)
	return err == nil && filepath.IsLocal(name)
}
