package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
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
	door      *process // the one that the driver calls
	processes []*process
	mallocs   func() (uint64, error) // heap allocations of the door so far; nil if unknown
}

// startAll starts the wanted contestants and returns a function to stop them.
func startAll(ctx context.Context, only []string, other string) (_ []*contestant, stop func(), err error) {
	var started []*process
	dir, err := os.MkdirTemp("", "mayfly-bench")
	if err != nil {
		return nil, nil, err
	}
	stopAll := func() {
		for i := len(started) - 1; i >= 0; i-- {
			started[i].stop()
		}
		os.RemoveAll(dir)
	}
	defer func() {
		if err != nil {
			stopAll()
		}
	}()
	start := func(stderr io.Writer, name string, args ...string) (*process, error) {
		p, err := startProcess(ctx, stderr, name, args...)
		if err == nil {
			started = append(started, p)
		}
		return p, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	role := func(args ...string) (*process, error) {
		return start(os.Stderr, self, append([]string{roleArgument}, args...)...)
	}
	binary, err := buildMayfly(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	accessLog, err := os.Create(filepath.Join(dir, "mayfly.log"))
	if err != nil {
		return nil, nil, err
	}
	mayfly := func(args ...string) (*process, error) { return start(accessLog, binary, args...) }
	otherMayfly := func(args ...string) (*process, error) { return start(accessLog, other, args...) }

	makers := map[string]func() (*contestant, error){
		"plain": func() (*contestant, error) {
			p, err := role("plain")
			if err != nil {
				return nil, err
			}
			return &contestant{name: "plain", addr: p.line, path: "/", door: p, processes: []*process{p}, mallocs: expvarMallocs(p.line)}, nil
		},
		"article": func() (*contestant, error) {
			nats, err := role("nats", filepath.Join(dir, "article"))
			if err != nil {
				return nil, err
			}
			service, err := role("service", nats.line)
			if err != nil {
				return nil, err
			}
			api, err := role("article", nats.line)
			if err != nil {
				return nil, err
			}
			return &contestant{name: "article", addr: api.line, path: "/", door: api, processes: []*process{nats, service, api}, mallocs: expvarMallocs(api.line)}, nil
		},
		"embedded": func() (*contestant, error) {
			return startMayfly(ctx, mayfly, role, filepath.Join(dir, "embedded"), "")
		},
		"other": func() (*contestant, error) {
			c, err := startMayfly(ctx, otherMayfly, role, filepath.Join(dir, "other"), "")
			if err == nil {
				c.name = "other"
			}
			return c, err
		},
		"external": func() (*contestant, error) {
			nats, err := role("nats", filepath.Join(dir, "external"))
			if err != nil {
				return nil, err
			}
			c, err := startMayfly(ctx, mayfly, role, filepath.Join(dir, "gateway"), nats.line)
			if err != nil {
				return nil, err
			}
			c.name = "external"
			c.processes = append(c.processes, nats)
			return c, nil
		},
	}
	for name, maker := range functionMakers(ctx, filepath.Join(dir, "functions"), accessLog, start, role, mayfly, otherMayfly) {
		makers[name] = maker
	}
	if len(only) == 0 {
		only = []string{"gateway"}
	}
	only = groups(only)
	if other != "" {
		if slices.Contains(only, "function-go") {
			only = append(only, "function-other")
		}
		if slices.Contains(only, "embedded") {
			only = append(only, "other")
		}
	}
	var contestants []*contestant
	for _, name := range only {
		maker := makers[name]
		if maker == nil {
			return nil, nil, fmt.Errorf("no contestant %q", name)
		}
		c, err := maker()
		if err != nil {
			return nil, nil, fmt.Errorf("start %s: %w", name, err)
		}
		contestants = append(contestants, c)
	}
	return contestants, stopAll, nil
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

// A starter starts a process and returns when it has printed its first line.
type starter func(args ...string) (*process, error)

// startMayfly starts mayfly up with its defaults, the access log going to a file, and
// the echo service behind it. nats is the address of an existing server, or "" for the
// embedded one.
func startMayfly(ctx context.Context, mayfly, role starter, dir, nats string) (*contestant, error) {
	c, nats, err := startNode(mayfly, dir, nats)
	if err != nil {
		return nil, err
	}
	service, err := role("service", nats)
	if err != nil {
		return nil, err
	}
	c.name, c.path = "embedded", "/svc/bench/echo"
	c.processes = append(c.processes, service)
	return c, c.waitReady(ctx)
}

// startNode starts mayfly up with args, on free ports. With a log in text it also prints
// its greeting, which startProcess waits for.
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
