package project

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/shim"
)

// BuildOptions say where and how Build works.
type BuildOptions struct {
	// Folder is where the output goes: each build makes new folders in it. It must not
	// be one of the user's.
	Folder string

	// Cache is a folder for what builds share, such as installed packages. It may be
	// deleted whenever no build runs.
	Cache    string
	Installs *Installs         // what other builds install there now; may be nil
	Idle     func(wait func()) // runs wait, in which the build only waits for another; may be nil

	Progress    func(step string) // is told of steps that may take long; may be nil
	Development bool              // the code is being edited: it runs here, and traces name its lines
	Python      string            // Built.Python of an earlier build of code in the folder, in development; it is looked for if empty
	Platforms   []string          // to compile for, see mayfly.Platform; this machine's if empty
}

// A Built is a source that is ready to run.
type Built struct {
	Unit mayfly.Unit // the source's, with Engine and Start, without Bundles

	// Folders hold the output by platform, or one for mayfly.AnyPlatform. Folder is
	// the one for this machine, else the first by name. The caller removes them.
	Folders map[string]string
	Folder  string

	Inputs []string // files that were read, absolute and sorted
	Sought []string // places besides them where something may appear or turn that the code needs
	Took   time.Duration

	Python string // the interpreter that the code needs, in development; "" for other languages
}

// Build makes a source ready to run. It writes nothing into the user's folder, and
// inspects it anew each time, so that a source may be rebuilt as its files change.
//
// Errors: Invalid for what the user can fix, with the compiler's text as a
// mayfly.Trace, its paths relative to the code's folder; Unavailable if a tool is not
// installed. With an error only Inputs and Sought are set: a change there is a reason to
// retry. The folders are removed.
func Build(ctx context.Context, s Source, o BuildOptions) (built Built, err error) {
	started := time.Now()
	b, err := newBuilder(s, o)
	if err == nil {
		built, err = b.finish(ctx)
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = mayfly.Errorf(mayfly.Unavailable, "disk full: %w", err).WithHint("free some space below %s", o.Folder)
	}
	if err != nil {
		return Built{Inputs: built.Inputs, Sought: built.Sought}, fmt.Errorf("build %s: %w", s.Name, err)
	}
	built.Took = time.Since(started)
	return built, nil
}

// A builder is one build.
type builder struct {
	Source
	BuildOptions

	made    []string          // all folders, removed if the build fails
	scratch []string          // those of them that are removed in any case
	copies  []replica         // folders that stand in for the user's
	folders map[string]string // output by platform
	engine  mayfly.Engine
	start   []string
	inputs  []string
	sought  []string

	interpreter string // of Python code in development
}

