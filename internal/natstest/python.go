package natstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/mayfly-run/mayfly/internal/config"
)

// DirectPython puts the folder of the interpreter that python3 is first in PATH, for
// the TestMain of packages whose tests start it often. Where python3 is a version
// manager's stand-in, each start takes longer than what most tests do with it.
// Without a python3 it changes nothing: the tests call Require.
func DirectPython() {
	said, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	python := strings.TrimSpace(string(said))
	if err != nil || !filepath.IsAbs(python) {
		return
	}
	path, _ := config.Lookup(config.Environ())("PATH")
	_ = os.Setenv("PATH", filepath.Dir(python)+string(filepath.ListSeparator)+path) // at worst it stays slow
}
