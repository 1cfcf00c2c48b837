package cli

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/mayfly-run/mayfly/internal/project"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// up is the verb up.
type up struct {
	config.Config `embed:""`
	Paths         []string `arg:"" optional:"" name:"path" help:"Projects to run."`
	File          string   `name:"config" help:"Config file to read instead of the user's own." placeholder:"FILE"`
	Port          int      `name:"port" help:"Port of the gateway: short for --gateway.addr." placeholder:"N"`
	Fresh         bool     `name:"fresh" help:"Empty the data folder first: streams, buckets and node name."`
}

// Help is shown by mayfly up --help.
func (*up) Help() string {
	return `PATH is a folder with a mayfly.yaml, or a file or folder that is one function.
Without PATH, the project in the current folder runs, if there is one. The first
Ctrl-C (SIGINT or SIGTERM) lets calls in flight finish, the second stops at
once. In development a node whose default ports are taken moves to others.

Flags with a dot, and most others, are also environment variables and keys of
the config file: --gateway.addr is MAYFLY_GATEWAY_ADDR, and addr under gateway:.
Run mayfly config to see the settings in force.`
}

// Run is called by kong.
func (u *up) Run(ctx context.Context, p *process) error {
	loaded, err := p.load(u.Config, u.File)
	if err != nil {
		return err
	}
	projects, err := u.projects(p)
	if err != nil {
		return err
	}
	if u.Port != 0 {
		if loaded.Gateway.Addr, err = atPort(loaded.Gateway.Addr, u.Port); err != nil {
			return err
		}
	}
	o := node.Options{
		Config: loaded.Config, Fresh: u.Fresh, Routes: project.Routes(projects), Version: thisBuild().Version,
		Reaper: reaperOf(), Base: p.base(),
	}
	o.Folder, err = folderFor(p, loaded, projects)
	if err != nil {
		return err
	}
	o.Home, _ = config.DataHome(p.lookup) // without one, commands need --data
	if loaded.NATS != "" {
		o.Config.Core = findCore(p, loaded, node.RemoteOf(loaded.Server))
	}
	// A project on this machine alone is in development.
	if !loaded.IsSet("dev") && len(projects) > 0 && config.Loopback(loaded.Gateway.Addr) {
		o.Config.Dev = true
	}
	terminal := isTerminal(p.stderr)
	level := loaded.Log.Level
	if terminal && loaded.Log.Format != "json" && !loaded.IsSet("log.level") {
		level = "warn" // the ready message covers the rest
	}
	var bottom *status
	if terminal {
		bottom = &status{w: p.stderr}
		p = bottom.beside(p)
	}
	if o.Log, err = telemetry.NewLog(p.stderr, loaded.Log.Format, level, terminal); err != nil {
		return err
	}

	lines := telemetry.NewBatch(p.stderr)
	if loaded.Gateway.AccessLog {
		o.Access = telemetry.NewAccessLog(lines, loaded.Log.Format, terminal)
	}
	if loaded.Bus.Trace {
		o.Trace = p.stderr
	}
	person := loaded.Log.Format == "text" || terminal && loaded.Log.Format == "auto"
	say := aside{p: p, log: o.Log, person: person, status: bottom}
	o.Watch = say.change
	if o.Output, err = outputTo(lines, loaded.Config, terminal, person && o.Config.Dev); err != nil {
		return err
	}
	var writer sync.WaitGroup
	logging, endLog := context.WithCancel(context.WithoutCancel(ctx))
	writer.Go(func() { _ = lines.Run(logging) }) // it returns nil
	defer writer.Wait()
	defer endLog()

	// From here on a signal also ends the start.
	ctx, stop := untilSignal(ctx)
	defer stop()
	for anew := false; ; {
		ran, err := u.node(ctx, say, projects, loaded, &o)
		anew = errors.Is(err, node.ErrEnabled) || anew && !ran && passing(err)
		if !anew || ctx.Err() != nil {
			return err
		}
		say.anew(err)
		o.Fresh = false // only the first is
		if again, err := u.projects(p); err != nil {
			o.Log.Warn("manifest not read again", telemetry.KeyErr, err)
		} else {
			projects, o.Routes = again, project.Routes(again)
		}
		select {
		case <-ctx.Done():
		case <-time.After(anewEvery):
		}
	}
}

// anewEvery is the pause before a node starts again: JetStream may not be ready for work
// when it is enabled.
const anewEvery = time.Second

// passing reports whether what kept a node from starting may pass. A port that the node had
// may be taken by a connection of the meantime.
func passing(err error) bool {
	code := mayfly.CodeOf(err)
	return code == mayfly.Unavailable || code == mayfly.Timeout || code == mayfly.Conflict
}

// node runs a node with the projects until ctx ends, and reports whether it started. It
// notes in o which ports it took: the next one has the same.
func (u *up) node(ctx context.Context, say aside, projects []*project.Project, loaded config.Loaded, o *node.Options) (ran bool, err error) {
	var n *node.Node
	moved, err := onFreePorts(loaded, &o.Config, u.Port != 0, func() (err error) {
		n, err = node.New(ctx, *o)
		return err
	})
	if err != nil {
		return false, err
	}
	keepPorts(&o.Config, n.Status())
	work, err := newWork(say.p, say, n, projects, *o)
	if err != nil {
		return false, errors.Join(err, n.Close())
	}
	say.moved(moved)
	say.ignoresNATSURL(n.Status())
	defer say.stopping(ctx, n, loaded.Drain)()
	var parts sync.WaitGroup
	defer parts.Wait()
	ctx, end := context.WithCancel(ctx) // also when the node fails
	defer end()
	parts.Go(func() { work.run(ctx) })
	return true, n.Run(ctx)
}

// projects opens the projects at PATH, or the one in the current folder.
func (u *up) projects(p *process) ([]*project.Project, error) {
	paths := u.Paths
	if len(paths) == 0 && project.ManifestIn(".") != "" {
		paths = []string{"."}
	}
	var all []*project.Project
	for _, path := range paths {
		one, err := project.Open(path, p.lookup)
		if err != nil {
			return nil, err
		}
		same := func(other *project.Project) bool { return other.Name == one.Name }
		if i := slices.IndexFunc(all, same); i >= 0 {
			return nil, mayfly.Errorf(mayfly.Conflict, "%s and %s are both named %q", all[i].File, one.File, one.Name).
				WithHint("rename one of them: set project: in its mayfly.yaml")
		}
		all = append(all, one)
	}
	return all, nil
}

// folderFor returns the folder of the node's state: with several projects, the first
// names it.
func folderFor(p *process, loaded config.Loaded, projects []*project.Project) (string, error) {
	if loaded.Data != "" {
		return loaded.Data, nil
	}
	home, err := config.DataHome(p.lookup)
	if err != nil {
		return "", err
	}
	if len(projects) == 0 {
		return node.FolderOf(home, "", "")
	}
	return node.FolderOf(home, projects[0].Name, projects[0].Folder)
}
