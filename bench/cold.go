package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// coldFunctions are started cold, each with its interpreter, how that runs an empty
// program, and how it prints its path: the one in PATH may be a wrapper script that
// picks a version first, which a function skips.
var coldFunctions = []struct {
	name, program string
	interpreter   string
	nothing       []string
	where         []string
}{
	{"sh", "echo.sh", "sh", []string{"-c", ":"}, nil},
	{"go", "echo.go", "", nil, nil},
	{"node", "echo.mjs", "node", []string{"-e", "0"}, []string{"-p", "process.execPath"}},
	{"python", "echo.py", "python3", []string{"-c", "0"}, []string{"-c", "import sys; print(sys.executable)"}},
}

// A coldResult is the duration of first calls.
type coldResult struct {
	Go     string               `json:"go"`
	CPUs   int                  `json:"cpus"`
	Starts int                  `json:"starts"`
	First  map[string]coldTimes `json:"first_byte"`       // of the first call to a stopped function
	Own    map[string]coldTimes `json:"interpreter"`      // from start to exit, with an empty program
	Over   map[string]coldTimes `json:"over_interpreter"` // difference within each round
}

// coldTimes are the median and extremes of several starts.
type coldTimes struct {
	P50 time.Duration `json:"p50_ns"`
	Min time.Duration `json:"min_ns"`
	Max time.Duration `json:"max_ns"`
}

func timesOf(all []time.Duration) coldTimes {
	slices.Sort(all)
	return coldTimes{P50: all[len(all)/2], Min: all[0], Max: all[len(all)-1]}
}

// measureCold calls functions that have stopped. Each round runs every function and
// every interpreter, one after the other; the next begins when the previous instance
// has stopped.
func measureCold(ctx context.Context, starts int) (*coldResult, error) {
	dir, err := os.MkdirTemp("", "mayfly-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary, err := buildMayfly(ctx, dir)
	if err != nil {
		return nil, err
	}
	functions, interpreters := map[string]function{}, map[string]string{}
	for _, f := range coldFunctions {
		functions[f.name], interpreters[f.name] = function{f.program, "instances: {max: 1, idle: 100ms}"}, f.interpreter
		if f.where == nil {
			continue
		}
		out, err := exec.CommandContext(ctx, f.interpreter, f.where...).Output()
		if err != nil {
			return nil, fmt.Errorf("find the path of %s: %w", f.interpreter, err)
		}
		interpreters[f.name] = strings.TrimSpace(string(out))
	}
	project := filepath.Join(dir, "project")
	if err := writeProject(project, functions); err != nil {
		return nil, err
	}
	logs, toLogs := io.Pipe()
	lives := &lives{started: map[string]int{}, stopped: map[string]int{}, news: make(chan struct{}, 1)}
	var watch sync.WaitGroup
	defer watch.Wait()
	defer toLogs.Close()
	watch.Go(func() { lives.watch(logs) })
	up := func(args ...string) (*process, error) { return startSilent(ctx, toLogs, binary, args...) }
	node, _, err := startNode(up, filepath.Join(dir, "data"), "", "--log.format", "json", project)
	if err != nil {
		return nil, err
	}
	defer node.door.stop()
	for _, f := range coldFunctions {
		c := *node
		c.name, c.path = f.name, "/fn/"+f.name
		if err := c.waitReady(ctx); err != nil {
			return nil, err
		}
	}
	if err := lives.rest(ctx); err != nil {
		return nil, err
	}

	first, own, over := map[string][]time.Duration{}, map[string][]time.Duration{}, map[string][]time.Duration{}
	for range starts {
		for _, f := range coldFunctions {
			c := *node
			c.path = "/fn/" + f.name
			before := lives.count(f.name)
			took, err := firstByte(&c)
			if err != nil {
				return nil, fmt.Errorf("call %s: %w", f.name, err)
			}
			first[f.name] = append(first[f.name], took)
			// Engine exec keeps no process after a call.
			if f.program != "echo.sh" {
				if err := lives.stop(ctx, f.name, before+1); err != nil {
					return nil, err
				}
			}
			if f.interpreter == "" {
				continue
			}
			alone, err := runOnce(ctx, interpreters[f.name], f.nothing...)
			if err != nil {
				return nil, err
			}
			own[f.name] = append(own[f.name], alone)
			over[f.name] = append(over[f.name], took-alone)
		}
	}
	r := &coldResult{
		Go: runtime.Version(), CPUs: runtime.NumCPU(), Starts: starts,
		First: map[string]coldTimes{}, Own: map[string]coldTimes{}, Over: map[string]coldTimes{},
	}
	for name := range first {
		r.First[name] = timesOf(first[name])
		if own[name] != nil {
			r.Own[name], r.Over[name] = timesOf(own[name]), timesOf(over[name])
		}
	}
	return r, nil
}

// print writes the result as a table.
func (r *coldResult) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d CPUs, %d starts each; milliseconds, medians (min to max)\n\n", r.Go, r.CPUs, r.Starts)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tfirst byte\tinterpreter alone\tdifference\t")
	cell := func(times map[string]coldTimes, name string) string {
		c, ok := times[name]
		if !ok {
			return ""
		}
		ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
		return fmt.Sprintf("%.1f (%.1f to %.1f)", ms(c.P50), ms(c.Min), ms(c.Max))
	}
	for _, f := range coldFunctions {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", f.name, cell(r.First, f.name), cell(r.Own, f.name), cell(r.Over, f.name))
	}
	_ = t.Flush() // stdout
}

