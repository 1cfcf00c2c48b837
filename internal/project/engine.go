package project

import "github.com/mayfly-run/mayfly"

// The engines that code may be made for. This is the only file of the package that
// names engines of Mayfly; others ask for their traits.
const (
	engineHTTP    = mayfly.EngineHTTP
	engineExec    = mayfly.EngineExec
	engineService = mayfly.EngineService
	engineStatic  = mayfly.EngineStatic
)

// A trait is what the manifest and the build must know of an engine.
type trait struct {
	handlers    bool // calls a handler in the code, through a shim
	speaksNATS  bool // its program does, so that it is a service
	files       bool // serves the code itself: nothing is built or started
	cgi         bool // the program may write a CGI response
	concurrency int  // calls that an instance handles at once, whatever the manifest says; 0 if that counts
}

var traits = map[mayfly.Engine]trait{
	engineHTTP:    {handlers: true},
	engineExec:    {cgi: true, concurrency: 1},
	engineService: {speaksNATS: true},
	engineStatic:  {files: true, concurrency: maxConcurrency}, // a call costs no process
}

// engines are those that a manifest may name.
var engines = []string{string(engineHTTP), string(engineExec), string(engineStatic)}
