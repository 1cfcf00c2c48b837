package project

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// script copies a script or binary, alone or with its folder.
func (b *builder) script(ctx context.Context, f found) error {
	out, err := b.folder(b.Name)
	if err != nil {
		return err
	}
	if f.whole {
		b.inputs, err = copyTree(ctx, f.folder, out, b.ignored.matchOne)
	} else {
		b.inputs, err = []string{f.entry}, copyFile(f.entry, filepath.Join(out, filepath.Base(f.entry)))
	}
	if err != nil {
		return err
	}
	name, _ := below(f.folder, f.entry)
	head, err := readHead(filepath.Join(out, name))
	if err != nil {
		return err
	}
	// A script without a #! line is run by sh.
	if f.language == shell && !strings.HasPrefix(head, "#!") {
		b.use(out, f.engine, []string{"sh", name})
		return nil
	}
	b.use(out, f.engine, []string{"./" + name})
	return os.Chmod(filepath.Join(out, name), 0o755)
}