// firstByte makes a call on a new connection and returns the time from before the
// connection to the first byte of the reply.
func firstByte(c *contestant) (time.Duration, error) {
	begun := time.Now()
	cl, err := dial(c, "hello")
	if err != nil {
		return 0, err
	}
	defer cl.conn.Close()
	if err := cl.conn.SetDeadline(begun.Add(30 * time.Second)); err != nil {
		return 0, err
	}
	if err := cl.send(); err != nil {
		return 0, err
	}
	if _, err := cl.reader.Peek(1); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	ok, err := cl.answer()
	if err == nil && !ok {
		err = errors.New("the reply is not the echo")
	}
	return took, err
}

// runOnce returns how long a program takes from start to exit, in an environment as
// bare as an instance's: if told to read extra certificates, Node.js takes longer for
// them than for its start.
func runOnce(ctx context.Context, name string, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return time.Since(begun), nil
}

// lives counts instances by a node's log.
type lives struct {
	mu               sync.Mutex
	started, stopped map[string]int // by function
	news             chan struct{}  // a change; buffer of one
}

// watch reads the log until it ends.
func (l *lives) watch(log io.Reader) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct{ Msg, Function, Source, Text string }
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Msg != "output" {
			continue // such as compiler output
		}
		if line.Source != "mayfly" {
			fmt.Fprintf(os.Stderr, "%s: %s\n", line.Function, line.Text)
			continue
		}
		l.mu.Lock()
		switch {
		case strings.HasPrefix(line.Text, "started"):
			l.started[line.Function]++
		case line.Text == "stopped":
			l.stopped[line.Function]++
		}
		l.mu.Unlock()
		select {
		case l.news <- struct{}{}:
		default:
		}
	}
	_, _ = io.Copy(io.Discard, log) // a line too long to scan must not block the node
}

// count returns how many instances of a function have stopped.
func (l *lives) count(function string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped[function]
}

// stop waits until n instances of a function have stopped.
func (l *lives) stop(ctx context.Context, function string, n int) error {
	late := time.After(30 * time.Second)
	for l.count(function) < n {
		select {
		case <-l.news:
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fmt.Errorf("no instance of %s started and stopped", function)
		}
	}
	return nil
}

// rest waits until all have stopped and the log, which lags, was quiet for a second.
func (l *lives) rest(ctx context.Context) error {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		select {
		case <-l.news:
			continue
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		l.mu.Lock()
		same := maps.Equal(l.started, l.stopped)
		l.mu.Unlock()
		if same {
			return nil
		}
	}
	return errors.New("instances did not stop")
}
