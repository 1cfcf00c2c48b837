package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A stage is where contestants are started and stopped.
type stage struct {
	dir     string // all files of the run
	self    string // this program, for the roles
	mayfly  string // the binary of this checkout
	other   string // another one; may be empty
	peers   string // a folder of npm packages with peers; may be empty
	log     *os.File
	started []*process
}

// A place is one contestant's part of the stage.
type place struct {
	*stage
	dir  string // for this contestant's files
	node string // the mayfly binary to run
}

// A maker starts a contestant; errMissing says that the machine lacks what it runs.
type maker func(context.Context, place) (*contestant, error)

var errMissing = errors.New("not installed")

// otherSuffix, after the name of a contestant, means the same with the other binary.
const otherSuffix = "-other"

func openStage(ctx context.Context, other, peers string) (s *stage, err error) {
	s = &stage{other: other, peers: peers}
	if s.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "mayfly-bench"); err != nil {
		return nil, err
	}
	if s.mayfly, err = buildMayfly(ctx, s.dir); err == nil {
		s.log, err = os.Create(filepath.Join(s.dir, "log"))
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close stops what was started, the last first.
func (s *stage) close() {
	for _, p := range slices.Backward(s.started) {
		p.stop()
	}
	if s.log != nil {
		s.log.Close()
	}
	os.RemoveAll(s.dir)
}

// beside are the contestants that are also measured with another binary.
var beside = []string{"embedded", "function-go", "function-node", "function-python"}

// fill starts the contestants of names, and some also with the other binary, if there is one. Those that this machine lacks are left out.
func (s *stage) fill(ctx context.Context, names []string) (all []*contestant, err error) {
	for _, name := range groups(names) {
		pair := []string{name}
		if s.other != "" && slices.Contains(beside, name) {
			pair = append(pair, name+otherSuffix)
		}
		for _, name := range pair {
			c, err := s.open(ctx, name)
			if errors.Is(err, errMissing) {
				fmt.Fprintf(os.Stderr, "left out: %s: %v\n", name, err)
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("start %s: %w", name, err)
			}
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no contestant is left")
	}
	return all, nil
}

// open starts one contestant and waits until it responds.
func (s *stage) open(ctx context.Context, name string) (*contestant, error) {
	p := place{stage: s, dir: filepath.Join(s.dir, name), node: s.mayfly}
	base, other := strings.CutSuffix(name, otherSuffix)
	if other {
		p.node = s.other
	}
	start := makers[base]
	if start == nil || p.node == "" {
		return nil, fmt.Errorf("no contestant %q", name)
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, err
	}
	c, err := start(ctx, p)
	if err != nil {
		return nil, err
	}
	c.name = name
	return c, c.waitReady(ctx)
}

// start starts a process that prints its address first.
func (s *stage) start(ctx context.Context, stderr io.Writer, name string, args ...string) (*process, error) {
	p, err := startProcess(ctx, stderr, name, args...)
	if err == nil {
		s.started = append(s.started, p)
	}
	return p, err
}

// role starts one of our own roles.
func (s *stage) role(ctx context.Context, args ...string) (*process, error) {
	return s.start(ctx, os.Stderr, s.self, append([]string{roleArgument}, args...)...)
}

// listen starts a server that is told its port and prints nothing that we wait for.
func (p place) listen(command func(port string) *exec.Cmd) (*contestant, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(addr, ":")
	cmd := command(port)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, p.log, p.log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	server := &process{cmd: cmd, line: addr}
	p.started = append(p.started, server)
	return &contestant{addr: addr, path: "/", door: server, processes: []*process{server}}, nil
}

// mayflyUp starts a node, the access log going to a file.
func (p place) mayflyUp(ctx context.Context, nats string, args ...string) (*contestant, string, error) {
	up := func(args ...string) (*process, error) { return p.start(ctx, p.log, p.node, args...) }
	return startNode(up, filepath.Join(p.dir, "data"), nats, args...)
}
