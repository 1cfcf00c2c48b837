package shim

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/frame"
	"github.com/mayfly-run/mayfly/internal/instance"
	"github.com/mayfly-run/mayfly/internal/scope"
)

//go:embed golang/main.go.tmpl
var goMain string

// goMainFolder is a folder inside the user's that only the go command sees. There the
// generated main may import internal packages, and the module's go.mod, go.sum and
// vendor folder apply to it.
const goMainFolder = "mayfly_main"

// goModule is the module name of code that has none. No standard package has this name.
const goModule = "function"

// GoOptions configure Go.
type GoOptions struct {
	Folder string // the user's package, absolute; or
	File   string // a single file of one, absolute: other files in its folder are ignored

	Out  string // path of the binary
	Work string // scratch folder of this function; if kept, modules are not looked up again

	GOOS, GOARCH string // target platform; the go command's default if both are empty
}

// Go builds a binary from a Go package. A package other than main with a func Handle
// is a short form: its main is generated. A package main is a program.
//
// Code without a go.mod gets one in Work; if it imports third-party modules, their
// newest versions are looked up, which needs the network. Nothing is written to the
// user's folder: generated files are an overlay. Errors: Invalid when the code does
// not compile (with a mayfly.Trace) or is neither form; Unavailable without a go
// command.
func Go(ctx context.Context, o GoOptions) (Result, error) {
	g, err := openGo(ctx, o)
	if err != nil {
		return Result{}, err
	}
	packages, err := g.list(ctx)
	if err != nil {
		return Result{}, err
	}
	user := packages[len(packages)-1] // dependencies come first
	short, err := g.short(user)
	if err != nil {
		return Result{}, err
	}
	target := "."
	if short {
		target = "./" + goMainFolder
		if err := g.generate(user.ImportPath); err != nil {
			return Result{}, err
		}
	}
	if !slices.ContainsFunc(packages, func(p goPackage) bool { return !p.Standard && len(p.CgoFiles) > 0 }) {
		g.env = append(g.env, "CGO_ENABLED=0")
	}
	_, err = g.run(ctx, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", o.Out, target)
	if err != nil {
		return Result{}, err
	}
	return Result{Start: []string{"./" + filepath.Base(o.Out)}, Inputs: g.inputs(packages), Short: short}, nil
}

// A goBuild runs the go command on the user's package.
type goBuild struct {
	GoOptions
	command string            // path of go
	name    string            // of what is built, in errors
	module  bool              // the user has a go.mod
	flags   []string          // of every run
	env     []string          // added to our own environment
	overlay map[string]string // files that the go command sees in place of others
}

func openGo(ctx context.Context, o GoOptions) (*goBuild, error) {
	g := &goBuild{GoOptions: o, overlay: map[string]string{}}
	g.name = filepath.Base(cmp.Or(o.File, o.Folder))
	g.Folder = cmp.Or(o.Folder, filepath.Dir(o.File))
	command, err := exec.LookPath("go")
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Unavailable, "%s needs the go command, which is not in PATH", g.name).
			WithHint("install Go")
	}
	g.command = command
	if o.GOOS != "" {
		g.env = append(g.env, "GOOS="+o.GOOS, "GOARCH="+o.GOARCH)
	}
	said, err := g.run(ctx, "env", "GOMOD", "GOVERSION")
	if err != nil {
		return nil, err
	}
	mod, version, _ := strings.Cut(string(said), "\n")
	g.module = mod != "" && mod != os.DevNull
	if err := os.MkdirAll(o.Work, 0o700); err != nil {
		return nil, fmt.Errorf("folder for builds: %w", err)
	}
	if !g.module {
		if err := g.makeModule(version); err != nil {
			return nil, err
		}
	}
	if o.File != "" {
		if err := g.hideSiblings(); err != nil {
			return nil, err
		}
	}
	return g, g.writeOverlay()
}

