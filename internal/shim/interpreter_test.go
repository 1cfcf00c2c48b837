package shim_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mayfly-run/mayfly/internal/shim"
)

// Not even the first build runs a version manager.
func TestInterpreterIsFoundWithoutItsManager(t *testing.T) {
	for _, variable := range []string{"PYENV_VERSION", "NODENV_VERSION", "ASDF_PYTHON_VERSION", "ASDF_NODEJS_VERSION"} {
		if _, set := os.LookupEnv(variable); set {
			t.Setenv(variable, "") // restores it
			os.Unsetenv(variable)
		}
	}
	for _, tt := range []struct{ manager, program, versions, file, line, global string }{
		{"pyenv", "python3", "versions", ".python-version", "", "version"},
		{"nodenv", "node", "versions", ".node-version", "", "version"},
		{"asdf", "python3", "installs/python", ".tool-versions", "nodejs 1.0\npython ", "../.tool-versions"},
		{"asdf", "node", "installs/nodejs", ".tool-versions", "python 1.0\n# text\nnodejs ", "../.tool-versions"},
	} {
		t.Run(tt.manager+" of "+tt.program, func(t *testing.T) {
			root, project := filepath.Join(t.TempDir(), tt.manager), t.TempDir()
			real := func(version string) string { return filepath.Join(root, tt.versions, version, "bin", tt.program) }
			for _, file := range []string{real("3.9.1"), real("3.10.2"), filepath.Join(root, "shims", tt.program)} {
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755)); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", filepath.Join(root, "shims"))
			if err := os.Mkdir(filepath.Join(project, "below"), 0o755); err != nil {
				t.Fatal(err)
			}
			for _, step := range []struct{ name, file, version, want string }{
				{"nobody has chosen", "", "", tt.program},
				{"the user's choice", filepath.Join(root, tt.global), "3.9.1", real("3.9.1")},
				{"the project's choice", filepath.Join(project, tt.file), "3.10.2", real("3.10.2")},
				{"a version that is not there", filepath.Join(project, tt.file), "3.12", tt.program},
				{"no version at all", filepath.Join(project, tt.file), "../../bin", tt.program},
			} {
				if step.file != "" {
					if err := os.WriteFile(step.file, []byte(tt.line+step.version+"\n"), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				got, sought := shim.Interpreter(tt.program, filepath.Join(project, "below"))
				if got != step.want {
					t.Errorf("%s: it is started as %s, want %s", step.name, got, step.want)
				}
				if file := filepath.Join(project, tt.file); !slices.Contains(sought, file) {
					t.Errorf("%s: it does not depend on %s but on %q", step.name, file, sought)
				}
			}
		})
	}
}

// Only the manager knows what a variable may mean besides a version.
func TestInterpreterOfATerminalIsLeftToItsManager(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{"versions/3.9.1/bin/python3", "shims/python3", "version"} {
		file = filepath.Join(root, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("3.9.1\n"), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", filepath.Join(root, "shims"))
	t.Setenv("PYENV_VERSION", "3.9.1")
	if got, _ := shim.Interpreter("python3", root); got != "python3" {
		t.Errorf("it is started as %s", got)
	}
}
