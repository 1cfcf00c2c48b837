package shim

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/evanw/esbuild/pkg/api"
)

// A trail is what a build reads and by which links, also if it fails: whatever must
// change for the next one to end differently. esbuild itself tells only of success.
type trail struct {
	mu    sync.Mutex
	files map[string]bool
	links map[string]bool
}

func newTrail() *trail { return &trail{files: map[string]bool{}, links: map[string]bool{}} }

// plugin must be the first, since those before it may keep files to themselves.
func (t *trail) plugin() api.Plugin {
	return api.Plugin{Name: "trail", Setup: func(build api.PluginBuild) {
		build.OnLoad(api.OnLoadOptions{Filter: ".", Namespace: "file"}, func(args api.OnLoadArgs) (api.OnLoadResult, error) {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.files[args.Path] = true
			return api.OnLoadResult{}, nil
		})
		build.OnResolve(api.OnResolveOptions{Filter: "."}, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
			if packageAt(filepath.Join(args.ResolveDir, "_")) == "" { // the links of an installed package are its own affair
				found := linksTo(args.ResolveDir, args.Path)
				t.mu.Lock()
				defer t.mu.Unlock()
				for _, link := range found {
					t.links[link] = true
				}
			}
			return api.OnResolveResult{}, nil
		})
	}}
}

// read returns the files that were read, and others.
func (t *trail) read(others ...string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, file := range others {
		t.files[file] = true
	}
	return slices.Sorted(maps.Keys(t.files))
}

// sought returns the links that led to files, and where the next build of the entry looks
// for settings and for what the faults say is missing.
func (t *trail) sought(entry string, faults []api.Message) []string {
	folder := filepath.Dir(entry)
	t.mu.Lock()
	all := slices.Collect(maps.Keys(t.links))
	t.mu.Unlock()
	for _, name := range []string{packageFile, "tsconfig.json", "jsconfig.json"} {
		all = append(all, filepath.Join(folder, name))
	}
	for _, m := range faults {
		found := unresolved.FindStringSubmatch(m.Text)
		if found == nil {
			continue
		}
		from := folder
		if m.Location != nil {
			from = filepath.Dir(absolute(folder, m.Location.File))
		}
		if name := packageOf(found[1]); name != "" {
			all = append(all, packagePlaces(from, name)...)
		} else {
			all = append(all, filePlaces(filepath.Join(from, filepath.FromSlash(found[1])))...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// importable are the extensions that an import may leave out.
var importable = []string{"", ".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".json"}

// filePlaces returns where an import of a path may be found. For ./word.js that is word.ts
// too.
func filePlaces(path string) []string {
	var all []string
	for _, extension := range importable {
		all = append(all, path+extension, filepath.Join(path, "index")+extension)
		if own := filepath.Ext(path); own != "" {
			all = append(all, strings.TrimSuffix(path, own)+extension)
		}
	}
	return all
}

// packagePlaces returns where Node.js looks for a package, and the file that npm writes
// when it has installed everything.
func packagePlaces(folder, name string) []string {
	var all []string
	for {
		home := filepath.Join(folder, nodeModules)
		place := filepath.Join(home, filepath.FromSlash(name))
		all = append(all, filepath.Join(home, ".package-lock.json"), place, filepath.Join(place, packageFile), filepath.Join(place, "index.js"))
		above := filepath.Dir(folder)
		if above == folder {
			return all
		}
		folder = above
	}
}

// linksTo returns the links on the way from a folder to what code in it imports.
func linksTo(folder, imported string) []string {
	if name := packageOf(imported); name != "" {
		for ; ; folder = filepath.Dir(folder) {
			place := filepath.Join(folder, nodeModules, filepath.FromSlash(name))
			if info, err := os.Lstat(place); err == nil {
				if info.Mode()&os.ModeSymlink != 0 {
					return []string{place}
				}
				return nil
			}
			if folder == filepath.Dir(folder) {
				return nil
			}
		}
	}
	if !strings.HasPrefix(imported, ".") {
		return nil
	}
	var links []string
	place := folder
	parts := strings.Split(imported, "/")
	for i, part := range parts {
		place = filepath.Join(place, part)
		endings := []string{""}
		if i == len(parts)-1 {
			endings = importable
		}
		for _, extension := range endings {
			info, err := os.Lstat(place + extension)
			if err != nil {
				continue
			}
			if info.Mode()&os.ModeSymlink != 0 {
				links = append(links, place+extension)
			}
			break
		}
	}
	return links
}