// makeModule gives code without a go.mod one of ours. The overlay shows the go
// command a go.mod in the folder; it reads and writes the one in Work.
func (g *goBuild) makeModule(version string) error {
	file := filepath.Join(g.Work, "go.mod")
	g.overlay[filepath.Join(g.Folder, "go.mod")] = file
	g.flags = append(g.flags, "-modfile="+file, "-mod=mod")
	g.env = append(g.env, "GOWORK=off")
	if _, err := os.Stat(file); err == nil {
		return nil // it already lists the modules that the code needs
	}
	text := "module " + goModule + "\n"
	if v := regexp.MustCompile(`^go(\d+\.\d+)`).FindStringSubmatch(version); v != nil {
		text += "\ngo " + v[1] + "\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return fmt.Errorf("make a module: %w", err)
	}
	return nil
}

// hideSiblings hides the folder's other Go files from the go command: they may be
// functions themselves.
func (g *goBuild) hideSiblings() error {
	siblings, err := os.ReadDir(g.Folder)
	if err != nil {
		return fmt.Errorf("files beside %s: %w", g.name, err)
	}
	for _, f := range siblings {
		if filepath.Ext(f.Name()) == ".go" && f.Name() != filepath.Base(g.File) {
			g.overlay[filepath.Join(g.Folder, f.Name())] = ""
		}
	}
	return nil
}

// generate adds the main that serves the package's Handle, and the packages that it needs.
func (g *goBuild) generate(importPath string) error {
	names := strings.NewReplacer("{{function}}", importPath, "{{main}}", importPath+"/"+goMainFolder,
		goOurs, importPath+"/"+goMainFolder+"/")
	if err := g.show("main.go", names.Replace(goMain)); err != nil {
		return err
	}
	for name, source := range map[string]fs.FS{"instance": instance.Source, "frame": frame.Source, "scope": scope.Source} {
		files, err := fs.Glob(source, "*.go")
		if err != nil {
			return fmt.Errorf("source of %s: %w", name, err)
		}
		for _, file := range files {
			text, err := fs.ReadFile(source, file)
			if err == nil {
				err = g.show(filepath.Join(name, file), names.Replace(string(text)))
			}
			if err != nil {
				return err
			}
		}
	}
	return g.writeOverlay()
}

// goOurs begins the import paths of our packages.
const goOurs = "github.com/mayfly-run/mayfly/internal/"

// show has the go command see a file in goMainFolder. One that is as it was is not written, so
// that the go command need not read it again.
func (g *goBuild) show(name, text string) error {
	file := filepath.Join(g.Work, goMainFolder, name)
	g.overlay[filepath.Join(g.Folder, goMainFolder, name)] = file
	if is, err := os.ReadFile(file); err == nil && string(is) == text {
		return nil
	}
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o600)
	}
	if err != nil {
		return fmt.Errorf("generate main: %w", err)
	}
	return nil
}

func (g *goBuild) writeOverlay() error {
	text, err := json.Marshal(map[string]any{"Replace": g.overlay})
	if err == nil {
		err = os.WriteFile(g.overlayFile(), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the overlay: %w", err)
	}
	return nil
}

func (g *goBuild) overlayFile() string { return filepath.Join(g.Work, "overlay.json") }

// run runs a go subcommand in the user's folder and returns its standard output.
// Complaints about the code become an Invalid error.
func (g *goBuild) run(ctx context.Context, subcommand string, args ...string) ([]byte, error) {
	all := []string{subcommand}
	if subcommand != "env" {
		all = append(append(all, "-overlay="+g.overlayFile()), g.flags...)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, g.command, append(all, args...)...)
	cmd.Dir = g.Folder
	cmd.Env = append(cmd.Environ(), g.env...)
	cmd.Stderr = &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it then stops its compilers
	cmd.WaitDelay = 3 * time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("go %s %s: %w", subcommand, g.name, context.Cause(ctx))
	}
	if _, failed := errors.AsType[*exec.ExitError](err); failed {
		return nil, g.fault(stderr.String())
	}
	if err != nil {
		return nil, fmt.Errorf("go %s %s: %w", subcommand, g.name, err)
	}
	return out, nil
}

// fault turns the go command's output into an error.
func (g *goBuild) fault(said string) error {
	var lines []string
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "go: finding ") || strings.HasPrefix(line, "go: downloading ") {
			continue // the package it works on
		}
		lines = append(lines, strings.TrimPrefix(line, "./"))
	}
	err := &mayfly.Error{
		Code:    mayfly.Invalid,
		Message: g.name + " does not compile",
		Err:     mayfly.Trace(strings.Join(lines, "")),
	}
	switch {
	case !moduleFault.MatchString(said):
		return err
	case g.module:
		return err.WithHint("run: go mod tidy")
	default:
		return err.WithHint("make it a module: go mod init, then go mod tidy")
	}
}

