package shim_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/natstest"
)

// A long line is split, and the end that print writes by itself is still its end.
func TestPythonLogHasNoEmptyLineAfterALongOne(t *testing.T) {
	t.Parallel()
	_, missing := exec.LookPath("python3")
	natstest.Require(t, "python3", missing, "install Python 3.9 or newer")
	for _, length := range []string{"65536", "65537", "70000", "131072", "131073"} {
		cmd := exec.CommandContext(t.Context(), "python3", "-c", `import sys
from mayfly_shim.output import OUT
print("a\n" + "x" * int(sys.argv[1]), file=OUT)
print("b", file=OUT)`, length)
		cmd.Dir = "python"
		cmd.Env = append(cmd.Environ(), "PYTHONDONTWRITEBYTECODE=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		for _, line := range lines {
			if line == "" || len(line) > 131072 {
				t.Errorf("of %s characters a line has %d", length, len(line))
			}
		}
		if n := bytes.Count(out, []byte("x")); lines[0] != "a" || lines[len(lines)-1] != "b" {
			t.Errorf("of %s characters %d are there, in %d lines", length, n, len(lines))
		}
	}
}
