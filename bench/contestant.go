package main

import (
	"bufio"
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
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A contestant is what is measured: an address, a path that echoes, and the
// processes that do the work.
type contestant struct {
	name      string
	addr      string
	path      string
	processes []*process
	mallocs   func() (uint64, error) // heap allocations so far of the HTTP process; nil if it cannot tell
}

// A process is one that we started. Its output goes to stderr but for the first
// line, which says where it listens.
type process struct {
	cmd  *exec.Cmd
	line string
}

// startAll starts the contestants that are wanted and returns how to end them.
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
	binary := filepath.Join(dir, "mayfly")
	accessLog, err := os.Create(filepath.Join(dir, "mayfly.log"))
	if err != nil {
		return nil, nil, err
	}
	mayfly := func(args ...string) (*process, error) { return start(accessLog, binary, args...) }
	otherMayfly := func(args ...string) (*process, error) { return start(accessLog, other, args...) }
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/mayfly-run/mayfly/cmd/mayfly").CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("build mayfly: %w\n%s", err, out)
	}

	makers := map[string]func() (*contestant, error){
		"plain": func() (*contestant, error) {
			p, err := role("plain")
			if err != nil {
				return nil, err
			}
			return &contestant{name: "plain", addr: p.line, path: "/", processes: []*process{p}, mallocs: expvarMallocs(p.line)}, nil
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
			return &contestant{name: "article", addr: api.line, path: "/", processes: []*process{nats, service, api}, mallocs: expvarMallocs(api.line)}, nil
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
	if len(only) == 0 {
		only = []string{"plain", "article", "embedded", "external"}
	}
	if other != "" {
		only = append(only, "other")
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

// A starter starts a process and returns when it has said its first line.
type starter func(args ...string) (*process, error)

// startMayfly starts mayfly up as a user would, with everything on that is on by
// default, the access log going to a file, and the echo service behind it. nats is
// the address of an existing server, or "" for the embedded one.
func startMayfly(ctx context.Context, mayfly, role starter, dir, nats string) (*contestant, error) {
	gateway, err1 := freeAddr()
	admin, err2 := freeAddr()
	bus, err3 := freeAddr()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	args := []string{"up", "--data", dir, "--gateway.addr", gateway, "--admin.addr", admin, "--gateway.expose", "*"}
	if nats == "" {
		nats = bus
		args = append(args, "--bus.addr", bus)
	} else {
		args = append(args, "--nats", "nats://"+nats)
	}
	node, err := mayfly(args...)
	if err != nil {
		return nil, err
	}
	service, err := role("service", nats)
	if err != nil {
		return nil, err
	}
	c := &contestant{
		name: "embedded", addr: gateway, path: "/svc/bench/echo",
		processes: []*process{node, service}, mallocs: metricsMallocs("http://" + admin),
	}
	return c, c.waitReady(ctx)
}

// waitReady returns when the contestant answers a call.
func (c *contestant) waitReady(ctx context.Context) error {
	for end := time.Now().Add(10 * time.Second); ; {
		s, err := closedLoop(ctx, c, "ready", 1, time.Millisecond)
		if err == nil && s.failed == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not answer: %w", c.name, err)
		}
	}
}

func startProcess(ctx context.Context, stderr io.Writer, name string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd}
	reader := bufio.NewReader(out)
	line, err := reader.ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("%s said nothing: %w", filepath.Base(name), err)
	}
	p.line = strings.TrimSpace(line)
	go io.Copy(io.Discard, reader) // ends with the process
	return p, nil
}

// stop ends the process and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	done := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer done.Stop()
	_ = p.cmd.Wait()
}

// cpu returns the processor time that the process has used, from /proc.
func (p *process) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The command's name, in parentheses, may hold spaces.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+2:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/stat has %d fields", len(fields))
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// measure runs f and adds what the contestant's processes used meanwhile.
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
	calls := float64(max(s.calls, 1))
	return measurement{
		Rate: s.rate(),
		P50:  s.quantile(0.5), P99: s.quantile(0.99), P999: s.quantile(0.999),
		CPU:    (cpuAfter - cpuBefore).Seconds() / calls * 1e6,
		Allocs: float64(allocsAfter-allocsBefore) / calls,
	}, nil
}

func (c *contestant) cpu() (total time.Duration, err error) {
	for _, p := range c.processes {
		t, err := p.cpu()
		if err != nil {
			return 0, err
		}
		total += t
	}
	return total, nil
}

func (c *contestant) allocations() (uint64, error) {
	if c.mallocs == nil {
		return 0, nil
	}
	return c.mallocs()
}

// expvarMallocs asks one of our own roles.
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

// metricsMallocs asks mayfly's admin door.
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

// freeAddr returns an address that nobody listens on right now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
