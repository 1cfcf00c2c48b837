package process

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
)

// openTree returns the node's own cgroup if it can be divided: it has the memory
// controller, is writable, and holds only the node. systemd's Delegate=yes and a
// container with a writable /sys/fs/cgroup provide that; a login session's cgroup,
// which root could divide too, is not ours.
func openTree(log *slog.Logger) *tree {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	folder, ok := ownCgroup(data)
	if !ok {
		return nil
	}
	t := &tree{folder: folder, node: filepath.Join(folder, "mayfly-node")}
	if !t.delegated() {
		return nil
	}
	if err := t.divide(); err != nil {
		log.Debug("cgroup not divided", "err", err)
		t.close()
		return nil
	}
	return t
}

// ownCgroup parses /proc/self/cgroup: the line of version 2 is "0::/path".
func ownCgroup(data []byte) (folder string, ok bool) {
	for line := range strings.Lines(string(data)) {
		path, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::/")
		if found && !slices.Contains(strings.Split(path, "/"), "..") {
			return filepath.Join(cgroupRoot, path), true
		}
	}
	return "", false
}

func (t *tree) delegated() bool {
	controllers, err := os.ReadFile(filepath.Join(t.folder, "cgroup.controllers"))
	if err != nil || !slices.Contains(strings.Fields(string(controllers)), "memory") {
		return false
	}
	procs, err := os.ReadFile(filepath.Join(t.folder, "cgroup.procs"))
	return err == nil && strings.TrimSpace(string(procs)) == strconv.Itoa(os.Getpid())
}

func (t *tree) divide() error {
	if err := os.Mkdir(t.node, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	if err := put(t.node, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	return put(t.folder, "cgroup.subtree_control", "+memory")
}

// close restores the cgroup for its next user.
func (t *tree) close() {
	if t == nil {
		return
	}
	_ = put(t.folder, "cgroup.subtree_control", "-memory")
	_ = put(t.folder, "cgroup.procs", strconv.Itoa(os.Getpid()))
	_ = os.Remove(t.node)
}

// cell creates the cgroup of one process.
func (t *tree) cell(memory int64) (*cell, error) {
	if t == nil {
		return nil, nil
	}
	c := &cell{folder: filepath.Join(t.folder, fmt.Sprintf("mayfly-%d-%d", os.Getpid(), t.count.Add(1)))}
	err := os.Mkdir(c.folder, 0o755)
	if err == nil && memory > 0 {
		_ = put(c.folder, "memory.swap.max", "0")  // the file is missing without swap
		_ = put(c.folder, "memory.oom.group", "1") // older kernels kill only one process
		err = put(c.folder, "memory.max", strconv.FormatInt(memory, 10))
	}
	if err == nil {
		c.dir, err = os.Open(c.folder)
	}
	if err != nil {
		c.remove()
		return nil, mayfly.Errorf(mayfly.Unavailable, "cannot create a cgroup for a process: %w", err)
	}
	return c, nil
}

// kill sends SIGKILL to all its processes. It returns false if it cannot.
func (c *cell) kill() bool {
	return c != nil && put(c.folder, "cgroup.kill", "1") == nil
}

// end kills all its processes and waits until it is empty.
func (c *cell) end() bool {
	deadline := time.Now().Add(killPatience)
	for rest := time.Millisecond; c.kill(); rest = min(2*rest, 50*time.Millisecond) {
		events, err := os.ReadFile(filepath.Join(c.folder, "cgroup.events"))
		if err != nil || value(events, "populated") == 0 || time.Now().After(deadline) {
			return true
		}
		time.Sleep(rest)
	}
	return false
}

// ranDry reports whether the kernel killed one of its processes for memory.
func (c *cell) ranDry() bool {
	if c == nil {
		return false
	}
	events, err := os.ReadFile(filepath.Join(c.folder, "memory.events"))
	return err == nil && value(events, "oom_kill") > 0
}

func (c *cell) remove() {
	if c == nil {
		return
	}
	if c.dir != nil {
		c.dir.Close()
	}
	_ = os.Remove(c.folder)
}

func put(folder, file, text string) error {
	f, err := os.OpenFile(filepath.Join(folder, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// value reads a number from a file of lines such as "oom_kill 1".
func value(data []byte, key string) int64 {
	for line := range bytes.Lines(data) {
		if fields := strings.Fields(string(line)); len(fields) == 2 && fields[0] == key {
			n, _ := strconv.ParseInt(fields[1], 10, 64) // the kernel writes numbers
			return n
		}
	}
	return 0
}
