package project

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// impersonal are names of files that stand for their folder, whose name they get.
var impersonal = []string{"index", "main", "app", "handler"}

// nameOf returns the name of the function in a file or folder.
func nameOf(path string, folder bool) (mayfly.Name, error) {
	base := filepath.Base(path)
	what := "folder"
	if !folder {
		what = "file"
		base = strings.TrimSuffix(base, filepath.Ext(base))
		if slices.Contains(impersonal, strings.ToLower(base)) {
			base, what = filepath.Base(filepath.Dir(path)), "folder"
		}
	}
	name, err := plainName(base)
	if err != nil {
		return "", mayfly.Errorf(mayfly.Invalid, "cannot name the function after %s %q: %w", what, base, err).
			WithHint("rename it, or add a %s that names it", Manifest)
	}
	return name, nil
}

// plainName turns the name of a file or folder into a Name.
func plainName(text string) (mayfly.Name, error) {
	return mayfly.ParseName(strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(text)))
}
