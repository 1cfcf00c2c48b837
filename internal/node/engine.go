package node

import (
	"log/slog"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/process"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/runner/exec"
	httpengine "github.com/mayfly-run/mayfly/internal/runner/http"
	"github.com/mayfly-run/mayfly/internal/runner/service"
	"github.com/mayfly-run/mayfly/internal/runner/static"
)

// newEngines returns the table of engines, the one place where a new one is entered.
func newEngines(k *process.Keeper, sockets string, log func(part string) *slog.Logger) (map[mayfly.Engine]runner.Engine, error) {
	web, err := httpengine.New(httpengine.Options{Keeper: k, Folder: sockets, Log: log("http")})
	return map[mayfly.Engine]runner.Engine{
		mayfly.EngineHTTP:    web,
		mayfly.EngineExec:    exec.New(exec.Options{Keeper: k}),
		mayfly.EngineService: service.New(service.Options{Keeper: k}),
		mayfly.EngineStatic:  static.Engine{},
	}, err
}
