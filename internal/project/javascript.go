package project

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/shim"
)

// Files that tell npm what a folder needs, and the folder it installs to.
const (
	packageFile = "package.json"
	lockFile    = "package-lock.json"
	modules     = "node_modules"
	npmSettings = ".npmrc" // optional
)

// javaScript bundles a file with all its imports. If the code is a folder, its other
// files are copied too, since the code may read them.
func (b *builder) javaScript(ctx context.Context, f found) (short bool, err error) {
	if b.Development {
		if err := need("node", b.Name); err != nil {
			return false, err
		}
	}
	out, err := b.folder(b.Name)
	if err != nil {
		return false, err
	}
	source, err := b.withPackages(ctx, f)
	if err != nil {
		return false, err
	}
	if source, err = filepath.EvalSymlinks(source); err != nil { // as the shim names files
		return false, unreadable(f.folder, err)
	}
	name, _ := below(f.folder, f.entry)
	b.copies = append(b.copies, replica{source, f.folder})
	o := shim.JavaScriptOptions{Entry: filepath.Join(source, name), Root: source, Out: out}
	if b.Development {
		o.Traced = b.traced
	}
	r, err := shim.JavaScript(ctx, o)
	for _, input := range r.Inputs {
		b.inputs = append(b.inputs, b.original(input))
	}
	b.sought = append(b.sought, r.Sought...)
	if err != nil {
		return false, err
	}
	if b.Development {
		r.Start[0] = b.interpreterOf(r.Start[0], f.folder)
	}
	b.use(out, engineHTTP, r.Start)
	if err := b.addFiles(ctx, f, r, source, out); err != nil {
		return false, err
	}
	return r.Short, b.addPackages(ctx, r.Packages, out)
}

// addFiles copies what the code may read at run time: what it certainly reads, and if
// it is a folder, all files that are not in the bundle.
func (b *builder) addFiles(ctx context.Context, f found, r shim.Result, source, out string) error {
	bundled := map[string]bool{}
	for _, input := range r.Inputs {
		bundled[input] = true
	}
	for _, file := range r.Files {
		delete(bundled, file)
		if f.whole {
			continue
		}
		name, _ := below(source, file)
		if err := b.addFile(ctx, filepath.Join(f.folder, name), filepath.Join(out, name)); err != nil {
			return err
		}
	}
	if !f.whole {
		return nil
	}
	others, err := copyTree(ctx, f.folder, out, func(name string) bool {
		return b.ignored.matchOne(name) || bundled[filepath.Join(source, name)]
	})
	b.inputs = append(b.inputs, others...)
	return err
}

// addFile copies a file or folder of the source.
func (b *builder) addFile(ctx context.Context, file, to string) error {
	info, err := os.Stat(file)
	if err != nil {
		return unreadable(file, err)
	}
	if !info.IsDir() {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		err := copyFile(file, to)
		if errors.Is(err, fs.ErrExist) { // in a folder that is copied too
			err = nil
		}
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	others, err := copyTree(ctx, file, to, b.ignored.matchOne)
	b.inputs = append(b.inputs, others...)
	return err
}

// addPackages puts packages into the output that cannot be in the bundle, without what
// .mayflyignore lists, and without secrets. In development links do: Node.js follows
// them, and finds there what a package needs.
func (b *builder) addPackages(ctx context.Context, packages map[string]string, out string) error {
	for _, place := range slices.Sorted(maps.Keys(packages)) {
		from, to := packages[place], filepath.Join(out, filepath.FromSlash(place))
		if b.ignored.own().match(place + "/") {
			continue
		}
		ignored := b.ignored // a package that npm links to is a folder that someone works in
		if strings.Contains(filepath.ToSlash(from), "/"+modules+"/") {
			ignored = b.ignored.installed()
		}
		link := b.Development && !b.isScratch(from)
		if _, err := os.Lstat(to); link && (err == nil || strings.LastIndex(place, modules) > 0) {
			continue // not ignored, so it has been copied; or it is in one that is linked
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if link && os.Symlink(from, to) == nil {
			continue
		}
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if _, err := copyTree(ctx, from, to, func(name string) bool {
			return name == modules+"/" || ignored.matchOne(place+"/"+name)
		}); err != nil {
			return err
		}
	}
	return nil
}

// withPackages returns the folder from which the code finds its packages: its own,
// unless npm has to install them first. Then they go to the cache, once per content of
// the lock file, and the code is copied to a folder that links to them.
func (b *builder) withPackages(ctx context.Context, f found) (string, error) {
	if hasModules(f.folder) {
		return f.folder, nil
	}
	var manifest struct {
		Dependencies map[string]json.RawMessage `json:"dependencies"`
	}
	data, err := readFile(os.DirFS(f.folder), packageFile)
	if errors.Is(err, fs.ErrNotExist) {
		return f.folder, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &manifest)
	}
	if err != nil {
		return "", mayfly.Errorf(mayfly.Invalid, "read %s: %w", packageFile, err)
	}
	if len(manifest.Dependencies) == 0 {
		return f.folder, nil
	}
	b.inputs = append(b.inputs, filepath.Join(f.folder, packageFile), filepath.Join(f.folder, lockFile))
	b.sought = append(b.sought, filepath.Join(f.folder, modules))
	if _, err := os.Stat(filepath.Join(f.folder, lockFile)); errors.Is(err, fs.ErrNotExist) {
		return "", mayfly.Errorf(mayfly.Invalid, "%s lists packages that are not installed, and there is no %s to install them from", packageFile, lockFile).
			WithHint("run `npm install` in %s", b.original(f.folder))
	}
	installed, err := b.npm(ctx, f.folder)
	if err != nil {
		return "", err
	}
	work, err := b.folder(b.Name)
	if err != nil {
		return "", err
	}
	b.scratch = append(b.scratch, work)
	if _, err := copyTree(ctx, f.folder, work, b.ignored.matchOne); err != nil {
		return "", err
	}
	return work, os.Symlink(filepath.Join(installed, modules), filepath.Join(work, modules))
}

// hasModules reports whether packages are installed in a folder or above it, as in a
// workspace.
func hasModules(folder string) bool {
	for {
		entries, _ := os.ReadDir(filepath.Join(folder, modules)) // a tool's cache, such as .vite, is no package
		if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), ".") }) {
			return true
		}
		above := filepath.Dir(folder)
		if above == folder {
			return false
		}
		folder = above
	}
}

// npm returns a folder in the cache with the lock file's packages.
func (b *builder) npm(ctx context.Context, folder string) (string, error) {
	if err := need("npm", b.Name); err != nil {
		return "", err
	}
	key, err := digestOf(filepath.Join(folder, packageFile), filepath.Join(folder, lockFile))
	if err != nil {
		return "", err
	}
	return b.cached(ctx, "npm-"+key, func(made string) error {
		for _, name := range []string{packageFile, lockFile, npmSettings} {
			err := copyFile(filepath.Join(folder, name), filepath.Join(made, name))
			if err != nil && (name != npmSettings || !errors.Is(err, fs.ErrNotExist)) {
				return err
			}
		}
		b.Progress(fmt.Sprintf("installing the packages of %s with npm", b.Name))
		return b.run(ctx, command{dir: made, failed: "npm ci failed"}, "npm", "ci", "--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier")
	})
}
