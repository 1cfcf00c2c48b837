package project

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/shim"
)

// golang compiles a package or a file for each platform. The bundle holds only the
// binary, which embeds the files it needs.
func (b *builder) golang(ctx context.Context, f found) (short bool, err error) {
	if err := need("go", b.Name); err != nil {
		return false, err
	}
	platforms := b.Platforms
	if len(platforms) == 0 {
		platforms = []string{mayfly.Platform()}
	}
	// Files kept between builds are found by the code's path.
	place := sha256.Sum256([]byte(f.entry))
	work := filepath.Join(b.Cache, "go-"+hex.EncodeToString(place[:8]))
	for _, platform := range platforms {
		system, processor, ok := strings.Cut(platform, "/")
		if !ok {
			return false, mayfly.Errorf(mayfly.Invalid, "platform %q is not of the form %s", mayfly.Clip(platform), mayfly.Platform())
		}
		out, err := b.folder(b.Name)
		if err != nil {
			return false, err
		}
		b.Progress("compiling " + b.Name + " for " + platform)
		o := shim.GoOptions{Out: filepath.Join(out, b.Name), Work: work, GOOS: system, GOARCH: processor}
		if f.whole {
			o.Folder = f.entry
		} else {
			o.File = f.entry
		}
		r, err := shim.Go(ctx, o)
		b.inputs = append(b.inputs, r.Inputs...)
		if err != nil {
			b.inputs = append(b.inputs, goFiles(f)...)
			return false, err
		}
		short = r.Short
		b.useFor(platform, out, f.engine, r.Start)
	}
	return short, nil
}

// goFiles returns the files that may have to change for the code to compile: only the
// compiler knows which it read.
func goFiles(f found) []string {
	if !f.whole {
		return []string{f.entry}
	}
	return append(filesLike(f.folder, "*.go"), filepath.Join(f.folder, "go.mod"))
}
