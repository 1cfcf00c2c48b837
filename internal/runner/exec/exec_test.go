//go:build unix

package exec_test

import (
	"os"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner/enginetest"
	"github.com/mayfly-run/mayfly/internal/runner/exec"
)

var adds = []string{
	"GATEWAY_INTERFACE", "SERVER_*", "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REMOTE_ADDR", "REMOTE_PORT",
	"CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_*", "MAYFLY_CALL", "MAYFLY_DEADLINE", "MAYFLY_PARAM_*",
}

func newEngine(t *testing.T) *exec.Engine {
	t.Helper()
	return exec.New(exec.Options{Keeper: enginetest.Keeper(t)})
}

func fixtures(role string) enginetest.Fixtures {
	return enginetest.Fixtures{
		Program:    mayfly.Program{Engine: mayfly.EngineExec, Start: enginetest.Program(role), CGI: role == "cgi"},
		Env:        environment(),
		Broken:     mayfly.Program{Engine: mayfly.EngineExec, Start: []string{"/dev"}},
		BrokenSays: "/dev is a folder",
		Adds:       adds,
		Raw:        role != "cgi",
		PerCall:    true,
	}
}

func TestEngineConforms(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, newEngine(t), fixtures("program"))
}

func TestEngineOfCGIConforms(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, newEngine(t), fixtures("cgi"))
}

// environment is what programs need; those made with -race are to end at once.
func environment() []string { return []string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"} }
