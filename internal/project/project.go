package project

import (
	"cmp"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

// Manifest is the name of the file that describes a project.
const Manifest = "mayfly.yaml"

// A Project is what one manifest describes, or one function or service without a
// manifest.
type Project struct {
	Name      mayfly.Name
	Folder    string         // absolute
	File      string         // the manifest, or without one the code: absolute
	Routes    []mayfly.Route // by name, those of one name as listed; one for each pattern
	Functions []Source       // by name
	Services  []Source       // by name
}

// Sources returns the functions, then the services.
func (p *Project) Sources() []Source { return slices.Concat(p.Functions, p.Services) }

// Open reads the project at path: a manifest, a folder with one, or else a file or
// folder that is one function or service, whose name and engine are seen from it.
// A manifest's variables are taken from env and, where env has none, from the file
// .env beside it. Errors have code NotFound if there is nothing, else Invalid.
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
	dotenv, err := readDotenv(folder, filepath.Join(filepath.Dir(file), dotenvName))
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

// find returns the manifest that path means, or "" if it means code without one.
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
	file = filepath.Join(path, Manifest)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return file, nil
}

// openCode returns the project that consists of the one function or service at
// path.
func openCode(path string) (*Project, error) {
	code, err := filepath.Abs(path)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "find the folder of %s: %w", path, err)
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
	s := Source{Name: string(name), Code: code, Watch: []string{code}}
	if s.ignored, err = readRules(code); err != nil {
		return nil, err
	}
	if found.engine == mayfly.EngineService {
		s.Engine = mayfly.EngineService
		s.Hosted = &mayfly.Hosted{Name: s.Name, Project: name, Instances: 1}
		p.Services = []Source{s}
		return p, nil
	}
	s.Function = &mayfly.Function{Name: name, Project: name}
	p.Functions = []Source{s}
	return p, nil
}

// readFile reads a regular file of bounded size: a pipe or device would block or
// never end.
func readFile(folder fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(folder, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	if info.Size() > yamlfile.MaxSize {
		return nil, errors.New("it is larger than 1 MiB")
	}
	return fs.ReadFile(folder, name)
}

// Parse reads a manifest. file is its name: it stands in messages, and its folder
// gives the project its name by default and holds the files that it names. Errors
// have code Invalid.
func Parse(file string, data []byte, env func(name string) (string, bool)) (*Project, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "find the folder of %s: %w", file, err)
	}
	p := &Project{File: path, Folder: filepath.Dir(path)}
	root, err := yamlfile.Parse(file, data)
	if err != nil {
		return nil, err
	}
	if root.Kind == yamlfile.Null {
		return nil, root.Errorf("the file is empty").WithHint("write functions: and routes: here")
	}
	if err := checkKeys(root); err != nil {
		return nil, err
	}
	if err := fill(root, env); err != nil {
		return nil, err
	}
	if p.Name, err = p.parseName(root.Get("project")); err != nil {
		return nil, err
	}
	taken := &patterns{mux: http.NewServeMux()}
	if p.Functions, err = p.parseFunctions(root.Get("functions"), taken); err != nil {
		return nil, err
	}
	if p.Services, err = p.parseServices(root.Get("services")); err != nil {
		return nil, err
	}
	if p.Routes, err = p.parseRoutes(root.Get("routes"), taken); err != nil {
		return nil, err
	}
	slices.SortStableFunc(p.Routes, func(a, b mayfly.Route) int { return cmp.Compare(a.Name, b.Name) })
	return p, nil
}

// topKeys are all that a manifest may say.
var topKeys = []string{"project", "functions", "services", "routes"}

// checkKeys refuses the top keys that cannot be served and says where they belong.
func checkKeys(root *yamlfile.Node) error {
	fields, err := root.Map()
	if err != nil {
		return err
	}
	for _, f := range fields {
		switch key := f.Key.Text; {
		case slices.Contains(topKeys, key):
		case config.IsNodeKey(key):
			return root.Unknown(f.Key, nil).WithHint("%s is a setting of the node: it belongs into its config file (--config)", key)
		default:
			return root.Unknown(f.Key, topKeys)
		}
	}
	return nil
}

// parseName returns the project's name, which is the folder's if n is nil.
func (p *Project) parseName(n *yamlfile.Node) (mayfly.Name, error) {
	if n == nil {
		base := filepath.Base(p.Folder)
		name, err := plainName(base)
		if err != nil {
			return "", mayfly.Errorf(mayfly.Invalid, "folder %q gives the project no name: %w", base, err).
				WithHint("write project: NAME into %s", Manifest)
		}
		return name, nil
	}
	s, err := n.Str()
	if err != nil {
		return "", err
	}
	name, err := mayfly.ParseName(s)
	if err != nil {
		return "", n.Wrap(err)
	}
	return name, nil
}
