package project

import (
	"cmp"
	"errors"
	"io/fs"
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

// A Project is what one manifest describes.
type Project struct {
	Name   mayfly.Name
	Folder string         // absolute
	File   string         // the manifest, absolute
	Routes []mayfly.Route // by name, those of one name as listed; one for each pattern
}

// Open reads the project at path, which is a folder with a manifest or the
// manifest itself. Its variables are taken from env and, where env has none, from
// the file .env beside it. Errors have code NotFound if there is nothing, else
// Invalid.
func Open(path string, env func(name string) (string, bool)) (*Project, error) {
	file, err := find(path)
	if err != nil {
		return nil, err
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

// find returns the manifest that path means.
func find(path string) (file string, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", mayfly.Errorf(mayfly.NotFound, "no file or folder %s", path)
	case err != nil:
		return "", mayfly.Errorf(mayfly.Invalid, "open project: %w", err)
	case !info.IsDir() && filepath.Ext(path) != ".yaml" && filepath.Ext(path) != ".yml":
		return "", mayfly.Errorf(mayfly.Invalid, "%s is no manifest: functions are not supported by this version", path).
			WithHint("name a %s or a folder with one", Manifest)
	case !info.IsDir():
		return path, nil
	}
	file = filepath.Join(path, Manifest)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return "", mayfly.Errorf(mayfly.NotFound, "no %s in folder %s", Manifest, path).
			WithHint("write one with routes, or start a node without a project")
	}
	return file, nil
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
		return nil, root.Errorf("the file is empty").WithHint("write a project: and its routes: here")
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
	if p.Routes, err = p.parseRoutes(root.Get("routes")); err != nil {
		return nil, err
	}
	slices.SortStableFunc(p.Routes, func(a, b mayfly.Route) int { return cmp.Compare(a.Name, b.Name) })
	return p, nil
}

// checkKeys refuses the top keys that cannot be served and says where they belong.
func checkKeys(root *yamlfile.Node) error {
	fields, err := root.Map()
	if err != nil {
		return err
	}
	for _, f := range fields {
		switch key := f.Key.Text; {
		case key == "project" || key == "routes":
		case key == "functions" || key == "services":
			return f.Key.Errorf("%s are not supported by this version", key)
		case config.IsNodeKey(key):
			return root.Unknown(f.Key, nil).WithHint("%s is a setting of the node: it belongs into its config file (--config)", key)
		default:
			return root.Unknown(f.Key, []string{"project", "routes", "functions", "services"})
		}
	}
	return nil
}

// parseName returns the project's name, which is the folder's if n is nil.
func (p *Project) parseName(n *yamlfile.Node) (mayfly.Name, error) {
	if n == nil {
		base := filepath.Base(p.Folder)
		name, err := mayfly.ParseName(strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(base)))
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
