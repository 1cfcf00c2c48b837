//go:build unix

package service_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/runner/enginetest"
	"github.com/mayfly-run/mayfly/internal/runner/service"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	programs := map[string]func(){
		"program": play,
		"silent": func() {
			defer enginetest.OpenLeash(os.Getenv("LEASH")).Close()
			<-time.After(time.Hour)
		},
		"broken": func() { fail("no good") },
	}
	if !enginetest.Play(programs) {
		goleak.VerifyTestMain(m)
	}
}

// play is the service of the conformance suite.
func play() {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	for _, entry := range os.Environ() {
		fmt.Println(entry)
	}
	fmt.Fprintln(os.Stderr, "to stderr")
	if os.Getenv("CRASH") != "" {
		fail("last words")
	}
	if os.Getenv("LEASH") != "" {
		enginetest.StartChild(os.Getenv("LEASH"))
	}
	if dir := os.Getenv(readyDir); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(os.Getpid())), nil, 0o600); err != nil {
			fail(err)
		}
	}
	fmt.Println("ready")
	<-terms
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(3)
}

func newEngine(t *testing.T, o service.Options) *service.Engine {
	t.Helper()
	o.Keeper = enginetest.Keeper(t)
	return service.New(o)
}

func program(role string) mayfly.Program {
	return mayfly.Program{Engine: mayfly.EngineService, Start: enginetest.Program(role)}
}

// readyDir names a variable with the folder where programs that are ready leave a
// file, named by their process id. In a node the bus shows it.
const readyDir = "READY_DIR"

// ready waits until the program has left its file in dir.
func ready(dir string) func(context.Context, runner.Spec, int) error {
	return func(ctx context.Context, _ runner.Spec, pid int) error {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := os.Stat(filepath.Join(dir, strconv.Itoa(pid))); err == nil {
				return nil
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func TestEngineConforms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	enginetest.Run(t, newEngine(t, service.Options{Ready: ready(dir)}), enginetest.Fixtures{
		Program:    program("program"),
		Env:        append(environment(), readyDir+"="+dir),
		Broken:     program("broken"),
		BrokenSays: "no good",
		Silent:     program("silent"),
	})
}

func spec(t *testing.T, role string) runner.Spec {
	return runner.Spec{Name: "Fixture", Program: program(role), Instance: t.Name(), Output: func(mayfly.Line) {}}
}

func TestReadyIsWhenTheServiceAnswers(t *testing.T) {
	t.Parallel()
	var answered atomic.Bool
	e := newEngine(t, service.Options{Ready: func(_ context.Context, s runner.Spec, pid int) error {
		if s.Name != "Fixture" || syscall.Kill(pid, 0) != nil {
			t.Errorf("asked for %q with pid %d", s.Name, pid)
		}
		answered.Store(true)
		return nil
	}})
	i, err := e.Start(t.Context(), spec(t, "program"))
	if err != nil {
		t.Fatal(err)
	}
	if !answered.Load() {
		t.Error("it was ready before it answered")
	}
	i.Stop(t.Context())
}

func TestWhoLivesForGraceIsReady(t *testing.T) {
	t.Parallel()
	i, err := newEngine(t, service.Options{}).Start(t.Context(), spec(t, "program"))
	if err != nil {
		t.Fatal(err)
	}
	i.Stop(t.Context())
	e := newEngine(t, service.Options{Grace: time.Hour}) // so that it ends first, however busy the machine is
	if _, err := e.Start(t.Context(), spec(t, "broken")); mayfly.CodeOf(err) != mayfly.Crashed || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Start of a program that ends = %v", err)
	}
}

func TestServiceThatNeverAnswersIsEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	pids := make(chan int, 1)
	e := newEngine(t, service.Options{Ready: func(ctx context.Context, _ runner.Spec, pid int) error {
		pids <- pid
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}})
	_, err := e.Start(ctx, spec(t, "program"))
	if mayfly.CodeOf(err) != mayfly.Crashed || !strings.Contains(err.Error(), "not ready in time") || mayfly.HintOf(err) == "" {
		t.Errorf("Start = %v (hint %q), want crashed, not ready in time, with a hint", err, mayfly.HintOf(err))
	}
	if err := syscall.Kill(<-pids, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is still there: %v", err)
	}
}

// environment is what programs need; those made with -race are to end at once.
func environment() []string { return []string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"} }
