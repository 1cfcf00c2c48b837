package shim

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
)

//go:embed python/mayfly_shim/*.py
var pythonShim embed.FS

//go:embed python/check.py
var pythonCheck string

// pythonPackage is the shim's name in a bundle, unlikely in user code.
const pythonPackage = "mayfly_shim"

// pythonStart imports the shim, because Python compiles imports once but the main
// script at every start.
const pythonStart = "import mayfly_shim; mayfly_shim.main()"

// PythonOptions configure Python.
type PythonOptions struct {
	// Entry is the user's file, absolute. It and the modules that it imports from
	// its folder have been copied to Out under the same names.
	Entry string

	// Out is the output folder. The build adds the shim and compiled modules.
	Out string

	// Cache is a folder that keeps the compiled shim for other builds, created if
	// missing. If empty, each build compiles the shim.
	Cache string

	// Development means that the output runs only on this machine. It then starts the
	// interpreter by its real path: a wrapper such as a version manager's costs more
	// time than starting the function.
	Development bool

	// Folder is where the user has the code, for which version managers choose a
	// Python; the entry's folder if empty.
	Folder string

	// Interpreter is the first element of an earlier Result.Start on this machine, to
	// skip looking for Python; python3 in PATH if empty.
	Interpreter string
}

// Python builds a function from a Python file. A file that defines handle or app is a
// short form, any other a program, if it does anything at all.
//
// The python3 in PATH checks and compiles the file but does not run it. Errors:
// Invalid when it or a module of its folder does not compile (with a
// mayfly.Trace), or when it only defines other things; Unavailable without a
// recent enough python3.
func Python(ctx context.Context, o PythonOptions) (Result, error) {
	runner := filepath.Join(o.Out, pythonPackage)
	if err := writePythonShim(runner); err != nil {
		return Result{}, fmt.Errorf("write the Python shim: %w", err)
	}
	entry := filepath.Base(o.Entry)
	found, err := checkPython(ctx, o)
	if err != nil {
		return Result{}, err
	}
	switch {
	case found.Broken != "":
		return Result{}, &mayfly.Error{
			Code:    mayfly.Invalid,
			Message: found.Files[len(found.Files)-1] + " does not compile",
			Err:     mayfly.Trace(found.Broken),
		}
	case !found.Handler && !found.Runs:
		return Result{}, mayfly.Errorf(mayfly.Invalid, "%s defines neither handle nor app", entry).
			WithHint("write def handle(request), or a WSGI or ASGI application called app")
	}

	// Never write to a bundle (-B); print UTF-8, unbuffered (-u).
	python := "python3"
	if o.Development && found.Executable != "" {
		python = found.Executable
	}
	r := Result{Start: []string{python, "-B", "-X", "utf8", "-u", entry}}
	if found.Handler {
		r = Result{Short: true, Start: []string{python, "-B", "-X", "utf8", "-c", pythonStart, entry}}
	} else if err := os.RemoveAll(runner); err != nil {
		return Result{}, fmt.Errorf("a program needs no shim: %w", err)
	}
	for _, file := range found.Files {
		r.Inputs = append(r.Inputs, filepath.Join(filepath.Dir(o.Entry), file))
	}
	slices.Sort(r.Inputs)
	return r, nil
}

// writePythonShim writes the shim's package to a folder, anew.
func writePythonShim(folder string) error {
	files, err := fs.Sub(pythonShim, "python/"+pythonPackage)
	if err == nil {
		err = os.RemoveAll(folder)
	}
	if err == nil {
		err = os.CopyFS(folder, files)
	}
	return err
}

// A pythonReport is the output of check.py.
type pythonReport struct {
	Major, Minor int      // version of python3
	Executable   string   // its path
	Handler      bool     // handle or app is defined
	Runs         bool     // the module does more than define things
	Broken       string   // why the last of Files does not compile
	Files        []string // the entry and the user's modules that it imports, relative
}

func readPythonReport(out string) (r pythonReport, err error) {
	fields := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	if len(fields) < 7 {
		return r, fmt.Errorf("no report: %.100q", out)
	}
	r = pythonReport{Executable: fields[2], Handler: fields[3] != "", Runs: fields[4] != "", Broken: fields[5], Files: fields[6:]}
	_, err = fmt.Sscan(fields[0]+" "+fields[1], &r.Major, &r.Minor)
	return r, err
}

// checkPython runs check.py on the copies in the output folder.
func checkPython(ctx context.Context, o PythonOptions) (pythonReport, error) {
	entry, home := filepath.Base(o.Entry), filepath.Dir(o.Entry)
	var report pythonReport
	python, err := exec.LookPath(cmp.Or(o.Interpreter, "python3"))
	if err != nil && o.Interpreter != "" { // it has been removed
		python, err = exec.LookPath("python3")
	}
	if err != nil {
		return report, mayfly.Errorf(mayfly.Unavailable, "%s needs python3, which is not in PATH", entry).
			WithHint("install Python 3.9 or newer")
	}
	folder := cmp.Or(o.Folder, home)
	python, _ = direct(python, folder)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, python, "-I", "-S", "-X", "utf8", "-c", pythonCheck, entry, pythonPackage, home, o.Cache)
	cmd.Env = append(cmd.Environ(), "PYENV_DIR="+folder) // the version that python3 has for the code
	cmd.Dir = o.Out
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return report, fmt.Errorf("check %s: %w", entry, context.Cause(ctx))
	}
	if err == nil {
		report, err = readPythonReport(string(out))
	}
	if err != nil {
		return report, fmt.Errorf("check %s: %w", entry, errors.Join(err, mayfly.Trace(stderr.String())))
	}
	if report.Major < 3 || report.Major == 3 && report.Minor < 9 {
		return report, mayfly.Errorf(mayfly.Unavailable, "python3 is %d.%d, which is too old", report.Major, report.Minor).
			WithHint("install Python 3.9 or newer")
	}
	return report, nil
}
