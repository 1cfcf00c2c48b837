package project

import (
	"context"
	"os"
	"path/filepath"

	"github.com/mayfly-run/mayfly"
)

// staticFolder is the folder of the files in a bundle.
const staticFolder = "files"

// static copies a folder of files to be served.
func (b *builder) static(ctx context.Context, folder string) error {
	if b.Unit.Kind == mayfly.KindService {
		return mayfly.Errorf(mayfly.Invalid, "%s is a folder of files, so it is a function, not a service", b.Name).WithHint("move it to functions:")
	}
	if b.Engine != "" && !traits[b.Engine].files {
		return mayfly.Errorf(mayfly.Invalid, "%s is a folder of files, which engine %s cannot run", b.Name, b.Engine).WithHint("remove engine")
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return mayfly.Errorf(mayfly.Invalid, "%s is not a folder of files", folder).WithHint("name the folder in code:")
	}
	out, err := b.folder(b.Name)
	if err != nil {
		return err
	}
	to := filepath.Join(out, staticFolder)
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	b.inputs, err = copyTree(ctx, folder, to, func(name string) bool {
		return name == Manifest || name == shortManifest || b.ignored.matchOne(name)
	})
	b.useFor(mayfly.AnyPlatform, out, engineStatic, []string{staticFolder})
	return err
}
