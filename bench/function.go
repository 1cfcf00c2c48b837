package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// oneInstance makes a function comparable to one process. Its concurrency is the
// default; the rest of the load waits.
const oneInstance = "instances: {max: 1}, wait: 2000"

// functionOf makes a contestant of a function in one instance.
func functionOf(program string) maker {
	return func(ctx context.Context, p place) (*contestant, error) {
		return p.functions(ctx, map[string]function{"echo": {program, oneInstance}})
	}
}

// functions starts a node that serves functions, by name and program.
func (p place) functions(ctx context.Context, functions map[string]function) (*contestant, error) {
	if err := writeProject(p.dir, functions); err != nil {
		return nil, err
	}
	c, _, err := p.mayflyUp(ctx, "", p.dir)
	if err != nil {
		return nil, err
	}
	c.path = "/fn/echo"
	return c, nil
}

// startGo has a second function, for streams.
func startGo(ctx context.Context, p place) (*contestant, error) {
	c, err := p.functions(ctx, map[string]function{
		"echo":   {"echo.go", oneInstance},
		"events": {"events.go", "instances: {max: 1}, concurrency: 10000"},
	})
	if err == nil {
		c.events = "/fn/events"
	}
	return c, err
}

// script makes a contestant of a server in one file that prints its address. What it logs per
// call goes to the log.
func script(interpreter, program string) maker {
	return func(ctx context.Context, p place) (*contestant, error) {
		server, err := p.script(ctx, interpreter, program)
		if err != nil {
			return nil, err
		}
		return &contestant{addr: server.line, path: "/", door: server, processes: []*process{server}}, nil
	}
}

func (p place) script(ctx context.Context, interpreter, program string) (*process, error) {
	path, err := writeProgram(p.dir, program)
	if err != nil {
		return nil, err
	}
	return p.start(ctx, p.log, interpreter, path)
}

func startProxyNode(ctx context.Context, p place) (*contestant, error) {
	behind, err := p.script(ctx, "node", "server.mjs")
	if err != nil {
		return nil, err
	}
	proxy, err := p.role(ctx, "proxy", behind.line)
	if err != nil {
		return nil, err
	}
	return newServer(proxy, behind, proxy), nil
}

// startFastAPI starts a node that finds the Python that has FastAPI first.
func startFastAPI(ctx context.Context, p place) (*contestant, error) {
	python, err := findFastAPI(ctx)
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(p.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return nil, err
	}
	node := fmt.Sprintf("#!/bin/sh\nPATH=%q:$PATH exec %q \"$@\"\n", filepath.Dir(python), p.node)
	p.node = filepath.Join(bin, "mayfly")
	if err := os.WriteFile(p.node, []byte(node), 0o755); err != nil {
		return nil, err
	}
	return functionOf("app.py")(ctx, p)
}

// uvicorn starts one worker, without its access log. Without further arguments it uses
// uvloop and httptools if they are installed.
func uvicorn(args ...string) maker {
	return func(ctx context.Context, p place) (*contestant, error) {
		python, err := findFastAPI(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := writeProgram(p.dir, "app.py"); err != nil {
			return nil, err
		}
		return p.listen(func(port string) *exec.Cmd {
			all := append([]string{"-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", port, "--no-access-log"}, args...)
			return exec.CommandContext(ctx, python, all...)
		})
	}
}

// findFastAPI returns a Python that has FastAPI and uvicorn: the one in PATH, or the system's
// with the packages python3-fastapi and python3-uvicorn.
func findFastAPI(ctx context.Context) (string, error) {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		out, err := exec.CommandContext(ctx, python, "-c", "import fastapi, uvicorn, sys; print(sys.executable)").Output()
		if err == nil {
			return strings.TrimSpace(string(out)), nil
		}
	}
	return "", fmt.Errorf("no python3 with fastapi and uvicorn: %w", errMissing)
}
