package project

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

// parseSchema returns a JSON Schema that stands in the manifest as a map, or in a
// file (JSON, or YAML by its name) below the manifest's folder.
func (p *Project) parseSchema(n *yamlfile.Node) (json.RawMessage, error) {
	switch n.Kind {
	case yamlfile.Map:
		return n.JSON()
	case yamlfile.String:
		return p.readSchema(n)
	default:
		return nil, n.Errorf("%s must be a JSON Schema or the name of a file with one, not %s", n.Path, n.Kind)
	}
}

func (p *Project) readSchema(n *yamlfile.Node) (json.RawMessage, error) {
	name := path.Clean(n.Text)
	if !fs.ValidPath(name) {
		return nil, n.Errorf("file %q does not lie below the manifest's folder", clip(n.Text))
	}
	// A root does not follow a link out of the folder either.
	root, err := os.OpenRoot(p.Folder)
	if err != nil {
		return nil, n.Errorf("read %s: %w", clip(name), err)
	}
	defer root.Close()
	data, err := readFile(root.FS(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, n.Errorf("no file %s in the manifest's folder", clip(name))
	}
	if err != nil {
		return nil, n.Errorf("read %s: %w", clip(name), err)
	}
	if ext := path.Ext(name); ext == ".yaml" || ext == ".yml" {
		schema, err := yamlfile.Parse(name, data)
		if err != nil {
			return nil, n.Wrap(err)
		}
		if schema.Kind != yamlfile.Map {
			return nil, n.Errorf("%s holds no JSON Schema: it must be a map", clip(name))
		}
		return schema.JSON()
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		return nil, n.Errorf("%s holds no JSON Schema: it must be a JSON object", clip(name))
	}
	return data, nil
}
