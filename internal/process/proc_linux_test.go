package process

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestKilledNodeLeavesNoProcess(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, script string }{
		{"the program", `echo ready; exec sleep 1000`},
		{"a child", `sleep 1000 & echo ready; wait`},
		{"who ignores signals", `trap '' TERM HUP INT; sleep 1000 & echo ready; wait; wait`},
		{"an orphan", `(sleep 1000 &); echo ready; exec sleep 1000`},
		{"a grandchild in a session of its own", `setsid sh -c 'sleep 1000 & echo ready; wait' & wait`},
		{"an orphan in a session of its own", `(setsid sh -c 'setsid sleep 1000 & echo ready; wait' &); exec sleep 1000`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newPipe(t)
			node := exec.Command(os.Args[0], "node", tt.script)
			node.Stdout, node.Stderr = l.theirs, os.Stderr
			if err := node.Start(); err != nil {
				t.Fatal(err)
			}
			if got := l.word(t); got != "ready" {
				t.Errorf("the script said %q", got)
			}
			if err := node.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := node.Wait(); err == nil {
				t.Error("the node ended by itself")
			}
			l.awaitClosed(t)
		})
	}
}

// A new session and environment hide a grandchild from everything but its parent's list
// of children.
func TestKillFindsWhoLeftTheGroup(t *testing.T) {
	t.Parallel()
	k := open(t)
	for _, tt := range []struct{ name, script string }{
		{"in a session", `setsid sleep 1000 & echo ready >&3; wait`},
		{"orphaned in a session", `(setsid sleep 1000 &); echo ready >&3; exec sleep 1000`},
		{"in a session without environment", `setsid env -i "$(command -v sleep)" 1000 & echo ready >&3; wait`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newPipe(t)
			p := sh(t, k, tt.script, Spec{Files: []*os.File{l.theirs}})
			l.word(t)
			p.Kill()
			await(t, p)
			l.awaitClosed(t)
		})
	}
}

func TestLeftoversOfAProgramThatEndedAreFound(t *testing.T) {
	t.Parallel()
	k := open(t)
	l := newPipe(t)
	p := sh(t, k, `setsid sleep 1000 & exit 0`, Spec{Files: []*os.File{l.theirs}})
	if err := await(t, p); err != nil {
		t.Fatal(err)
	}
	l.awaitClosed(t)
}

// Two processes share a mark, like two calls of a client that reuses call ids: ending
// one must not end the other.
func TestOneMarkOfTwoProcessesKillsNeitherByTheOther(t *testing.T) {
	t.Parallel()
	k := open(t)
	l := newPipe(t)
	stays := sh(t, k, "echo ready >&3; exec sleep 1000", Spec{Files: []*os.File{l.theirs}})
	l.word(t)
	goes := sh(t, k, "exec sleep 1000", Spec{})
	goes.Kill()
	await(t, goes)
	await(t, sh(t, k, "exit 0", Spec{}))
	k.sweep()
	if stays.gone() {
		t.Fatalf("killed by another's end: %v", stays.Err())
	}
	stays.Kill()
	await(t, stays)
	l.awaitClosed(t)
}

func TestMemoryLimitIsKept(t *testing.T) {
	t.Parallel()
	k := open(t)
	t.Logf("limits are kept by %s", k.Limiter())
	for _, tt := range []struct {
		name, script string
		memory       int64
		dry          bool
	}{
		{"one that takes too much", `exec "$HUNGRY" hungry 200 <&0`, 64 << 20, true},
		{"two that take too much together", `exec 3<&0; "$HUNGRY" hungry 60 <&3 & exec "$HUNGRY" hungry 60`, 100 << 20, true},
		{"one that takes less", `exec "$HUNGRY" hungry 20 </dev/null`, 200 << 20, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hold, release, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer hold.Close()
			defer release.Close()
			p := sh(t, k, tt.script, Spec{Memory: tt.memory, Env: []string{"HUNGRY=" + os.Args[0]}, Stdin: hold})
			err = await(t, p)
			e, _ := errors.AsType[*ExitError](err)
			if dry := e != nil && e.Exceeded == Memory; dry != tt.dry {
				t.Fatalf("Err() = %v, want out of memory: %t", err, tt.dry)
			}
			if tt.dry && !strings.Contains(err.Error(), "out of memory, its limit is "+size(tt.memory)) {
				t.Errorf("Err() = %q", err)
			}
		})
	}
}

