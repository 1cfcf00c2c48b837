package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A contestant is one thing to measure: an address, a path that echoes, and its
// processes.
type contestant struct {
	name      string
	addr      string
	path      string
	events    string   // a path that streams events; may be empty
	door      *process // the one that the driver calls
	processes []*process
	mallocs   func() (uint64, error) // heap allocations of the door so far; nil if unknown
}

// makers has every contestant.
var makers = map[string]maker{
	"plain":    func(ctx context.Context, p place) (*contestant, error) { return p.roles(ctx, 0) },
	"article":  startArticle,
	"embedded": startEmbedded,
	"external": startExternal,

	"function-go":      startGo,
	"function-node":    functionOf("worker.mjs"),
	"function-python":  functionOf("echo.py"),
	"function-fastapi": startFastAPI,

	"proxies-go":    func(ctx context.Context, p place) (*contestant, error) { return p.roles(ctx, 2) },
	"server-node":   script("node", "server.mjs"),
	"proxy-node":    startProxyNode,
	"server-python": script("python3", "server.py"),
	"tuned-python":  script("python3", "tuned.py"),
	"uvicorn":       uvicorn(),
	"pure-uvicorn":  uvicorn("--loop", "asyncio", "--http", "h11"),

	"workerd":             startWorkerd,
	"bun":                 startBun,
	"deno":                startDeno,
	"functions-framework": startFramework,
}

// groups expands the names of groups to their contestants, each once.
func groups(names []string) (all []string) {
	for _, name := range names {
		members := []string{name}
		switch name {
		case "gateway":
			members = []string{"plain", "article", "embedded", "external"}
		case "functions":
			members = []string{
				"function-go", "plain", "proxies-go", "function-node", "server-node", "proxy-node",
				"function-python", "server-python", "tuned-python", "function-fastapi", "uvicorn", "pure-uvicorn",
			}
		case "peers":
			members = []string{"function-node", "server-node", "workerd", "bun", "deno", "functions-framework"}
		case "goals":
			members = contestantsOfGoals()
		}
		for _, member := range members {
			if !slices.Contains(all, member) {
				all = append(all, member)
			}
		}
	}
	return all
}

// buildMayfly builds the mayfly of this checkout into a folder.
func buildMayfly(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "mayfly")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/mayfly-run/mayfly/cmd/mayfly").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build mayfly: %w\n%s", err, out)
	}
	return binary, nil
}

// roles is net/http that echoes, behind as many reverse proxies.
func (p place) roles(ctx context.Context, proxies int) (*contestant, error) {
	door, err := p.role(ctx, "plain")
	if err != nil {
		return nil, err
	}
	all := []*process{door}
	for range proxies {
		if door, err = p.role(ctx, "proxy", door.line); err != nil {
			return nil, err
		}
		all = append(all, door)
	}
	return newServer(door, all...), nil
}

// newServer returns a contestant whose door is one of our own roles.
func newServer(door *process, all ...*process) *contestant {
	return &contestant{addr: door.line, path: "/", door: door, processes: all, mallocs: expvarMallocs(door.line)}
}

func startArticle(ctx context.Context, p place) (*contestant, error) {
	nats, err := p.role(ctx, "nats", p.dir)
	if err != nil {
		return nil, err
	}
	service, err := p.role(ctx, "service", nats.line)
	if err != nil {
		return nil, err
	}
	api, err := p.role(ctx, "article", nats.line)
	if err != nil {
		return nil, err
	}
	return newServer(api, nats, service, api), nil
}

// startEmbedded starts mayfly up with its defaults, and the echo service behind it.
func startEmbedded(ctx context.Context, p place) (*contestant, error) {
	return startGateway(ctx, p, "")
}

func startExternal(ctx context.Context, p place) (*contestant, error) {
	nats, err := p.role(ctx, "nats", filepath.Join(p.dir, "nats"))
	if err != nil {
		return nil, err
	}
	c, err := startGateway(ctx, p, nats.line)
	if err == nil {
		c.processes = append(c.processes, nats)
	}
	return c, err
}

