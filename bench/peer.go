package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// peerPackages are the npm packages of the peers, by the name of the program in them.
var peerPackages = map[string]string{
	"workerd":             "workerd@1.20261117.1",
	"bun":                 "bun@1.4.5",
	"deno":                "deno@2.9.6",
	"functions-framework": "@google-cloud/functions-framework@5.0.5",
}

// installPeers installs the peers that a folder lacks.
func installPeers(ctx context.Context, folder string) error {
	args := []string{"install", "--no-audit", "--no-fund", "--prefix", folder}
	asked := len(args)
	for name, pkg := range peerPackages {
		if _, err := os.Stat(peerIn(folder, name)); err != nil {
			args = append(args, pkg)
		}
	}
	if len(args) == asked {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "npm", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("install the peers: %w\n%s", err, out)
	}
	return nil
}

// peerIn returns where npm puts a program.
func peerIn(folder, name string) string { return filepath.Join(folder, "node_modules", ".bin", name) }

// peer returns the path of a peer: in the folder, or else in PATH.
func (s *stage) peer(name string) (string, error) {
	if s.peers != "" {
		path, err := filepath.Abs(peerIn(s.peers, name))
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("neither in PATH nor in a folder given with -peers: %w", errMissing)
	}
	return path, nil
}

// runPeer writes a program of the peer and starts it.
func (p place) runPeer(name, program string, command func(binary, port string) *exec.Cmd) (*contestant, error) {
	binary, err := p.peer(name)
	if err != nil {
		return nil, err
	}
	if _, err := writeProgram(p.dir, program); err != nil {
		return nil, err
	}
	return p.listen(func(port string) *exec.Cmd { return command(binary, port) })
}

func startWorkerd(ctx context.Context, p place) (*contestant, error) {
	if _, err := writeProgram(p.dir, "worker.capnp"); err != nil {
		return nil, err
	}
	return p.runPeer("workerd", "worker.mjs", func(binary, port string) *exec.Cmd {
		return exec.CommandContext(ctx, binary, "serve", "worker.capnp", "--socket-addr", "http=127.0.0.1:"+port)
	})
}

func startBun(ctx context.Context, p place) (*contestant, error) {
	return p.runPeer("bun", "worker.mjs", func(binary, port string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, binary, "worker.mjs")
		cmd.Env = append(os.Environ(), "NODE_ENV=production", "PORT="+port)
		return cmd
	})
}

func startDeno(ctx context.Context, p place) (*contestant, error) {
	return p.runPeer("deno", "worker.mjs", func(binary, port string) *exec.Cmd {
		return exec.CommandContext(ctx, binary, "serve", "--host", "127.0.0.1", "--port", port, "worker.mjs")
	})
}

// startFramework runs the same function in the form that the framework calls.
func startFramework(ctx context.Context, p place) (*contestant, error) {
	return p.runPeer("functions-framework", "framework.cjs", func(binary, port string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, binary, "--target=echo", "--source=framework.cjs")
		cmd.Env = append(os.Environ(), "NODE_ENV=production", "PORT="+port)
		return cmd
	})
}