// moduleFault matches the go command's complaints about modules it cannot get.
var moduleFault = regexp.MustCompile(`no required module|cannot find module|unrecognized import path|providing package|missing go\.sum|updates to go\.mod`)

// A goPackage is a package as go list prints it.
type goPackage struct {
	Dir, ImportPath, Name             string
	Standard                          bool
	GoFiles, CgoFiles, CFiles, HFiles []string
	CXXFiles, SFiles, SysoFiles       []string
	EmbedFiles                        []string
	Module                            *goListModule
}

type goListModule struct {
	GoMod   string
	Main    bool // also true for each module of a workspace
	Replace *struct{ Version string }
}

// list returns everything that the user's package imports, and last the package.
func (g *goBuild) list(ctx context.Context) ([]goPackage, error) {
	out, err := g.run(ctx, "list", "-deps", "-json=Dir,ImportPath,Name,Standard,"+
		"GoFiles,CgoFiles,CFiles,HFiles,CXXFiles,SFiles,SysoFiles,EmbedFiles,Module", ".")
	if err != nil {
		return nil, err
	}
	var packages []goPackage
	for list := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := list.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("packages of %s: %w", g.name, err)
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		return nil, mayfly.Errorf(mayfly.Invalid, "%s contains no Go package", g.name)
	}
	return packages, nil
}

// short reports whether the package is a short form. It rejects one that is no form.
func (g *goBuild) short(p goPackage) (short bool, err error) {
	handle, main := "", false
	files := token.NewFileSet()
	for _, name := range append(p.GoFiles, p.CgoFiles...) {
		tree, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return false, nil // the compiler explains it better
		}
		main = main || signature(tree, "main") != ""
		handle = cmp.Or(handle, signature(tree, "Handle"))
	}
	const wanted = "write func Handle(w http.ResponseWriter, r *http.Request)"
	switch {
	case p.Name == "main" && handle != "" && !main:
		return false, mayfly.Errorf(mayfly.Invalid, "%s has func Handle in package main, which cannot be imported", g.name).
			WithHint("rename the package, or write a func main that listens")
	case p.Name == "main":
		return false, nil
	case handle == "":
		return false, mayfly.Errorf(mayfly.Invalid, "package %s in %s has no func Handle", p.Name, g.name).WithHint(wanted)
	case !handler.MatchString(handle):
		return false, mayfly.Errorf(mayfly.Invalid, "Handle in %s is a %s", g.name, handle).WithHint(wanted)
	}
	return true, nil
}

// handler matches the signature of Handle; net/http may be imported under any name.
var handler = regexp.MustCompile(`^func\((\w+ )?(\w+\.)?ResponseWriter, (\w+ )?\*(\w+\.)?Request\)$`)

// signature returns the type of a file's function, or "" if there is no such function.
func signature(file *ast.File, name string) string {
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == name {
			return types.ExprString(f.Type)
		}
	}
	return ""
}

// inputs returns the files of the user's modules, including local ones reached
// through a replace or a workspace.
func (g *goBuild) inputs(packages []goPackage) []string {
	var files []string
	for _, p := range packages {
		if p.Module == nil || !p.Module.Main && (p.Module.Replace == nil || p.Module.Replace.Version != "") {
			continue
		}
		for _, names := range [][]string{p.GoFiles, p.CgoFiles, p.CFiles, p.HFiles, p.CXXFiles, p.SFiles, p.SysoFiles, p.EmbedFiles} {
			for _, name := range names {
				files = append(files, filepath.Join(p.Dir, name))
			}
		}
		if !g.module || p.Module.GoMod == "" {
			continue // its go.mod is ours, or is missing from the vendor folder
		}
		for _, name := range []string{p.Module.GoMod, filepath.Join(filepath.Dir(p.Module.GoMod), "go.sum")} {
			if _, err := os.Stat(name); err == nil {
				files = append(files, name)
			}
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}
