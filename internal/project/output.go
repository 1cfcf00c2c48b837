package project

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bundle"
)

// A Description is the content of mayfly.json in a bundle.
type Description struct {
	V        int           `json:"v"` // 1
	Engine   mayfly.Engine `json:"engine"`
	Start    []string      `json:"start"`
	Platform string        `json:"platform"`
}

// result describes the output.
func (b *builder) result() (Built, error) {
	built := Built{Folders: map[string]string{}}
	for platform, folder := range b.folders {
		if platform == "" {
			native, err := holdsNative(folder)
			if err != nil {
				return built, err
			}
			if platform = mayfly.AnyPlatform; native {
				platform = mayfly.Platform()
			}
		}
		if err := describe(folder, Description{V: 1, Engine: b.engine, Start: b.start, Platform: platform}); err != nil {
			return built, err
		}
		built.Folders[platform] = folder
	}
	for _, platform := range slices.Concat([]string{mayfly.AnyPlatform, mayfly.Platform()}, slices.Sorted(maps.Keys(built.Folders))) {
		if folder, ok := built.Folders[platform]; ok {
			built.Folder = folder
			break
		}
	}
	u := *b.Unit
	u.Engine, u.Start = b.engine, b.start
	if u.CGI && !traits[u.Engine].cgi {
		return built, mayfly.Errorf(mayfly.Invalid, "cgi is only for engine exec, but %s has engine %s", b.Name, u.Engine).WithHint("remove cgi")
	}
	if u.Fallback != "" && !traits[u.Engine].files {
		return built, mayfly.Errorf(mayfly.Invalid, "fallback is only for static files, but %s has engine %s", b.Name, u.Engine).WithHint("remove fallback")
	}
	u.Concurrency = cmp.Or(traits[u.Engine].concurrency, u.Concurrency)
	built.Unit = u
	return built, nil
}

// describe writes the file that comes first in the folder's bundle.
func describe(folder string, d Description) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	file := filepath.Join(folder, bundle.Manifest)
	// If the user has a link there, do not write through it.
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// hereSuffixes are those of files with machine code that need not be executable.
var hereSuffixes = []string{".so", ".node", ".dylib", ".dll", ".pyd"}

// holdsNative reports whether a folder holds machine code, and so runs only on this
// machine's platform.
func holdsNative(folder string) (native bool, err error) {
	err = filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		suspect := slices.Contains(hereSuffixes, filepath.Ext(path)) || strings.Contains(filepath.Base(path), ".so.")
		if !suspect {
			info, err := d.Info()
			if err != nil {
				return err
			}
			suspect = info.Mode()&0o111 != 0
		}
		if !suspect {
			return nil
		}
		head, err := readHead(path)
		if native = isNative(head); native {
			return filepath.SkipAll
		}
		return err
	})
	return native, err
}
