//go:build unix

package process

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
)

const patience = time.Minute // for what takes milliseconds

func open(t *testing.T) *Keeper {
	t.Helper()
	k, err := Open(t.Context(), Options{Reaper: []string{os.Args[0], "reaper"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// sh starts a script whose instance has the test's name.
func sh(t *testing.T, k *Keeper, script string, s Spec) *Process {
	t.Helper()
	s.Args = []string{"sh", "-c", script}
	s.Env = environment(append(s.Env, "MAYFLY_INSTANCE="+t.Name())...)
	p, err := k.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// await waits for the process and returns how it ended.
func await(t *testing.T, p *Process) error {
	t.Helper()
	select {
	case <-p.Done():
		return p.Err()
	case <-time.After(patience):
		t.Fatalf("process %d is not done in %s", p.PID(), patience)
		return nil
	}
}

// A pipe is one whose writing end all processes of a test hold: its other end shows when
// the last of them has exited, whoever its parent is by then.
type pipe struct{ ours, theirs *os.File }

func newPipe(t *testing.T) pipe {
	t.Helper()
	ours, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return pipe{ours, theirs}
}

// word returns the next line that a process writes to the pipe.
func (l pipe) word(t *testing.T) string {
	t.Helper()
	l.deadline(t)
	var line []byte
	for one := make([]byte, 1); ; {
		if _, err := l.ours.Read(one); err != nil {
			t.Fatalf("no line on the pipe: %v", err)
		}
		if one[0] == '\n' {
			return string(line)
		}
		line = append(line, one[0])
	}
}

func (l pipe) awaitClosed(t *testing.T) {
	t.Helper()
	l.theirs.Close()
	l.deadline(t)
	if _, err := io.Copy(io.Discard, l.ours); err != nil {
		t.Fatalf("processes are left: %v", err)
	}
}

func (l pipe) deadline(t *testing.T) {
	t.Helper()
	if err := l.ours.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
}

// A buffer is a bytes.Buffer that is safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestProcessGetsItsEnvironmentAndNothingElse(t *testing.T) {
	t.Parallel()
	k := open(t)
	for _, tt := range []struct {
		name      string
		env, want []string
	}{
		{"none", nil, []string{}},
		{"some", []string{"A=1", "B=two words", "EMPTY="}, []string{"A=1", "B=two words", "EMPTY="}},
		{"the last of a name", []string{"A=1", "B=2", "A=3"}, []string{"B=2", "A=3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			program, err := Spec{Args: []string{"env"}, Env: environment()}.Program()
			if err != nil {
				t.Fatal(err)
			}
			var out buffer
			p, err := k.Start(Spec{Args: []string{program}, Env: tt.env, Stdout: &out})
			if err != nil {
				t.Fatal(err)
			}
			if err := await(t, p); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' })); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProcessReadsAndWrites(t *testing.T) {
	t.Parallel()
	k := open(t)
	folder := t.TempDir()
	var out, faults buffer
	p := sh(t, k, "cat; pwd -P; echo oops >&2", Spec{Folder: folder, Stdin: strings.NewReader("in\n"), Stdout: &out, Stderr: &faults})
	if err := await(t, p); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "in\n"+real+"\n"; got != want {
		t.Errorf("stdout = %q, want %q", got, want)
	}
	if got := faults.String(); got != "oops\n" {
		t.Errorf("stderr = %q", got)
	}
}

func TestProcessGetsFiles(t *testing.T) {
	t.Parallel()
	l := newPipe(t)
	p := sh(t, open(t), "echo hello >&3", Spec{Files: []*os.File{l.theirs}})
	if got := l.word(t); got != "hello" {
		t.Errorf("descriptor 3 got %q", got)
	}
	if err := await(t, p); err != nil {
		t.Error(err)
	}
}

// slow delays its first bytes longer than a leftover may hold the output.
type slow struct {
	once sync.Once
	n    int
	gate <-chan struct{}
}

func (s *slow) Write(p []byte) (int, error) {
	s.once.Do(func() { <-s.gate })
	s.n += len(p)
	return len(p), nil
}

// A Closer among the outputs is closed before Done: Lines then has told the last line.
func TestLastLineNeedsNoEnd(t *testing.T) {
	t.Parallel()
	var got []string
	p := sh(t, open(t), "printf 'one\\ntwo'", Spec{Stdout: Lines(func(text string) { got = append(got, text) })})
	<-p.Done()
	if !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("lines are %q", got)
	}
}

func TestOutputIsWholeHoweverSlowItsReader(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	out := &slow{gate: gate}
	p := sh(t, open(t), "head -c 60000 /dev/zero; exit 7", Spec{Stdout: out})
	timer := time.AfterFunc(3*outputGrace, func() { close(gate) })
	defer timer.Stop()
	err := await(t, p)
	if e, ok := errors.AsType[*ExitError](err); !ok || e.Code != 7 {
		t.Errorf("Err() = %v, want exit status 7", err)
	}
	if out.n != 60000 {
		t.Errorf("%d bytes arrived, want 60000", out.n)
	}
}

func TestWriterThatFailsEndsTheProgram(t *testing.T) {
	t.Parallel()
	ours, theirs := io.Pipe()
	ours.Close()
	p := sh(t, open(t), "exec cat /dev/zero", Spec{Stdout: theirs})
	err := await(t, p)
	if e, ok := errors.AsType[*ExitError](err); !ok || e.Signal != syscall.SIGPIPE {
		t.Errorf("Err() = %v, want SIGPIPE", err)
	}
}

func TestErrSaysHowItEnded(t *testing.T) {
	t.Parallel()
	k := open(t)
	for _, tt := range []struct {
		name, script, want string
	}{
		{"success", "exit 0", ""},
		{"status", "exit 3", "exit status 3"},
		{"signal", "kill -TERM $$", "signal 15 (terminated)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := await(t, sh(t, k, tt.script, Spec{})); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("Err() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	k := open(t)
	folder := t.TempDir()
	for name, file := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"plain":    {"#!/bin/sh\n", 0o644},
		"lost":     {"#!/no/such/interpreter\n", 0o755},
		"nonsense": {"\x00\x01\x02", 0o755},
		"windows":  {"#!/bin/sh\r\necho hi\r\n", 0o755},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(file.text), file.mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		spec Spec
		code mayfly.Code
		want string
	}{
		{"nothing", Spec{}, mayfly.Invalid, "no program"},
		{"an empty name", Spec{Args: []string{""}}, mayfly.Invalid, "no program"},
		{"not in PATH", Spec{Args: []string{"no-such-program"}}, mayfly.Crashed, `"no-such-program"`},
		{"not in an empty PATH", Spec{Args: []string{"sh"}, Env: []string{"PATH="}}, mayfly.Crashed, `"sh"`},
		{"no such file", Spec{Args: []string{"./gone"}, Folder: folder}, mayfly.Crashed, "./gone"},
		{"a folder", Spec{Args: []string{folder}}, mayfly.Crashed, "is a folder"},
		{"not executable", Spec{Args: []string{"./plain"}, Folder: folder}, mayfly.Crashed, "is not executable"},
		{"not executable in PATH", Spec{Args: []string{"plain"}, Env: []string{"PATH=" + folder}}, mayfly.Crashed, "is not executable"},
		{"no interpreter", Spec{Args: []string{"./lost"}, Folder: folder}, mayfly.Crashed, "interpreter"},
		{"line ends of Windows", Spec{Args: []string{"./windows"}, Folder: folder}, mayfly.Crashed, "CR LF"},
		{"not a program for this system", Spec{Args: []string{"./nonsense"}, Folder: folder}, mayfly.Crashed, "not a program for this system"},
		{"no folder", Spec{Args: []string{"/bin/sh"}, Folder: filepath.Join(folder, "gone")}, mayfly.Internal, "folder"},
		{"a zero byte", Spec{Args: []string{"/bin/sh", "a\x00b"}}, mayfly.Invalid, "NUL byte"},
		{"a zero byte in the environment", Spec{Args: []string{"/bin/sh"}, Env: []string{"A=\x00"}}, mayfly.Invalid, "NUL byte"},
		{"a huge environment", Spec{Args: []string{"/bin/sh"}, Env: []string{"A=" + strings.Repeat("x", 32<<20)}}, mayfly.Invalid, "too large for a process"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := k.Start(tt.spec)
			if err == nil {
				p.Kill()
				t.Fatal("it started")
			}
			if mayfly.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Start: %s %q, want %s with %q", mayfly.CodeOf(err), err, tt.code, tt.want)
			}
		})
	}
	if n := len(k.all()); n != 0 {
		t.Errorf("%d processes are entered that never started", n)
	}
}

func TestStopAsksFirst(t *testing.T) {
	t.Parallel()
	l := newPipe(t)
	p := sh(t, open(t), `trap 'echo bye >&3; exit 0' TERM; echo ready >&3; while :; do sleep 0.01; done`, Spec{Files: []*os.File{l.theirs}})
	if got := l.word(t); got != "ready" {
		t.Fatalf("got %q", got)
	}
	p.Stop(t.Context())
	if err := p.Err(); err != nil {
		t.Errorf("Err() = %v, want none of a polite end", err)
	}
	if got := l.word(t); got != "bye" {
		t.Errorf("got %q", got)
	}
	l.awaitClosed(t)
	p.Stop(t.Context()) // twice is harmless
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Signal after the end = %v", err)
	}
	p.Kill()
}

func TestStopKillsWhoDoesNotListen(t *testing.T) {
	t.Parallel()
	l := newPipe(t)
	p := sh(t, open(t), `trap '' TERM; sleep 1000 & echo ready >&3; wait`, Spec{Files: []*os.File{l.theirs}})
	l.word(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	p.Stop(ctx)
	if e, ok := errors.AsType[*ExitError](p.Err()); !ok || e.Signal != syscall.SIGKILL || e.Exceeded != "" {
		t.Errorf("Err() = %v, want SIGKILL", p.Err())
	}
	l.awaitClosed(t)
}

func TestSignalReachesTheGroup(t *testing.T) {
	t.Parallel()
	l := newPipe(t)
	p := sh(t, open(t), `trap : USR1; sh -c 'trap "echo usr1 >&3; exit" USR1; echo ready >&3; while :; do sleep 0.01; done' & wait; wait`, Spec{Files: []*os.File{l.theirs}})
	l.word(t)
	if err := p.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if got := l.word(t); got != "usr1" {
		t.Errorf("the child said %q", got)
	}
	await(t, p)
}

// Processes that a program leaves in its group end with it, and do not delay its end.
func TestProgramThatForksAndExitsLeavesNothing(t *testing.T) {
	t.Parallel()
	k := open(t)
	for _, tt := range []struct{ name, script string }{
		{"with the output", "sleep 1000 3>&3 & echo started; exit 3"},
		{"without the output", "sleep 1000 >/dev/null 2>&1 & echo started; exit 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newPipe(t)
			var out buffer
			p := sh(t, k, tt.script, Spec{Stdout: &out, Stderr: &out, Files: []*os.File{l.theirs}})
			if e, ok := errors.AsType[*ExitError](await(t, p)); !ok || e.Code != 3 {
				t.Errorf("Err() = %v, want exit status 3", p.Err())
			}
			if got := out.String(); got != "started\n" {
				t.Errorf("stdout = %q", got)
			}
			l.awaitClosed(t)
		})
	}
}

func TestCloseKillsWhatIsLeft(t *testing.T) {
	t.Parallel()
	k := open(t)
	l := newPipe(t)
	for range 3 {
		sh(t, k, "sleep 1000 & echo ready >&3; wait", Spec{Files: []*os.File{l.theirs}})
		l.word(t)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	l.awaitClosed(t)
	if _, err := k.Start(Spec{Args: []string{"sh"}, Env: environment()}); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("Start after Close = %v, want unavailable", err)
	}
}

func TestDiskLimitIsKept(t *testing.T) {
	t.Parallel()
	k := open(t)
	const limit = 1 << 20
	for _, tt := range []struct {
		name, script string
		over         bool
	}{
		{"too much", `head -c 3000000 /dev/zero >"$TMPDIR/a"; exec sleep 1000`, true},
		{"too much in many files", `mkdir "$TMPDIR/b"; for i in 1 2 3 4 5 6; do head -c 300000 /dev/zero >"$TMPDIR/b/$i"; done; exec sleep 1000`, true},
		{"too many empty files", `mkdir "$TMPDIR/c"; cd "$TMPDIR/c"; seq 300 | xargs touch; exec sleep 1000`, true},
		{"too much just before the end", `head -c 3000000 /dev/zero >"$TMPDIR/a"`, true},
		{"too much far below", `mkdir -p "$TMPDIR/d/e/f"; head -c 3000000 /dev/zero >"$TMPDIR/d/e/f/a"; exec sleep 1000`, true},
		{"less", `head -c 300000 /dev/zero >"$TMPDIR/a"`, false},
		{"a large file with little in it", `dd if=/dev/zero of="$TMPDIR/a" bs=1 count=1 seek=100000000 2>/dev/null`, false},
		{"too much that is gone again", `head -c 3000000 /dev/zero >"$TMPDIR/a"; rm "$TMPDIR/a"`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := await(t, sh(t, k, tt.script, Spec{Disk: limit, Env: []string{"PATH=/usr/bin:/bin", "TMPDIR=" + t.TempDir()}}))
			e, _ := errors.AsType[*ExitError](err)
			if over := e != nil && e.Exceeded == Disk; over != tt.over || !tt.over && err != nil {
				t.Fatalf("Err() = %v, want over the limit: %t", err, tt.over)
			}
			if tt.over && err.Error() != "too much in TMPDIR, its limit is 1MiB" {
				t.Errorf("Err() = %q", err)
			}
		})
	}
}

func TestManyProcessesLeakNothing(t *testing.T) {
	k := open(t)
	files := func() int {
		k.sweep() // now, so that nothing reads /proc while we count
		names, err := os.ReadDir("/dev/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	run := func(n int) {
		var all sync.WaitGroup
		slots := make(chan struct{}, 16)
		for i := range n {
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				var out buffer
				p, err := k.Start(Spec{
					Args: []string{"cat"}, Env: environment("MAYFLY_INSTANCE=i" + strconv.Itoa(i)),
					Stdin: strings.NewReader("x"), Stdout: &out, Stderr: io.Discard,
				})
				if err != nil {
					t.Error(err)
					return
				}
				<-p.Done()
				if p.Err() != nil || out.String() != "x" {
					t.Errorf("process %d: %v, output %q", i, p.Err(), out.String())
				}
			})
		}
		all.Wait()
	}
	run(16) // what the runtime opens only once
	before := files()
	run(200)
	if after := files(); after > before {
		t.Errorf("%d files are open, %d were before", after, before)
	}
	if n := len(k.all()); n != 0 {
		t.Errorf("%d processes are still entered", n)
	}
	// goleak counts the goroutines.
}

func TestReaperEntriesAreReleased(t *testing.T) {
	t.Parallel()
	k := open(t)
	for range 5 {
		await(t, sh(t, k, "exit 0", Spec{}))
	}
	k.sweep()
	k.reaper.mu.Lock()
	defer k.reaper.mu.Unlock()
	if len(k.reaper.held) != 0 {
		t.Errorf("the reaper still holds %v", k.reaper.held)
	}
}

func TestParseLineRefusesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"", "+", "-", "+0", "+1", "+-1", "-0", "12", "+012", "+ 12", "+x", "+=x", "+A=", "+/etc/passwd", "+" + strings.Repeat("9", maxEntry)} {
		if sign, entry, ok := parseLine(line); ok {
			t.Errorf("parseLine(%.20q) = %c %q", line, sign, entry)
		}
	}
	for _, line := range []string{"+2", "-31999", "+MAYFLY_INSTANCE=i1", "-/sys/fs/cgroup/x"} {
		if sign, entry, ok := parseLine(line); !ok || string(sign)+entry != line {
			t.Errorf("parseLine(%q) = %c %q %t", line, sign, entry, ok)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	for _, seed := range []string{"+123", "-1", "+A=b", "+/sys/fs/cgroup/a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		_, entry, ok := parseLine(line)
		if !ok {
			return
		}
		if n, err := strconv.Atoi(entry); err == nil && n <= 1 {
			t.Errorf("%q would kill %d", line, n)
		}
		if !slices.Contains([]byte("+-"), line[0]) {
			t.Errorf("%q has no sign", line)
		}
	})
}
