package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is one that we started. Its first line of stdout is its address.
type process struct {
	cmd  *exec.Cmd
	line string
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
		return nil, fmt.Errorf("%s printed nothing: %w", filepath.Base(name), err)
	}
	p.line = strings.TrimSpace(line)
	go io.Copy(io.Discard, reader) // ends with the process
	return p, nil
}

// startSilent starts a process that says nothing when it is ready.
func startSilent(ctx context.Context, stderr io.Writer, name string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = stderr
	return &process{cmd: cmd}, cmd.Start()
}

// stop terminates the process and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	done := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer done.Stop()
	_ = p.cmd.Wait()
}

// memory returns the resident MiB of the process.
func (p *process) memory() (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/statm has %d fields", len(fields))
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return float64(pages) * float64(os.Getpagesize()) / (1 << 20), err
}

// cpu returns the CPU time of the contestant's processes and their descendants, from
// /proc. Exited ones do not count.
func (c *contestant) cpu() (total time.Duration, err error) {
	ours := map[int]bool{}
	for _, p := range c.processes {
		ours[p.cmd.Process.Pid] = true
	}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var all []usage
	for _, file := range files {
		u, err := readUsage(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // exited meanwhile
		}
		if err != nil {
			return 0, err
		}
		all = append(all, u)
	}
	for grown := true; grown; {
		grown = false
		for _, u := range all {
			if ours[u.parent] && !ours[u.pid] {
				ours[u.pid], grown = true, true
			}
		}
	}
	for _, u := range all {
		if ours[u.pid] {
			total += u.cpu
		}
	}
	return total, nil
}

// A usage is the CPU time of a process.
type usage struct {
	pid, parent int
	cpu         time.Duration
}

func readUsage(file string) (usage, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return usage{}, err
	}
	// The command name, in parentheses, may contain spaces.
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return usage{}, fmt.Errorf("%s has %d fields", file, len(fields))
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	pid, err1 := strconv.Atoi(filepath.Base(filepath.Dir(file)))
	parent, err2 := strconv.Atoi(fields[1])
	user, err3 := strconv.ParseInt(fields[11], 10, 64)
	system, err4 := strconv.ParseInt(fields[12], 10, 64)
	return usage{pid: pid, parent: parent, cpu: time.Duration(user+system) * tick}, errors.Join(err1, err2, err3, err4)
}
