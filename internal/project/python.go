package project

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/internal/shim"
)

// requirementsFile lists the packages for pip to install.
const requirementsFile = "requirements.txt"

// python copies a module with what it imports from its folder, or the whole folder, and
// what pip installs for it.
func (b *builder) python(ctx context.Context, f found) (short bool, err error) {
	if err := need("python3", b.Name); err != nil {
		return false, err
	}
	out, err := b.folder(b.Name)
	if err != nil {
		return false, err
	}
	var copied []string
	if f.whole {
		copied, err = copyTree(ctx, f.folder, out, b.ignored.matchOne)
	} else {
		copied, err = b.copyModules(ctx, f, out)
	}
	if err != nil {
		return false, err
	}
	b.inputs = append(b.inputs, copied...)
	python := b.interpreterOf("python3", f.folder)
	if _, err := exec.LookPath(b.Python); python == "python3" && err == nil { // only a version manager could tell, which is slow
		python = b.Python
	}
	if err := b.pip(ctx, python, f.folder, out); err != nil {
		return false, err
	}
	r, err := shim.Python(ctx, shim.PythonOptions{
		Entry: f.entry, Out: out, Cache: filepath.Join(b.Cache, "shim"),
		Development: b.Development, Folder: b.original(f.folder), Interpreter: python,
	})
	if err != nil {
		return false, err
	}
	if b.Development {
		b.interpreter = r.Start[0]
	}
	b.inputs = append(b.inputs, r.Inputs...)
	b.use(out, engineHTTP, r.Start)
	return r.Short, nil
}

// imports finds the first names of a Python module's imports, and whether they are
// relative to its package. A false match only copies a file too many.
var imports = regexp.MustCompile(`(?m)^[ \t]*(?:from[ \t]+(\.?)([A-Za-z_]\w*)|(?:from[ \t]+(\.)[ \t]*)?import[ \t]*(\([^)]*|[ \t][\w., \t]*))`)

// word is one name in a list of imports.
var word = regexp.MustCompile(`[A-Za-z_][\w.]*`)

// copyModules copies a file and the modules beside it that it imports, directly or not.
func (b *builder) copyModules(ctx context.Context, f found, out string) ([]string, error) {
	var files []string
	next := []string{filepath.Base(f.entry)}
	for seen := map[string]bool{}; len(next) > 0; {
		name := next[0]
		next = next[1:]
		from, to := filepath.Join(f.folder, name), filepath.Join(out, name)
		info, err := os.Stat(from)
		if errors.Is(err, fs.ErrNotExist) || seen[name] {
			if !seen[name] {
				b.sought = append(b.sought, from)
			}
			continue // a module of the standard library, or installed, or not written yet
		}
		if err != nil {
			return nil, unreadable(from, err)
		}
		seen[name] = true
		if info.IsDir() {
			if err := os.Mkdir(to, 0o755); err != nil {
				return nil, err
			}
			inside, err := copyTree(ctx, from, to, b.ignored.matchOne)
			if err != nil {
				return nil, err
			}
			files = append(files, inside...)
			continue
		}
		if err := copyFile(from, to); err != nil {
			return nil, err
		}
		files = append(files, from)
		text, err := os.ReadFile(to)
		if err != nil {
			return nil, err
		}
		for _, module := range modulesOf(text) {
			next = append(next, module+".py", module)
		}
	}
	return files, nil
}

// modulesOf returns the first names of a module's imports.
func modulesOf(text []byte) []string {
	var all []string
	for _, found := range imports.FindAllSubmatch(text, -1) {
		if len(found[1])+len(found[3]) > 0 {
			all = append(all, "__init__") // without it the folder is no package
		}
		if len(found[2]) > 0 {
			all = append(all, string(found[2]))
			continue
		}
		for _, w := range word.FindAll(found[4], -1) {
			first, _, _ := strings.Cut(string(w), ".")
			all = append(all, first)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// compilePackages compiles what was installed and ignores files for other versions of
// Python. Files that pip compiled would be recompiled at each start, because the copy
// changes their source's time.
const compilePackages = `import compileall, os, py_compile
compileall.compile_dir(os.getcwd(), quiet=2, ddir="", invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)`

// pip adds the packages of requirements.txt to the bundle. They are installed once per
// version of Python and content of the folder's .txt files, since requirements may span
// several.
func (b *builder) pip(ctx context.Context, python, folder, out string) error {
	if _, err := os.Stat(filepath.Join(folder, requirementsFile)); errors.Is(err, fs.ErrNotExist) {
		b.sought = append(b.sought, filepath.Join(folder, requirementsFile))
		return nil
	}
	files := filesLike(folder, "*.txt")
	key, err := digestOf(files...)
	if err != nil {
		return err
	}
	b.inputs = append(b.inputs, files...)
	python, tag, err := askPython(ctx, python, b.original(folder))
	if err != nil {
		return err
	}
	installed, err := b.cached(ctx, "python-"+tag+"-"+key, func(made string) error {
		b.Progress(fmt.Sprintf("installing the packages of %s with pip", b.Name))
		err := b.run(ctx, command{dir: folder, failed: "pip install failed"}, python, "-m", "pip", "install",
			"--disable-pip-version-check", "--no-input", "--no-compile", "--target", made, "--requirement", requirementsFile)
		if err != nil {
			return err
		}
		return b.run(ctx, command{dir: made, failed: "the packages cannot be compiled"}, python, "-c", compilePackages)
	})
	if err != nil {
		return err
	}
	_, err = copyTree(ctx, installed, out, func(name string) bool { return name == "bin/" })
	return err
}

// PackageFolders returns where a Python interpreter finds packages that are installed, or
// nothing if it cannot be asked.
func PackageFolders(ctx context.Context, python string) (folders []string) {
	if python == "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, python, "-I", "-c", `import sys; print(*sys.path, sep="\0", end="")`).Output()
	if err != nil {
		return nil
	}
	for folder := range strings.SplitSeq(string(out), "\x00") {
		if base := filepath.Base(folder); base == "site-packages" || base == "dist-packages" {
			folders = append(folders, folder)
		}
	}
	return folders
}

// askPython returns the path of the Python that a name starts for code in a folder, and the
// tag of packages that it can load.
func askPython(ctx context.Context, name, folder string) (python, tag string, err error) {
	cmd := exec.CommandContext(ctx, name, "-I", "-S", "-c", `import sys; print(sys.executable or "", sys.implementation.cache_tag, sep="\0", end="")`)
	cmd.Dir = folder
	cmd.Env = append(cmd.Environ(), "PYENV_DIR="+folder)
	out, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("find version of %s: %w", name, err)
	}
	python, tag, _ = strings.Cut(string(out), "\x00")
	return cmp.Or(python, name), tag, nil
}
