//go:build fire && unix

package node_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/project"
	"github.com/mayfly-run/mayfly/internal/session"
)

// The promise: of 1,000 JavaScript functions in development the one that is called first
// answers within 2 s, all have been built and started once within 90 s, and calls of another
// stay below 100 ms meanwhile.
func TestFireThousandFunctionsInDevelopment(t *testing.T) {
	_, err := exec.LookPath("node")
	natstest.Require(t, "node", err, "install Node.js")
	const functions = 1000
	folder := t.TempDir()
	manifest := "project: many\nfunctions:\n"
	for i := range functions {
		name := fmt.Sprint("f", i)
		manifest += fmt.Sprintf("  %s: {code: ./%s.js}\n", name, name)
		if err := os.WriteFile(filepath.Join(folder, name+".js"), fmt.Appendf(nil, "export default () => %q\n", name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "mayfly.yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	measured(t, func() (faults []string) {
		m := developMany(t, folder, functions)
		t.Logf("the first call took %v; %d started after %v; %d other calls, p99 %v",
			m.first.Round(time.Millisecond), functions, m.all.Round(100*time.Millisecond), len(m.others), quantile(m.others, 0.99))
		if m.first > 2*time.Second {
			faults = append(faults, fmt.Sprintf("the first call took %v", m.first))
		}
		if m.all > 90*time.Second {
			faults = append(faults, fmt.Sprintf("all have started after %v", m.all))
		}
		if p99 := quantile(m.others, 0.99); p99 > 100*time.Millisecond || count(m.others, failed) > 0 {
			faults = append(faults, fmt.Sprintf("other calls: p99 %v, %v", p99, tally(m.others)))
		}
		return faults
	})
}

// A many is what is measured of very many functions in development.
type many struct {
	first, all time.Duration
	others     []outcome
}

// developMany runs a session of the project in a folder until each function has started.
func developMany(t *testing.T, folder string, functions int) (m many) {
	t.Helper()
	o := options(t)
	var mu sync.Mutex
	startedOnce, all := map[string]bool{}, make(chan struct{})
	o.Output = func(l mayfly.Line) {
		mu.Lock()
		defer mu.Unlock()
		if l.Source == mayfly.System && strings.HasPrefix(l.Text, "started") && !startedOnce[l.Function] {
			if startedOnce[l.Function] = true; len(startedOnce) == functions {
				close(all)
			}
		}
	}
	o.Base.Path = os.Getenv("PATH")
	n := start(t, o)
	open := func(path string) (*project.Project, error) { return project.Open(path, os.LookupEnv) }
	p, err := open(folder)
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.New(session.Options{
		Projects: []*project.Project{p}, Open: open, Runner: n.Roster(), SetRoutes: n.Roster().SetRoutes,
		Folder: filepath.Join(t.TempDir(), "build"), Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	began := time.Now()
	work.Go(func() { _ = s.Run(ctx) })
	if a := ask(t, "GET", fmt.Sprint(n.Gateway, "/fn/f", functions-1), nil); a.StatusCode != http.StatusOK {
		t.Errorf("the first call: %v", a)
	}
	m.first = time.Since(began)
	l := load{url: n.Gateway + "/fn/f0", client: newClient(t), rate: 50}
	m.others = l.run(t, 3*time.Minute, all)
	select {
	case <-all:
		m.all = time.Since(began)
	default:
		mu.Lock()
		defer mu.Unlock()
		t.Errorf("%d of %d functions have started", len(startedOnce), functions)
	}
	return m
}