// startGateway starts a node and the echo service. nats is the address of an existing
// server, or "" for the embedded one.
func startGateway(ctx context.Context, p place, nats string) (*contestant, error) {
	c, nats, err := p.mayflyUp(ctx, nats)
	if err != nil {
		return nil, err
	}
	service, err := p.role(ctx, "service", nats)
	if err != nil {
		return nil, err
	}
	c.path = "/svc/bench/echo"
	c.processes = append(c.processes, service)
	return c, nil
}

// A starter starts a process.
type starter func(args ...string) (*process, error)

// startNode starts mayfly up with args, on free ports. With a log in text it also prints
// its greeting, which startProcess waits for; with one in JSON it is silent.
func startNode(mayfly starter, dir, nats string, args ...string) (*contestant, string, error) {
	gateway, err1 := freeAddr()
	admin, err2 := freeAddr()
	bus, err3 := freeAddr()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, "", err
	}
	args = append([]string{"up", "--data", dir, "--gateway.addr", gateway, "--admin.addr", admin, "--gateway.expose", "*", "--log.format", "text"}, args...)
	if nats == "" {
		args = append(args, "--bus.addr", bus)
	} else {
		bus = nats
		args = append(args, "--nats", "nats://"+nats)
	}
	node, err := mayfly(args...)
	if err != nil {
		return nil, "", err
	}
	return &contestant{addr: gateway, door: node, processes: []*process{node}, mallocs: metricsMallocs("http://" + admin)}, bus, nil
}

// waitReady waits until the contestant answers a call.
func (c *contestant) waitReady(ctx context.Context) error {
	for end := time.Now().Add(2 * time.Minute); ; { // time to compile with an empty cache
		s, err := closedLoop(ctx, c, "ready", 1, time.Millisecond)
		if err == nil && s.failed == 0 {
			return nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("%s does not respond: %w", c.name, cmp.Or(err, errors.New("no echo on its path")))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// measure runs f and adds what the contestant's processes used.
func (c *contestant) measure(f func() (sample, error)) (measurement, error) {
	cpuBefore, err := c.cpu()
	if err != nil {
		return measurement{}, err
	}
	allocsBefore, err := c.allocations()
	if err != nil {
		return measurement{}, err
	}
	s, err := f()
	if err != nil {
		return measurement{}, err
	}
	if s.failed > 0 {
		return measurement{}, fmt.Errorf("%d of %d calls failed", s.failed, s.calls)
	}
	cpuAfter, err := c.cpu()
	if err != nil {
		return measurement{}, err
	}
	allocsAfter, err := c.allocations()
	if err != nil {
		return measurement{}, err
	}
	memory, err := c.door.memory()
	if err != nil {
		return measurement{}, err
	}
	calls := float64(max(s.calls, 1))
	return measurement{
		Rate: s.rate(),
		P50:  s.quantile(0.5), P99: s.quantile(0.99), P999: s.quantile(0.999),
		CPU:    (cpuAfter - cpuBefore).Seconds() / calls * 1e6,
		Allocs: float64(allocsAfter-allocsBefore) / calls,
		Memory: memory,
	}, nil
}

func (c *contestant) allocations() (uint64, error) {
	if c.mallocs == nil {
		return 0, nil
	}
	return c.mallocs()
}

// expvarMallocs queries one of our own roles.
func expvarMallocs(addr string) func() (uint64, error) {
	return func() (uint64, error) {
		var vars struct{ Mallocs uint64 }
		err := getJSON("http://"+addr+mallocsPath, &vars)
		return vars.Mallocs, err
	}
}

func getJSON(url string, into any) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// metricsMallocs queries mayfly's admin listener.
func metricsMallocs(admin string) func() (uint64, error) {
	return func() (uint64, error) {
		resp, err := http.Get(admin + "/metrics")
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "go_memstats_mallocs_total "); ok {
				v, err := strconv.ParseFloat(text, 64)
				return uint64(v), err
			}
		}
		return 0, errors.Join(lines.Err(), errors.New("no go_memstats_mallocs_total in /metrics"))
	}
}

// freeAddr returns an address that is free right now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