func TestUsageCountsTheGroup(t *testing.T) {
	t.Parallel()
	k := open(t)
	l := newPipe(t)
	hold, release, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	p := sh(t, k, `"$HUNGRY" hungry 30 >&3; exit 0`, Spec{Env: []string{"HUNGRY=" + os.Args[0]}, Stdin: hold, Files: []*os.File{l.theirs}})
	l.word(t)
	if got := p.Memory(); got < 30<<20 || got > 200<<20 {
		t.Errorf("Memory() = %d, want 30 MiB and a little", got)
	}
	release.Close()
	if err := await(t, p); err != nil {
		t.Fatal(err)
	}
	if p.Memory() != 0 || p.CPU() <= 0 || p.CPU() > patience {
		t.Errorf("after its end: Memory() = %d, CPU() = %s", p.Memory(), p.CPU())
	}
}

func TestReaperThatDiesIsReplaced(t *testing.T) {
	t.Parallel()
	l := newPipe(t)
	child := exec.Command("sleep", "1000")
	child.Env = append(os.Environ(), "MAYFLY_INSTANCE="+t.Name())
	child.ExtraFiles = []*os.File{l.theirs}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	anew := make(chan struct{})
	log := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) {
		if bytes.Contains(p, []byte("restarted")) {
			close(anew)
		}
	}), nil))
	r, err := openReaper([]string{os.Args[0], "reaper"}, log)
	if err != nil {
		t.Fatal(err)
	}
	r.hold("MAYFLY_INSTANCE=" + t.Name())
	r.mu.Lock()
	_ = r.process.Kill()
	r.mu.Unlock()
	select {
	case <-anew:
	case <-time.After(patience):
		t.Fatal("no reaper came")
	}
	r.close() // like the node's death: the entry was not released
	if err := child.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	l.awaitClosed(t)
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestReaperThatCannotStartIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.Context(), Options{Reaper: []string{"/no/such/program"}}); err == nil || !strings.Contains(err.Error(), "start the reaper") {
		t.Errorf("Open = %v", err)
	}
}

func TestOwnCgroupIsFound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, want string }{
		{"a unit of systemd", "0::/system.slice/mayfly.service\n", "/sys/fs/cgroup/system.slice/mayfly.service"},
		{"a container", "0::/\n", "/sys/fs/cgroup"},
		{"both versions", "4:memory:/a\n0::/b\n", "/sys/fs/cgroup/b"},
		{"version 1 alone", "4:memory:/a\n", ""},
		{"outside of the namespace", "0::/../../other\n", ""},
		{"nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, ok := ownCgroup([]byte(tt.file)); got != tt.want || ok != (tt.want != "") {
				t.Errorf("ownCgroup = %q, %t, want %q", got, ok, tt.want)
			}
		})
	}
}

func TestParseStatReadsHostileNames(t *testing.T) {
	t.Parallel()
	line := "42 (a) R 1 (b)) S 7 9 9 0 -1 4194560 1 2 3 4 100 50 25 25 20 0 1 0 777 1000 8 18446744073709551615 1\n"
	m, ok := parseStat([]byte(line))
	want := member{pid: 42, parent: 7, group: 9, started: 777, resident: 8 * int64(os.Getpagesize()), cpu: 2 * time.Second}
	if !ok || m != want {
		t.Errorf("parseStat = %+v, %t, want %+v", m, ok, want)
	}
}

func FuzzParseStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add([]byte("1 (x) Z"))
	f.Fuzz(func(t *testing.T, data []byte) { // no panic, and no process in garbage
		if m, ok := parseStat(data); ok && len(data) < 40 {
			t.Errorf("%q is %+v", data, m)
		}
	})
}

func TestYieldingProcessHasTheLowestPriority(t *testing.T) {
	k := open(t)
	for _, yields := range []bool{false, true} {
		var out bytes.Buffer
		p := sh(t, k, `read -r go; sh -c 'cut -d" " -f19 /proc/self/stat'`, Spec{Yields: yields, Stdin: strings.NewReader("go\n"), Stdout: &out})
		if err := await(t, p); err != nil {
			t.Fatal(err)
		}
		if lowest := out.String() == "19\n"; lowest != yields {
			t.Errorf("yields %t: its children have priority %q", yields, out.String())
		}
	}
}
