package project

import "github.com/mayfly-run/mayfly"

// The engines that code may be made for. This is the only file of the package that
// names engines of Mayfly.
const (
	engineHTTP    = mayfly.EngineHTTP
	engineExec    = mayfly.EngineExec
	engineService = mayfly.EngineService
	engineStatic  = mayfly.EngineStatic
)

// engines are those that a manifest may name.
var engines = []string{string(engineHTTP), string(engineExec), string(engineStatic)}
