//go:build unix

package conformance

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/process"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/runner/exec"
	httpengine "github.com/mayfly-run/mayfly/internal/runner/http"
	"github.com/mayfly-run/mayfly/internal/runner/service"
)

// fixtures are the programs of an engine, and how it differs.
type fixtures struct {
	// program acts by the path of a call:
	//
	//	/echo     replies the body
	//	/where    replies method, path and query of the request, each on a line
	//	/header   replies the value of the request's header X-Ask
	//	/reply    replies status 201 with the header X-Fixture: yes and the body "made"
	//	/nothing  replies no body
	//	/env      replies its environment, NAME=value, each ended by a zero byte
	//	/big      replies 8 MiB of the letter x
	//	/say      writes the line "to stderr" to stderr, "to stdout" to stdout unless
	//	          stdout is the reply, and replies "said"
	//	/deaf     replies "deaf" without reading the body
	//	/duplex   replies "first\n" at once, then the body as it arrives
	//	/endless  opens the pipe, writes "open\n" to it, replies the letter x
	//	          endlessly, and closes the pipe when it no longer can
	//	/hang     opens the pipe, writes "open\n" to it, and closes it without a
	//	          reply when the call is canceled
	//	/crash    writes "last words" to stderr and exits with status 3
	//	/child    starts a process that ignores SIGTERM and outlives the call, with the
	//	          pipe open, in its own session; replies "born"
	//
	// An uncalled program instead writes its environment to
	// stdout, one entry per line, then "to stderr" to stderr, starts what /child starts if
	// PIPE is set, writes "ready" to stdout, and exits with status 0 on SIGTERM; or, if
	// CRASH is set, with status 3 after "last words" on stderr.
	program mayfly.Program

	// broken exits before its first call. Start's error has brokenSays in its message
	// or trace.
	broken     mayfly.Program
	brokenSays string

	// silent opens the pipe, writes "open\n" to it and never becomes ready. It is empty
	// if the engine starts nothing before a call.
	silent  mayfly.Program
	patient runner.Engine // for broken and silent, if the engine takes programs to be ready after a while

	uncalled bool // the program answers on the bus itself; Call fails

	adds []string // variables that the engine adds; "HTTP_*" matches all with that prefix
	raw  bool     // replies have no status and no headers
}

func TestEnginesConform(t *testing.T) {
	t.Parallel()
	keeper := openKeeper(t)
	sockets, err := os.MkdirTemp("", "sockets") // t.TempDir's path may be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	web, err := httpengine.New(httpengine.Options{Keeper: keeper, Folder: filepath.Join(sockets, "s")})
	if err != nil {
		t.Fatal(err)
	}
	listening := func(name string) fixtures {
		return fixtures{
			program: program(name), broken: program("broken"), brokenSays: "last words", silent: program("silent"),
			adds: []string{mayfly.EnvLink, mayfly.EnvSocket, "PORT"},
		}
	}
	running := func(name string, cgi bool) fixtures {
		return fixtures{
			program: mayfly.Program{Start: program(name).Start, CGI: cgi}, raw: !cgi,
			broken: mayfly.Program{Start: []string{"/dev"}}, brokenSays: "/dev is a folder",
			adds: []string{
				"GATEWAY_INTERFACE", "SERVER_*", "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REMOTE_ADDR", "REMOTE_PORT",
				"CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_*", "MAYFLY_CALL", "MAYFLY_DEADLINE", "MAYFLY_PARAM_*",
			},
		}
	}
	for _, tt := range []struct {
		name   string
		engine runner.Engine
		fixtures
	}{
		{"http by frames", web, listening("link")},
		{"http on its socket", web, listening("socket")},
		{"http on its port", web, listening("port")},
		{"exec", exec.New(exec.Options{Keeper: keeper}), running("script", false)},
		{"exec with CGI", exec.New(exec.Options{Keeper: keeper}), running("cgi", true)},
		{"service", service.New(service.Options{Keeper: keeper}), fixtures{
			uncalled: true, program: program("service"), broken: program("broken"), brokenSays: "last words",
			silent: program("silent"), patient: service.New(service.Options{Keeper: keeper, Grace: time.Hour}),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &suite{Traits: tt.engine.Traits(), engine: tt.engine, fixtures: tt.fixtures}
			s.run(t)
		})
	}
}

func openKeeper(t *testing.T) *process.Keeper {
	t.Helper()
	k, err := process.Open(t.Context(), process.Options{Reaper: program("reaper").Start})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}