func newBuilder(s Source, o BuildOptions) (b *builder, err error) {
	for _, folder := range []*string{&o.Folder, &o.Cache} {
		if *folder == "" { // it would be the current folder
			return nil, mayfly.Errorf(mayfly.Internal, "build needs a folder for output and one for the cache")
		}
		if *folder, err = filepath.Abs(*folder); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(*folder, 0o700); err != nil {
			return nil, err
		}
		if *folder, err = filepath.EvalSymlinks(*folder); err != nil { // as compilers name files
			return nil, err
		}
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Installs == nil {
		o.Installs = &Installs{}
	}
	if o.Idle == nil {
		o.Idle = func(wait func()) { wait() }
	}
	b = &builder{Source: s, BuildOptions: o, folders: map[string]string{}}
	b.ignored, err = readRules(s.Code)
	return b, err
}

// finish builds and describes the result. With an error only Inputs and Sought are set.
func (b *builder) finish(ctx context.Context) (built Built, err error) {
	defer func() { err = errors.Join(err, b.clean(err != nil)) }()
	if b.Build != "" || len(b.Start) > 0 {
		err = b.custom(ctx)
	} else {
		err = b.detected(ctx, b.Code)
	}
	if err == nil {
		built, err = b.result()
	}
	for i, place := range b.sought {
		b.sought[i] = b.original(place)
	}
	built.Python = b.interpreter
	built.Inputs, built.Sought = b.list(b.inputs), b.list(b.sought)
	return built, err
}

// list sorts paths, and leaves out those in the cache, where nothing changes: what has just
// been installed is no reason to build again.
func (b *builder) list(paths []string) []string {
	paths = slices.DeleteFunc(slices.Clone(paths), func(path string) bool {
		_, inside := below(b.Cache, path)
		return inside
	})
	slices.Sort(paths)
	return slices.Compact(paths)
}

// detected builds the code at a path as what it is found to be.
func (b *builder) detected(ctx context.Context, code string) error {
	if traits[b.Engine].files {
		return b.static(ctx, code)
	}
	f, err := detect(code)
	if err != nil {
		return err
	}
	return b.language(ctx, f)
}

// custom uses the user's own commands to build and start.
func (b *builder) custom(ctx context.Context) error {
	info, err := os.Stat(b.Code)
	if err != nil {
		return unreadable(b.Code, err)
	}
	work, err := b.folder(b.Name)
	if err != nil {
		return err
	}
	if b.inputs, err = b.copyCode(ctx, info.IsDir(), work); err != nil {
		return err
	}
	if b.Build != "" {
		b.Progress("building " + b.Name + " with " + b.Build)
		if err := b.run(ctx, command{dir: work, failed: "the build of " + b.Name + " failed"}, "sh", "-c", b.Build); err != nil {
			return err
		}
	}
	if len(b.Start) > 0 {
		b.use(work, engineHTTP, b.Start)
		return nil
	}
	b.scratch = append(b.scratch, work)
	code, from := work, b.Code
	if !info.IsDir() {
		code, from = filepath.Join(work, filepath.Base(b.Code)), filepath.Dir(b.Code)
	}
	b.copies = append(b.copies, replica{work, from})
	inputs := b.inputs
	err = b.detected(ctx, code)
	b.inputs = inputs // all that was copied, and nothing that the command made
	return err
}

// copyCode copies the code as it is, with what npm installed: a command may need any of
// it.
func (b *builder) copyCode(ctx context.Context, folder bool, to string) ([]string, error) {
	if folder {
		return copyTree(ctx, b.Code, to, b.ignored.without("node_modules/").matchOne)
	}
	return []string{b.Code}, copyFile(b.Code, filepath.Join(to, filepath.Base(b.Code)))
}

// language builds what detect found.
func (b *builder) language(ctx context.Context, f found) error {
	if traits[f.engine].speaksNATS && b.Unit.Kind == mayfly.KindFunction && b.Engine == "" {
		return mayfly.Errorf(mayfly.Invalid, "%s speaks NATS itself (it imports nats.go and not net/http), so it is a service", b.Name).
			WithHint("move it to services:, or set engine: http if it does serve HTTP")
	}
	var short bool
	var err error
	switch f.language {
	case javaScript:
		short, err = b.javaScript(ctx, f)
	case python:
		short, err = b.python(ctx, f)
	case golang:
		short, err = b.golang(ctx, f)
	case files:
		err = b.static(ctx, f.folder)
	default:
		err = b.script(ctx, f)
	}
	if err != nil || !short || traits[b.engine].handlers {
		return err
	}
	if b.Unit.Kind == mayfly.KindService {
		return mayfly.Errorf(mayfly.Invalid, "%s has an HTTP handler, so it is a function, not a service", b.Name).WithHint("move it to functions:")
	}
	return mayfly.Errorf(mayfly.Invalid, "%s has a handler, which engine %s cannot call", b.Name, b.engine).WithHint("remove engine")
}

// folder makes a new folder for output.
func (b *builder) folder(name string) (string, error) {
	folder, err := os.MkdirTemp(b.Folder, name+"-")
	if err != nil {
		return "", err
	}
	b.made = append(b.made, folder)
	return folder, os.Chmod(folder, 0o755)
}

// A replica is a folder that stands in for another during the build.
type replica struct{ folder, of string }

// original returns where the user has what the build finds at a path.
func (b *builder) original(path string) string {
	for _, r := range slices.Backward(b.copies) { // one may be of another
		if name, inside := below(r.folder, path); inside || path == r.folder {
			path = filepath.Join(r.of, name)
		}
	}
	return path
}

// isScratch reports whether a path is gone when the build has ended.
func (b *builder) isScratch(path string) bool {
	return slices.ContainsFunc(b.scratch, func(gone string) bool {
		_, inside := below(gone, path)
		return inside || path == gone
	})
}

// traced returns the path that traces in development name for a file that the build reads, or
// "" for one that only the build has.
func (b *builder) traced(file string) string {
	if !b.isScratch(file) {
		return file
	}
	if file = b.original(file); b.isScratch(file) {
		return ""
	}
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return file
}

// interpreterOf returns how to start node or python3 on this machine for code in a folder.
func (b *builder) interpreterOf(name, folder string) string {
	start, sought := shim.Interpreter(name, b.original(folder))
	b.sought = append(b.sought, sought...)
	return start
}

// use makes a folder the output for the platforms that its files run on.
func (b *builder) use(folder string, engine mayfly.Engine, start []string) {
	b.useFor("", folder, engine, start)
}

// useFor is use for output that was made for a platform. The engine is the
// detected one, unless the manifest names another.
func (b *builder) useFor(platform, folder string, engine mayfly.Engine, start []string) {
	b.engine, b.start = engine, start
	if b.Engine != "" {
		b.engine = b.Engine
	}
	b.folders[platform] = folder
}

// clean removes what is not needed after the build.
func (b *builder) clean(failed bool) error {
	gone := b.scratch
	if failed {
		gone = b.made
	}
	var errs []error
	for _, folder := range gone {
		errs = append(errs, os.RemoveAll(folder))
	}
	return errors.Join(errs...)
}
