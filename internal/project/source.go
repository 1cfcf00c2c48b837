package project

import (
	"path/filepath"

	"github.com/mayfly-run/mayfly"
)

// A Source is what one unit is built from. Unit has all its settings but Start and
// Bundles, which Build finds and a deploy fills in.
type Source struct {
	Name string
	Unit *mayfly.Unit

	Code   string // absolute path of a file or folder
	Build  string // shell command that runs first, in a copy of the folder
	Start  []string
	Engine mayfly.Engine // as in the manifest; detected if empty

	// Watch are the files and folders, absolute, that a change of the source shows
	// in; what Ignores says of a folder's files is not part of it.
	Watch []string

	// ignored are the rules of .mayflyignore when the project was opened.
	ignored rules
}

// Ignores reports whether a file or folder, by its path below Code with slashes, is not
// part of the source: it is not bundled, and a change of it needs no build.
func (s Source) Ignores(path string, folder bool) bool {
	if path == ignoreName {
		return false // a change of it may change everything
	}
	if folder {
		path += "/"
	}
	return s.ignored.match(path)
}

// below returns the path of a file within a folder, with slashes.
func below(folder, path string) (name string, inside bool) {
	name, err := filepath.Rel(folder, path)
	return filepath.ToSlash(name), err == nil && name != "." && filepath.IsLocal(name)
}
