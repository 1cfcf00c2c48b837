package bundle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// A Weight adds up a bundle's contents, to report early and clearly when it is too
// large. The zero value has the default limits.
type Weight struct {
	Limits Limits

	files   int
	bytes   int64
	folders map[string]*heap // by the first one and two names of the path
}

// A heap counts what is below a folder.
type heap struct {
	files int
	bytes int64
}

// Add counts a file, folder or link by its path within the bundle. Once the sum
// exceeds the limits it returns an error with code Invalid that names the largest
// folders.
func (w *Weight) Add(name string, size int64) error {
	if w.folders == nil {
		w.folders = map[string]*heap{}
	}
	l := w.Limits.withDefaults()
	w.files++
	w.bytes += size
	for _, folder := range foldersOf(name) {
		h := w.folders[folder]
		if h == nil {
			h = &heap{}
			w.folders[folder] = h
		}
		h.files++
		h.bytes += size
	}
	switch {
	case w.files > l.Files:
		return w.tooMuch(fmt.Sprintf("more than %d files", l.Files), func(h heap) int64 { return int64(h.files) }, count)
	case w.bytes > l.Bytes:
		return w.tooMuch("more than "+sized(l.Bytes), func(h heap) int64 { return h.bytes }, sized)
	}
	return nil
}

// foldersOf returns a path's first folder, and the one in that; "" if it is in none.
func foldersOf(name string) []string {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) < 3 {
		return []string{strings.Join(parts[:len(parts)-1], "")}
	}
	return []string{parts[0], parts[0] + "/" + parts[1]}
}

// tooMuch names the three heaviest folders, each narrowed to a subfolder that is most
// of it: node_modules/huge, but node_modules if that has a thousand small ones.
func (w *Weight) tooMuch(what string, weigh func(heap) int64, show func(int64) string) error {
	tops, within := []string{}, map[string]string{}
	for name, h := range w.folders {
		top, _, deeper := strings.Cut(name, "/")
		if !deeper {
			tops = append(tops, name)
		} else if 2*weigh(*h) > weigh(*w.folders[top]) {
			within[top] = name
		}
	}
	slices.SortFunc(tops, func(a, b string) int {
		return cmp.Or(cmp.Compare(weigh(*w.folders[b]), weigh(*w.folders[a])), cmp.Compare(a, b))
	})
	var most []string
	for _, top := range tops[:min(3, len(tops))] {
		name := cmp.Or(within[top], top)
		shown := "its own files"
		if name != "" {
			shown = mayfly.Clip(name)
		}
		most = append(most, shown+" ("+show(weigh(*w.folders[name]))+")")
	}
	return mayfly.Errorf(mayfly.Invalid, "the bundle would hold %s, mostly in %s", what, strings.Join(most, ", ")).
		WithHint("exclude what is not needed at run time in .mayflyignore")
}

func count(n int64) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// sized formats a number of bytes.
func sized(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
