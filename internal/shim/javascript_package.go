package shim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Where Node.js looks for packages, and the file that describes one.
const (
	nodeModules = "node_modules"
	packageFile = "package.json"
)

// A pkg is an installed package.
type pkg struct {
	folder string // where it is installed, links followed
	place  string // where the output has it, with slashes: node_modules/a, or in another's node_modules

	needs    []string // its dependencies of all kinds
	optional []string // peers that it can do without
	develops bool     // it lists packages for development
	onlyESM  bool     // require cannot load it
	name     string   // as its package.json says
	manifest string
}

// readPackage reads an installed package.
func readPackage(folder string) pkg {
	p := pkg{folder: folder, manifest: filepath.Join(folder, packageFile)}
	var m struct {
		Name, Type, Main                                     string
		Exports, DevDependencies, PeerDependenciesMeta       json.RawMessage
		Dependencies, OptionalDependencies, PeerDependencies map[string]json.RawMessage
	}
	data, err := os.ReadFile(p.manifest)
	if err != nil || json.Unmarshal(data, &m) != nil {
		return p // Node.js takes it for one without dependencies
	}
	var development map[string]json.RawMessage
	p.develops = json.Unmarshal(m.DevDependencies, &development) == nil && len(development) > 0
	var peers map[string]struct{ Optional bool }
	_ = json.Unmarshal(m.PeerDependenciesMeta, &peers) // most have none
	for name := range m.PeerDependencies {
		if peers[name].Optional {
			delete(m.PeerDependencies, name)
			p.optional = append(p.optional, name)
		}
	}
	for _, some := range []map[string]json.RawMessage{m.Dependencies, m.OptionalDependencies, m.PeerDependencies} {
		p.needs = slices.AppendSeq(p.needs, maps.Keys(some))
	}
	p.name = m.Name
	slices.Sort(p.optional)
	slices.Sort(p.needs)
	p.needs = slices.Compact(p.needs)
	entries := cmp.Or(string(m.Exports), m.Main)
	isModule := m.Type == "module" || strings.HasSuffix(m.Main, ".mjs")
	p.onlyESM = isModule && !strings.Contains(entries, `"require"`) && !strings.Contains(entries, ".cjs")
	return p
}

// findPackage returns the folder of a package as code in a folder finds it, or "".
func findPackage(name, from string) string {
	for {
		folder, err := filepath.EvalSymlinks(filepath.Join(from, nodeModules, filepath.FromSlash(name)))
		if info, missing := os.Stat(folder); err == nil && missing == nil && info.IsDir() {
			return folder
		}
		above := filepath.Dir(from)
		if above == from {
			return ""
		}
		from = above
	}
}

// A shipment is a set of packages with all that they need, as they lie in the output.
type shipment map[string]pkg // by place

// add adds the packages of those names that code in a folder finds, and what they
// need; of optional peers those that the code lists, if it lists any packages. As npm
// does, it puts a package at the top unless another of its name is there.
func (s shipment) add(from string, names ...string) {
	type want struct {
		name string
		by   pkg
	}
	var wanted []want
	listed := listedFor(from)
	for _, name := range names {
		wanted = append(wanted, want{name, pkg{folder: from}})
	}
	for len(wanted) > 0 {
		w := wanted[0]
		wanted = wanted[1:]
		folder := findPackage(w.name, w.by.folder)
		if folder == "" {
			continue // an optional one
		}
		place, there := s.place(w.by.place, w.name, folder)
		if there {
			continue
		}
		p := readPackage(folder)
		p.place = place
		s[place] = p
		for _, name := range p.needs {
			wanted = append(wanted, want{name, p})
		}
		for _, name := range p.optional {
			if len(listed) == 0 || slices.Contains(listed, name) {
				wanted = append(wanted, want{name, p})
			}
		}
	}
}

// listedFor returns the packages that package.json lists in a folder and above it.
func listedFor(folder string) (names []string) {
	for ; folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		names = append(names, readPackage(folder).needs...)
	}
	return names
}

// place returns where a package goes that is needed at a place, and whether it is there.
func (s shipment) place(by, name, folder string) (place string, there bool) {
	for above := by; ; {
		place = path.Join(above, nodeModules, name)
		if p, taken := s[place]; taken {
			if p.folder == folder {
				return place, true
			}
			return path.Join(by, nodeModules, name), false
		}
		if above == "" {
			return place, false
		}
		above = strings.TrimSuffix(above[:max(0, strings.LastIndex(above, nodeModules))], "/")
	}
}

// names returns the names of the packages, sorted.
func (s shipment) names() []string {
	var names []string
	for place := range s {
		names = append(names, place[strings.LastIndex(place, nodeModules+"/")+len(nodeModules)+1:])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// packageAt returns the name of the package that an installed file belongs to, or "".
func packageAt(file string) string {
	file = filepath.ToSlash(file)
	at := strings.LastIndex(file, nodeModules+"/")
	if at < 0 {
		return ""
	}
	return packageOf(file[at+len(nodeModules)+1:])
}

// linkedPackage returns the name of the package of a file that node_modules links to, as
// in a workspace, or "" if code in a folder finds no such package.
func linkedPackage(file, from string) string {
	for folder := filepath.Dir(file); folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, packageFile)); err == nil {
			name := readPackage(folder).name
			if name != "" && findPackage(name, from) == folder {
				return name
			}
			return ""
		}
	}
	return ""
}

// placeMarks are the words of code that depends on where it is.
var placeMarks = [][]byte{[]byte("__dirname"), []byte("__filename"), []byte("import.meta."), []byte("createRequire")}

// knowsItsPlace reports whether code may depend on where it is.
func knowsItsPlace(source []byte) bool {
	return slices.ContainsFunc(placeMarks, func(mark []byte) bool { return bytes.Contains(source, mark) })
}
