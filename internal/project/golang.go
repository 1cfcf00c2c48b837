package project

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/shim"
)

// golang compiles a package or a file, once for each platform. The bundle holds
// the binary alone: what it needs of its folder, it embeds.
func (b *builder) golang(ctx context.Context, f found) (form shim.Form, err error) {
	if err := need("go", b.Name); err != nil {
		return 0, err
	}
	platforms := b.Platforms
	if len(platforms) == 0 {
		platforms = []string{mayfly.Platform()}
	}
	work, err := b.folder(b.Name)
	if err != nil {
		return 0, err
	}
	b.scratch = append(b.scratch, work)
	for _, platform := range platforms {
		system, processor, ok := strings.Cut(platform, "/")
		if !ok {
			return 0, mayfly.Errorf(mayfly.Invalid, "platform %q is not like %s", clip(platform), mayfly.Platform())
		}
		out, err := b.folder(b.Name)
		if err != nil {
			return 0, err
		}
		b.Progress("compiling " + b.Name + " for " + platform)
		o := goOptions{Out: filepath.Join(out, b.Name), Work: work, GOOS: system, GOARCH: processor, Output: b.Output}
		if f.whole {
			o.Folder = f.entry
		} else {
			o.File = f.entry
		}
		r, err := shimGo(ctx, o)
		if err != nil {
			return 0, err
		}
		form = r.Form
		b.inputs = append(b.inputs, r.Inputs...)
		b.useFor(platform, out, f.engine, r.Start)
	}
	return form, nil
}
