package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/project"
	"github.com/mayfly-run/mayfly/internal/session"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// work is what mayfly up does besides running a node: it builds what PATH lists, greets
// when that is done, and rebuilds what changes.
type work struct {
	p       *process
	say     aside
	node    *node.Node
	began   time.Time // start of the node
	session *session.Session
	first   *tally // of the first builds
}

func newWork(p *process, say aside, n *node.Node, projects []*project.Project, o node.Options) (*work, error) {
	w := &work{p: p, say: say, node: n, began: time.Now().Add(-n.Status().Took)}
	units := 0
	for _, one := range projects {
		units += len(one.Sources())
	}
	w.first = newTally(say, units, n.Roster().Deployed)
	var err error
	w.session, err = session.New(session.Options{
		Projects:  projects,
		Open:      func(file string) (*project.Project, error) { return project.Open(file, p.lookup) },
		Runner:    n.Roster(),
		SetRoutes: n.Roster().SetRoutes, SecretsSet: n.SecretsSet,
		Folder: filepath.Join(o.Folder, "build"), Development: o.Config.Dev,
		Tell: w.tell, Log: o.Log.With(telemetry.KeyPart, "session"),
	})
	return w, err
}

// run serves the session until ctx ends.
func (w *work) run(ctx context.Context) {
	var greeting sync.WaitGroup
	defer greeting.Wait()
	greeting.Go(func() { w.greet(ctx) })
	if err := w.session.Run(ctx); err != nil {
		w.say.log.Error("watching for changes failed", telemetry.KeyErr, err)
	}
}

// building is how long the first builds may take before somebody wants to know what is
// reached where meanwhile.
const building = 5 * time.Second

// greet prints the ready message after the first builds.
func (w *work) greet(ctx context.Context) {
	slow := time.NewTimer(building)
	defer slow.Stop()
	for started := false; !started; {
		select {
		case <-w.session.Started():
			started = true
		case <-slow.C:
			w.sayWhere()
		case <-ctx.Done():
			w.first.end(false)
			return
		}
	}
	w.first.end(true)
	s := w.node.Status()
	if len(s.Units) > 0 {
		s.Took = time.Since(w.began) // including the builds
	}
	w.say.ready(s)
}

// sayWhere names the gateway and what it does not serve yet.
func (w *work) sayWhere() {
	var names []string
	for _, c := range w.node.Roster().Conditions() {
		if c.State == peers.Building {
			names = append(names, string(c.Name))
		}
	}
	if len(names) > 0 && w.say.person {
		w.p.note("still building: %s; what is live is at %s", someOf(names), w.node.Status().Gateway)
	}
}

// someOf joins the first few names of a list.
func someOf(names []string) string {
	if more := len(names) - greetMost; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:greetMost], ", "), more)
	}
	return strings.Join(names, ", ")
}

// tell reports the result of a build.
func (w *work) tell(e session.Event) {
	switch {
	case w.first.takes(e):
	case e.Step != "" && w.say.person:
		w.p.note("%s: %s", e.Name, e.Step)
	case e.Step != "":
		w.say.log.Info("build step", "kind", e.Kind, "name", e.Name, "step", e.Step)
	case e.Err != nil && w.say.person:
		text := e.Err.Error()
		if err, ok := errors.AsType[*mayfly.Error](e.Err); ok {
			text = err.Message // the step is obvious
		}
		w.p.note("%s: %s", e.Name, text)
		if mayfly.CodeOf(e.Err) == mayfly.Crashed { // what it printed is shown line by line
			w.p.hint(e.Err)
		} else {
			w.p.explain(e.Err)
		}
	case e.Err != nil:
		attrs := []any{"kind", e.Kind, "name", e.Name, telemetry.KeyErr, e.Err}
		if trace, ok := errors.AsType[mayfly.Trace](e.Err); ok {
			attrs = append(attrs, "trace", string(trace))
		}
		if hint := mayfly.HintOf(e.Err); hint != "" {
			attrs = append(attrs, "hint", hint)
		}
		w.say.log.Error("build failed", attrs...)
	case w.say.person:
		w.p.note("%s is live (%s)", e.Name, took(e.Took))
		if w.node.Roster().Deployed(mayfly.Name(e.Name)) {
			w.p.note("note: %s is also deployed; NATS clients and other nodes keep calling that revision", e.Name)
		}
	default:
		w.say.log.Info("build live", "kind", e.Kind, "name", e.Name, telemetry.KeyTook, e.Took)
	}
}

// outputTo returns the receiver of the instances' lines: "hello | text" for a developer,
// log lines for programs.
func outputTo(w io.Writer, c config.Config, terminal, developer bool) (func(mayfly.Line), error) {
	if developer {
		return func(l mayfly.Line) {
			if l.Source == mayfly.System && (strings.HasPrefix(l.Text, "started") || l.Text == "stopped") {
				return // as the build reported, and as idle instances do
			}
			_, _ = fmt.Fprintf(w, "%s | %s\n", l.Function, plain(l.Text)) // a closed output does not stop a node
		}, nil
	}
	log, err := telemetry.NewLog(w, c.Log.Format, "info", terminal)
	if err != nil {
		return nil, err
	}
	levels := map[mayfly.Source]slog.Level{mayfly.Stderr: slog.LevelWarn} // Info is the zero level
	return func(l mayfly.Line) {
		log.LogAttrs(context.Background(), levels[l.Source], "output",
			slog.String(telemetry.KeyFunction, l.Function), slog.Uint64(telemetry.KeyRevision, l.Revision),
			slog.String(telemetry.KeyInstance, l.Instance), slog.String(telemetry.KeyCall, l.Call),
			slog.String("source", string(l.Source)), slog.String("text", l.Text))
	}, nil
}

// base holds what instances inherit from this process's environment.
func (p *process) base() node.Base {
	var b node.Base
	b.Path, _ = p.lookup("PATH")
	b.Lang, _ = p.lookup("LANG")
	b.Zone, _ = p.lookup("TZ")
	return b
}

// took formats a duration for people.
func took(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return d.Round(100 * time.Millisecond).String()
}
