package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
)

// groups expands the names of groups to their contestants.
func groups(names []string) (all []string) {
	for _, name := range names {
		switch name {
		case "gateway":
			all = append(all, "plain", "article", "embedded", "external")
		case "functions":
			all = append(all, "function-go", "proxies-go", "function-node", "proxy-node", "function-python", "server-python", "tuned-python")
		default:
			all = append(all, name)
		}
	}
	return all
}

// oneInstance makes a function comparable to one process. Its concurrency is the
// default; the rest of the load waits.
const oneInstance = "instances: {max: 1}, wait: 2000"

// functionMakers returns constructors of the contestants that measure functions. Each
// has its own folder below dir; access logs go to log.
func functionMakers(
	ctx context.Context, dir string, log io.Writer, start func(stderr io.Writer, name string, args ...string) (*process, error), role, mayfly, otherMayfly starter,
) map[string]func() (*contestant, error) {
	function := func(mayfly starter, name, program string) func() (*contestant, error) {
		return func() (*contestant, error) {
			folder := filepath.Join(dir, name)
			if err := writeProject(folder, map[string]string{"echo": program}, oneInstance); err != nil {
				return nil, err
			}
			c, _, err := startNode(mayfly, filepath.Join(folder, "data"), "", folder)
			if err != nil {
				return nil, err
			}
			c.name, c.path = name, "/fn/echo"
			return c, c.waitReady(ctx)
		}
	}
	server := func(log io.Writer, interpreter, program string) (*process, error) {
		path, err := writeProgram(filepath.Join(dir, "servers"), program)
		if err != nil {
			return nil, err
		}
		return start(log, interpreter, path)
	}
	python := func(name, program string) func() (*contestant, error) {
		return func() (*contestant, error) {
			p, err := server(log, "python3", program)
			if err != nil {
				return nil, err
			}
			return &contestant{name: name, addr: p.line, path: "/", door: p, processes: []*process{p}}, nil
		}
	}
	return map[string]func() (*contestant, error){
		"function-go":     function(mayfly, "function-go", "echo.go"),
		"function-other":  function(otherMayfly, "function-other", "echo.go"),
		"function-node":   function(mayfly, "function-node", "echo.mjs"),
		"function-python": function(mayfly, "function-python", "echo.py"),
		"proxies-go": func() (*contestant, error) {
			behind, err := role("plain")
			if err != nil {
				return nil, err
			}
			watchdog, err := role("proxy", behind.line)
			if err != nil {
				return nil, err
			}
			gateway, err := role("proxy", watchdog.line)
			if err != nil {
				return nil, err
			}
			return newServer("proxies-go", gateway, watchdog, behind), nil
		},
		"proxy-node": func() (*contestant, error) {
			behind, err := server(os.Stderr, "node", "server.mjs")
			if err != nil {
				return nil, err
			}
			proxy, err := role("proxy", behind.line)
			if err != nil {
				return nil, err
			}
			return newServer("proxy-node", proxy, behind), nil
		},
		"server-python": python("server-python", "server.py"),
		"tuned-python":  python("tuned-python", "tuned.py"),
	}
}

// newServer returns a contestant made of our own roles.
func newServer(name string, door *process, behind ...*process) *contestant {
	return &contestant{
		name: name, addr: door.line, path: "/",
		door: door, processes: append(behind, door), mallocs: expvarMallocs(door.line),
	}
}
