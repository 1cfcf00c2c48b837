package project

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

// Manifest is the name of the file that describes a project.
const Manifest = "mayfly.yaml"

// shortManifest is its other name.
const shortManifest = "mayfly.yml"

// A Project is what one manifest describes, or one function or service without a
// manifest.
type Project struct {
	Name      mayfly.Name
	Folder    string         // absolute
	File      string         // the manifest, or without one the code: absolute
	Files     []string       // what the manifest consists of, itself included; none without one
	Routes    []mayfly.Route // by name, those of one name as listed; one for each pattern
	Functions []Source       // by name
	Services  []Source       // by name
}

// Sources returns the functions, then the services.
func (p *Project) Sources() []Source { return slices.Concat(p.Functions, p.Services) }

// Routes returns the routes of all projects.
func Routes(projects []*Project) (all []mayfly.Route) {
	for _, p := range projects {
		all = append(all, p.Routes...)
	}
	return all
}

// Open reads the project at path: a manifest, a folder with one, or a file or folder that
// is one function or service, whose name and engine it detects. A manifest's variables
// come from env or else from the file .env beside it. Errors have code NotFound if path
// does not exist, else Invalid.
func Open(path string, env func(name string) (string, bool)) (*Project, error) {
	file, err := find(path)
	if err != nil {
		return nil, err
	}
	if file == "" {
		return openCode(path)
	}
	folder := os.DirFS(filepath.Dir(file))
	data, err := readFile(folder, filepath.Base(file))
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "read %s: %w", file, err)
	}
	dotenv, err := readDotenv(folder, filepath.Join(filepath.Dir(file), dotenvName), env)
	if err != nil {
		return nil, err
	}
	return Parse(file, data, func(name string) (string, bool) {
		if value, ok := env(name); ok {
			return value, true
		}
		value, ok := dotenv[name]
		return value, ok
	})
}

// ManifestIn returns the manifest in a folder, also under its short name, or "".
func ManifestIn(folder string) string {
	for _, name := range []string{Manifest, shortManifest} {
		file := filepath.Join(folder, name)
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return file
		}
	}
	return ""
}

// find returns the manifest at path, or "" for code without one.
func find(path string) (file string, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", mayfly.Errorf(mayfly.NotFound, "no file or folder %s", path)
	case err != nil:
		return "", mayfly.Errorf(mayfly.Invalid, "open project: %w", err)
	case !info.IsDir() && (filepath.Ext(path) == ".yaml" || filepath.Ext(path) == ".yml"):
		return path, nil
	case !info.IsDir():
		return "", nil
	}
	return ManifestIn(path), nil
}

// openCode returns the project that consists of the one function or service at
// path.
func openCode(path string) (*Project, error) {
	code, err := filepath.Abs(path)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "find folder of %s: %w", path, err)
	}
	found, err := detect(code)
	if err != nil {
		return nil, err
	}
	name, err := nameOf(code, found.whole)
	if err != nil {
		return nil, err
	}
	p := &Project{Name: name, Folder: filepath.Dir(code), File: code}
	if found.whole {
		p.Folder = code
	}
	s := Source{Name: string(name), Unit: &mayfly.Unit{Name: name, Project: name}, Code: code, Watch: []string{code}}
	if s.ignored, err = readRules(code); err != nil {
		return nil, err
	}
	if traits[found.engine].speaksNATS {
		s.Engine = found.engine
		s.Unit.Kind, s.Unit.Instances = mayfly.KindService, mayfly.Exactly(1)
		p.Services = []Source{s}
		return p, nil
	}
	p.Functions = []Source{s}
	return p, nil
}

