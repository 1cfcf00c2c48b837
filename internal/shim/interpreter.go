package shim

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Interpreter returns how to start node or python3 on this machine: by its path where
// its name finds a version manager's stand-in, else by its name.
func Interpreter(name string) string {
	path, err := exec.LookPath(name)
	here, fault := os.Getwd()
	if err != nil || fault != nil {
		return name
	}
	if real := direct(path, here); real != path {
		return real
	}
	return name
}

// A manager is one that puts stand-ins for a program into a folder called shims.
type manager struct {
	program  string
	versions string // folder of the versions, beside shims
	file     string // chooses one, for a folder and those below it
	key      string // of the line in file; "" if it holds nothing else
	variable string // chooses one for a terminal
}

var managers = []manager{
	{"python3", "versions", ".python-version", "", "PYENV_VERSION"},
	{"node", "versions", ".node-version", "", "NODENV_VERSION"},
	{"python3", "installs/python", ".tool-versions", "python", "ASDF_PYTHON_VERSION"},
	{"node", "installs/nodejs", ".tool-versions", "nodejs", "ASDF_NODEJS_VERSION"},
}

// direct returns what the stand-in at path (of pyenv, nodenv or asdf) would start in
// folder, or path if only the manager can tell. Reading two files takes no time;
// running a manager takes longer than all else until a function's first answer.
func direct(path, folder string) string {
	root := filepath.Dir(filepath.Dir(path))
	if filepath.Base(filepath.Dir(path)) != "shims" {
		return path
	}
	for _, m := range managers {
		inTerminal := func(entry string) bool { return strings.HasPrefix(entry, m.variable+"=") }
		if m.program != filepath.Base(path) || slices.ContainsFunc(new(exec.Cmd).Environ(), inTerminal) {
			continue
		}
		version := m.chosen(folder, root)
		real := filepath.Join(root, m.versions, version, "bin", m.program)
		if info, err := os.Stat(real); version != "" && filepath.IsLocal(version) && err == nil && !info.IsDir() {
			return real
		}
	}
	return path
}

// chosen returns the version for a folder, or "".
func (m manager) chosen(folder, root string) string {
	for above := filepath.Dir(folder); ; folder, above = above, filepath.Dir(above) {
		if version := m.read(filepath.Join(folder, m.file)); version != "" {
			return version
		}
		if above == folder {
			break
		}
	}
	if m.key == "" {
		return m.read(filepath.Join(root, "version"))
	}
	return m.read(filepath.Join(filepath.Dir(root), m.file)) // asdf's folder is in the user's
}

// read returns the first version that a file names, or "".
func (m manager) read(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if m.key != "" && len(words) > 1 && words[0] == m.key {
			words = words[1:]
		} else if m.key != "" {
			continue
		}
		if len(words) > 0 {
			return words[0]
		}
	}
	return ""
}
