package shim

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Interpreter returns how to start node or python3 on this machine for code in a folder:
// by its path where its name finds a version manager's stand-in, else by its name. The
// choice changes with the files in sought.
func Interpreter(name, folder string) (start string, sought []string) {
	path, err := exec.LookPath(name)
	if err != nil {
		return name, nil
	}
	real, sought := direct(path, folder)
	if real == path {
		return name, sought
	}
	return real, sought
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
// folder, or path if only the manager can tell, and the files that may choose. Reading them
// takes no time; running a manager takes longer than all else until a function's first answer.
func direct(path, folder string) (real string, sought []string) {
	root := filepath.Dir(filepath.Dir(path))
	if filepath.Base(filepath.Dir(path)) != "shims" {
		return path, nil
	}
	for _, m := range managers {
		inTerminal := func(entry string) bool { return strings.HasPrefix(entry, m.variable+"=") }
		if m.program != filepath.Base(path) || slices.ContainsFunc(new(exec.Cmd).Environ(), inTerminal) {
			continue
		}
		version, files := m.chosen(folder, root)
		sought = append(sought, files...)
		real := filepath.Join(root, m.versions, version, "bin", m.program)
		if info, err := os.Stat(real); version != "" && filepath.IsLocal(version) && err == nil && !info.IsDir() {
			return real, sought
		}
	}
	return path, sought
}

// chosen returns the version for a folder, or "", and the files that it was looked for in.
func (m manager) chosen(folder, root string) (version string, files []string) {
	for {
		files = append(files, filepath.Join(folder, m.file))
		if folder == filepath.Dir(folder) {
			break
		}
		folder = filepath.Dir(folder)
	}
	if m.key == "" {
		files = append(files, filepath.Join(root, "version"))
	} else {
		files = append(files, filepath.Join(filepath.Dir(root), m.file)) // asdf's folder is in the user's
	}
	for i, file := range files {
		if version = m.read(file); version != "" {
			return version, files[:i+1]
		}
	}
	return "", files
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
