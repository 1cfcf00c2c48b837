//go:build unix

package service_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/process"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/runner/service"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "reaper" {
		_ = process.Reap(os.Stdin)
		return
	}
	goleak.VerifyTestMain(m)
}

func newEngine(t *testing.T, o service.Options) *service.Engine {
	t.Helper()
	k, err := process.Open(t.Context(), process.Options{Reaper: []string{os.Args[0], "reaper"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	o.Keeper = k
	return service.New(o)
}

func spec(t *testing.T, command ...string) runner.Spec {
	return runner.Spec{
		Name: "Fixture", Program: mayfly.Program{Start: command}, Instance: t.Name(),
		Env: []string{"PATH=" + os.Getenv("PATH")}, Output: func(mayfly.Line) {},
	}
}

func TestServiceThatSurvivesGraceIsReady(t *testing.T) {
	t.Parallel()
	i, err := newEngine(t, service.Options{}).Start(t.Context(), spec(t, "sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	i.Stop(t.Context())
	e := newEngine(t, service.Options{Grace: time.Hour}) // so that it ends first, however busy the machine is
	if _, err := e.Start(t.Context(), spec(t, "sh", "-c", "exit 3")); mayfly.CodeOf(err) != mayfly.Crashed || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Start of a program that ends = %v", err)
	}
}

func TestServiceThatIsLateIsStopped(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	pids := make(chan int, 1)
	s := spec(t, "sh", "-c", "echo $$; exec sleep 1000")
	s.Output = func(l mayfly.Line) {
		pid, _ := strconv.Atoi(l.Text)
		pids <- pid
		cancel()
	}
	_, err := newEngine(t, service.Options{Grace: time.Hour}).Start(ctx, s)
	if mayfly.CodeOf(err) != mayfly.Crashed || !strings.Contains(err.Error(), "not ready in time") || mayfly.HintOf(err) == "" {
		t.Errorf("Start = %v (hint %q), want crashed, not ready in time, with a hint", err, mayfly.HintOf(err))
	}
	if err := syscall.Kill(<-pids, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is still there: %v", err)
	}
}
