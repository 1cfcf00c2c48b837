package process

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/mayfly-run/mayfly"
)

// A Spec describes a process.
type Spec struct {
	Args   []string // the program, looked up in the PATH of Env, and its arguments
	Folder string   // working directory; the node's if empty
	Env    []string // NAME=value: exactly this, nothing is inherited; the last entry of a name counts

	// Standard input and output. Nil is the null device. An *os.File is passed to
	// the process as it is; anything else is copied. A writer that is an io.Closer is
	// closed before Done: do not pass one for both. A failed Write closes the pipe, so
	// that the program notices.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	Files  []*os.File // further ones, from descriptor 3 on
	Memory int64      // the group's limit in bytes; 0 is no limit
	Disk   int64      // limit in bytes of what is in the TMPDIR of Env; 0 is no limit
	Yields bool       // it takes the time that other processes leave
}

// Program returns the file to run. Errors have code Invalid when Args is empty, and
// Crashed when the program is not found.
func (s Spec) Program() (string, error) {
	if len(s.Args) == 0 || s.Args[0] == "" {
		return "", mayfly.Errorf(mayfly.Invalid, "no program given").
			WithHint("set start: in mayfly.yaml")
	}
	name := s.Args[0]
	if strings.ContainsRune(name, '/') {
		path := s.within(name)
		if err := executable(path); err != nil {
			return "", notRunnable(name, err)
		}
		return path, nil
	}
	search := s.value("PATH")
	var denied error
	for _, dir := range filepath.SplitList(search) {
		if dir == "" {
			continue // not the working directory: a bundle must not replace programs by accident
		}
		path := filepath.Join(s.within(dir), name)
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			denied = err
		}
	}
	if denied != nil {
		return "", notRunnable(name, denied)
	}
	return "", mayfly.Errorf(mayfly.Crashed, "program %q not found in PATH (%s)", name, search).
		WithHint("install it, or write ./%s if it is part of the function", name)
}

// within returns a path as the process will see it from its folder.
func (s Spec) within(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	path = filepath.Join(s.Folder, path)
	if abs, err := filepath.Abs(path); err == nil {
		return abs // the process changes its folder first
	}
	return path
}

// environment returns Env with each name once, since programs differ in which of two
// they take. It is never nil, which would mean the node's environment.
func (s Spec) environment() []string {
	env := make([]string, 0, len(s.Env))
	seen := make(map[string]bool, len(s.Env))
	for _, entry := range slices.Backward(s.Env) {
		if name, _, _ := strings.Cut(entry, "="); !seen[name] {
			seen[name] = true
			env = append(env, entry)
		}
	}
	slices.Reverse(env)
	return env
}

// value returns the value of a name in Env.
func (s Spec) value(name string) string {
	_, value, _ := strings.Cut(s.entry(name), "=")
	return value
}

func (s Spec) entry(name string) string {
	for i := len(s.Env) - 1; i >= 0; i-- {
		if strings.HasPrefix(s.Env[i], name+"=") {
			return s.Env[i]
		}
	}
	return ""
}

// mark returns the entry of Env that identifies descendants: the call's if there is
// one, else the instance's.
func (s Spec) mark() string {
	for _, name := range []string{mayfly.EnvCall, mayfly.EnvInstance} {
		mark := s.entry(name)
		if len(mark) > len(name)+1 && len(mark) < maxEntry && !strings.ContainsAny(mark, "\n\x00") {
			return mark
		}
	}
	return ""
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return syscall.EISDIR
	case info.Mode()&0o111 == 0:
		return fs.ErrPermission
	default:
		return nil
	}
}

func notRunnable(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return mayfly.Errorf(mayfly.Crashed, "program %s does not exist", name).
			WithHint("check start: in mayfly.yaml; paths are relative to the function's folder")
	case errors.Is(err, syscall.EISDIR):
		return mayfly.Errorf(mayfly.Crashed, "%s is a folder, not a program", name).
			WithHint("name the file in it that starts the function")
	case errors.Is(err, fs.ErrPermission):
		return mayfly.Errorf(mayfly.Crashed, "%s is not executable", name).
			WithHint("run: chmod +x %s", name)
	default:
		return mayfly.Errorf(mayfly.Crashed, "cannot run %s: %w", name, err)
	}
}

// explain turns a failed start into one of our errors.
func explain(err error, s Spec, program string) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		if _, gone := os.Stat(s.Folder); s.Folder != "" && gone != nil {
			return mayfly.Errorf(mayfly.Internal, "folder %s does not exist", s.Folder)
		}
		if namesInterpreterWithCR(s, program) {
			return mayfly.Errorf(mayfly.Crashed, "the first line of %s ends in CR LF, not LF", s.Args[0]).
				WithHint("save it with Unix line endings, for example by sed -i 's/\\r$//' %s", s.Args[0])
		}
		return mayfly.Errorf(mayfly.Crashed, "%s needs an interpreter that is not installed", s.Args[0]).
			WithHint("install the program named in its first line (#!), or the loader it was linked for")
	case errors.Is(err, syscall.ENOEXEC):
		return mayfly.Errorf(mayfly.Crashed, "%s is not a program for this system", s.Args[0]).
			WithHint("start a script with #!/bin/sh; build binaries for %s", mayfly.Platform())
	case errors.Is(err, syscall.E2BIG):
		return mayfly.Errorf(mayfly.Invalid, "arguments and environment are too large for a process").
			WithHint("send large values in the body, not in headers or the query")
	case errors.Is(err, fs.ErrPermission):
		return notRunnable(program, fs.ErrPermission)
	case errors.Is(err, syscall.EINVAL):
		return mayfly.Errorf(mayfly.Invalid, "arguments or environment contain a NUL byte")
	default:
		return unavailable(err)
	}
}

func unavailable(err error) error {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		err = e
	}
	return mayfly.Errorf(mayfly.Unavailable, "cannot start a process: %w", err).
		WithHint("too many processes or open files? check ulimit -u and ulimit -n")
}

// namesInterpreterWithCR reports whether a program is a script with Windows line ends.
func namesInterpreterWithCR(s Spec, program string) bool {
	if !filepath.IsAbs(program) {
		program = filepath.Join(s.Folder, program)
	}
	file, err := os.Open(program)
	if err != nil {
		return false
	}
	defer file.Close()
	head := make([]byte, 256) // Linux reads no more
	n, _ := io.ReadFull(file, head)
	line, _, found := strings.Cut(string(head[:n]), "\n")
	return found && strings.HasPrefix(line, "#!") && strings.HasSuffix(line, "\r")
}
