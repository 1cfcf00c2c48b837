package bundle

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// A Weight adds up what a bundle would hold, to say early and clearly that it is
// too much. The zero value has the default limits.
type Weight struct {
	Limits Limits

	files   int
	bytes   int64
	folders map[string]*heap // by the first two names of the path
}

// A heap is what lies below one folder.
type heap struct {
	files int
	bytes int64
}

// Add counts one file, folder or link of a size by its path within the bundle.
// Once the sum is over the limits it returns an error with code Invalid that names
// the folders that most of it is in.
func (w *Weight) Add(name string, size int64) error {
	if w.folders == nil {
		w.folders = map[string]*heap{}
	}
	l := w.Limits.withDefaults()
	w.files++
	w.bytes += size
	at := folderOf(name)
	h := w.folders[at]
	if h == nil {
		h = &heap{}
		w.folders[at] = h
	}
	h.files++
	h.bytes += size
	switch {
	case w.files > l.Files:
		return w.tooMuch(fmt.Sprintf("more than %d files", l.Files), func(h heap) int64 { return int64(h.files) }, count)
	case w.bytes > l.Bytes:
		return w.tooMuch("more than "+sized(l.Bytes), func(h heap) int64 { return h.bytes }, sized)
	}
	return nil
}

// folderOf returns the first two folders of a path.
func folderOf(name string) string {
	parts := strings.SplitN(name, "/", 3)
	return strings.Join(parts[:min(2, len(parts)-1)], "/")
}

// tooMuch names the three heaviest folders.
func (w *Weight) tooMuch(what string, weigh func(heap) int64, show func(int64) string) error {
	names := slices.SortedFunc(maps.Keys(w.folders), func(a, b string) int {
		return cmp.Or(cmp.Compare(weigh(*w.folders[b]), weigh(*w.folders[a])), cmp.Compare(a, b))
	})
	var most []string
	for _, name := range names[:min(3, len(names))] {
		shown := "its own files"
		if name != "" {
			shown = clip(name)
		}
		most = append(most, shown+" ("+show(weigh(*w.folders[name]))+")")
	}
	return mayfly.Errorf(mayfly.Invalid, "a bundle would hold %s, most in %s", what, strings.Join(most, ", ")).
		WithHint("leave out what is not needed to run: list it in .mayflyignore")
}

func count(n int64) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// sized returns a number of bytes for people.
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