// readFile reads a regular text file of bounded size: a pipe or device might block or
// never end.
func readFile(folder fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(folder, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > yamlfile.MaxSize {
		return nil, fmt.Errorf("larger than %d MiB", yamlfile.MaxSize>>20)
	}
	data, err := fs.ReadFile(folder, name)
	return yamlfile.Text(data), err
}

// Parse reads a manifest. file is its path: it appears in messages, and its folder holds
// the files that the manifest names, and by default names the project. Errors have code
// Invalid.
func Parse(file string, data []byte, env func(name string) (string, bool)) (*Project, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "find folder of %s: %w", file, err)
	}
	m := &manifest{&Project{File: path, Folder: filepath.Dir(path), Files: []string{path, filepath.Join(filepath.Dir(path), dotenvName)}}, &patterns{mux: http.NewServeMux()}}
	root, err := yamlfile.Parse(file, data)
	if err != nil {
		return nil, err
	}
	if root.Kind == yamlfile.Null {
		return nil, root.Errorf("the file is empty").WithHint("add functions:, services: or routes:")
	}
	// As in compose files: a place for anchors.
	root.Fields = slices.DeleteFunc(root.Fields, func(f yamlfile.Field) bool { return strings.HasPrefix(f.Key.Text, "x-") })
	if err := checkKeys(root); err != nil {
		return nil, err
	}
	if err := fill(root, env); err != nil {
		return nil, err
	}
	if root.Get("project") == nil {
		if m.Name, err = folderName(m.Folder); err != nil {
			return nil, err
		}
	}
	if err := projectKeys.read(m, root, root, m.Project); err != nil {
		return nil, err
	}
	byName := func(a, b Source) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(m.Functions, byName)
	slices.SortFunc(m.Services, byName)
	slices.SortStableFunc(m.Routes, func(a, b mayfly.Route) int { return cmp.Compare(a.Name, b.Name) })
	return m.Project, nil
}

// A manifest is being read into a project.
type manifest struct {
	*Project
	taken *patterns
}

var projectKeys = table[Project]{
	set("project", asName, func(p *Project) *mayfly.Name { return &p.Name },
		"Name of the project. By default the folder's name."),
	each("functions", nameKeys, functionKeys.schema(), (*manifest).function,
		"Functions by name. Each answers at `/fn/<name>` and on the subject `fn.<name>`."),
	each("services", schema{"pattern": "^[A-Za-z0-9_-]{1,63}$"}, serviceKeys.schema(), (*manifest).service,
		"Programs that use NATS themselves, by name. Mayfly builds and runs them."),
	each("routes", nameKeys, routeKeys.schema().with(oneTarget), (*manifest).route,
		"HTTP paths, by name, and the subjects, service endpoints or functions that answer them."),
}

var (
	nameKeys  = schema{"pattern": "^[a-z0-9][a-z0-9-]{0,62}$"}
	oneTarget = schema{"oneOf": []schema{{"required": []string{"subject"}}, {"required": []string{"service"}}, {"required": []string{"function"}}}}
)

// checkKeys rejects unknown keys of a manifest and says where those of the node's
// config file belong.
func checkKeys(root *yamlfile.Node) error {
	for _, f := range root.Fields {
		if config.IsNodeKey(f.Key.Text) {
			return root.Unknown(f.Key, nil).WithHint("%s is a setting of the node: move it to the config file (--config)", f.Key.Text)
		}
	}
	return projectKeys.known(root)
}

// A missing file or folder is named by a manifest and does not exist.
type missingError struct {
	error
	path string
}

func (e missingError) Unwrap() error { return e.error }

func missing(path, format string, args ...any) error {
	return missingError{mayfly.Errorf(mayfly.Invalid, format, args...), path}
}

// Missing returns the path whose absence is why Open failed, or "".
func Missing(err error) string {
	e, _ := errors.AsType[missingError](err)
	return e.path
}

// folderName returns the name that a folder gives to the project in it.
func folderName(folder string) (mayfly.Name, error) {
	base := filepath.Base(folder)
	name, err := plainName(base)
	if err != nil {
		return "", mayfly.Errorf(mayfly.Invalid, "cannot name the project after folder %q: %w", base, err).
			WithHint("add project: NAME to %s", Manifest)
	}
	return name, nil
}
