package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/deploy"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/project"
)

// deployVerb is the verb deploy.
type deployVerb struct {
	client `embed:""`
	Paths  []string `arg:"" optional:"" name:"path" help:"Projects to deploy."`
	Take   bool     `name:"take" help:"Take over names that belong to other projects."`
	NoWait bool     `name:"no-wait" help:"Deploy even if no node can run it now, and do not wait for the nodes."`
	Note   string   `name:"note" help:"Note to show in mayfly history." placeholder:"TEXT"`
}

// Help is shown by mayfly deploy --help.
func (*deployVerb) Help() string {
	return `PATH is a folder with a mayfly.yaml, or a file or folder that is one function;
it defaults to the current folder. The code is built here, for the platforms of
the nodes, and becomes current once every node has started it. What a project no
longer lists is removed.

  mayfly deploy hello.js                  deploy one function
  mayfly deploy --note "faster checkout"  deploy the project here
  mayfly rollback hello                   go back to the revision before`
}

// Run is called by kong.
func (d *deployVerb) Run(ctx context.Context, p *process) error {
	projects, err := openProjects(p, d.Paths)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	s, err := d.store(ctx, p, changes)
	if err != nil {
		return err
	}
	defer s.Close()
	folder, err := os.MkdirTemp("", "mayfly-deploy-")
	if err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "cannot create a build folder: %w", err).WithHint("free some space in %s", os.TempDir())
	}
	defer os.RemoveAll(folder)
	progress := newProgress(p.stderr)
	defer progress.close()
	cache, _ := config.CacheHome(p.lookup) // without a home nothing is cached
	results, err := deploy.Projects(ctx, projects, deploy.Options{
		Registry: s.Registry, Nodes: peers.New(s.bus), Folder: folder, Cache: cache,
		Take: d.Take, NoWait: d.NoWait, Note: d.Note, Tell: progress.step, Warn: progress.warn,
	})
	progress.close()
	if e := printResults(p, results, s.gateway()); e != nil {
		return e
	}
	return err
}

// openProjects opens the projects at the paths, or the one here.
func openProjects(p *process, paths []string) ([]*project.Project, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	return (&up{Paths: paths}).projects(p)
}

// printResults prints the outcome for each name.
func printResults(p *process, results []deploy.Result, gateway string) error {
	for _, r := range results {
		text := fmt.Sprintf("%s@%d deployed", r.Name, r.Revision)
		switch {
		case r.Removed:
			text = r.Name + " removed"
		case !r.Changed:
			text = fmt.Sprintf("%s@%d is unchanged", r.Name, r.Revision)
		}
		if r.Kind == mayfly.KindFunction && !r.Removed {
			text += "  " + gateway + "/fn/" + r.Name
		}
		if _, err := fmt.Fprintln(p.stdout, text); err != nil {
			return err
		}
	}
	return nil
}
