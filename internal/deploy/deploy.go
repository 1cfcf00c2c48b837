package deploy

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/project"
	"github.com/mayfly-run/mayfly/internal/registry"
)

// A Node is one that may run what is deployed.
type Node struct {
	ID       string
	Platform string            // see mayfly.Platform
	Labels   map[string]string // its own
}

// Nodes are those on the bus. In the command line they are asked over NATS.
type Nodes interface {
	// List returns all that answer.
	List(ctx context.Context) ([]Node, error)

	// Prepare has a node start an instance of a function and returns what kept it
	// from that.
	Prepare(ctx context.Context, node string, f mayfly.Function) error

	// State returns how a function or service is doing on a node.
	State(ctx context.Context, node, name string) (State, error)
}

// A State is how a function or service is doing on one node.
type State struct {
	Serving   uint64 // revision that answers; 0 if none does yet
	Developed bool   // the node serves a developer's own instead, as long as he works on it
	Failing   string // why the current revision does not start; "" if it does
}

// Options say how to deploy. Registry, Nodes and Folder are required.
type Options struct {
	Registry *registry.Registry
	Nodes    Nodes

	Folder string // for what is built, which may be removed afterwards
	Cache  string // for what builds share, such as installed packages; below Folder if empty

	Take   bool   // also names that other projects hold
	NoWait bool   // also where no node can run it; and do not wait until it serves
	Note   string // for the history

	Output io.Writer   // gets what compilers say; discards if nil
	Tell   func(Event) // hears of each step, one call at a time; may be nil
}

// An Event is a step that may take long.
type Event struct {
	Name  string // of the function or service
	Step  string // what is being done, such as "npm ci"
	Bytes int64  // of Of that are stored, while a bundle is
	Of    int64
}

// A Result is what became of one name.
type Result struct {
	Name     string
	Kind     string // function or service
	Revision uint64
	Changed  bool // it was not current before
	Removed  bool // the project lists it no more
	Nodes    int  // that can run it
}

// Projects deploys all that the projects list and removes what they listed before.
// It returns what became of each name: functions, then services, then what was
// removed, in the order of the projects.
//
// Errors: Denied where a name is another project's, Conflict where it is of another
// kind or listed twice, Invalid and Unavailable from building, Unavailable where no
// node can run something, Crashed with a mayfly.Trace where a node could not start
// it. By then nothing has changed. Conflict also when somebody else changed the same at the same moment, Timeout or
// Crashed when a node does not serve what is deployed: by then some results may be
// there, and are returned.
func Projects(ctx context.Context, projects []*project.Project, o Options) ([]Result, error) {
	if o.Output == nil {
		o.Output = io.Discard
	}
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	d := &deployment{Options: o}
	for _, p := range projects {
		for _, s := range p.Sources() {
			d.units = append(d.units, &unit{source: s, project: p.Name})
		}
	}
	if err := d.checkNames(ctx, projects); err != nil {
		return nil, err
	}
	if err := d.try(ctx); err != nil {
		return nil, err
	}
	results, err := d.write(ctx, projects)
	if err != nil || o.NoWait {
		return results, err
	}
	for _, u := range d.units {
		if !u.written {
			continue
		}
		if err := d.await(ctx, u.source.Name, u.revision, u.nodes); err != nil {
			return results, err
		}
	}
	return results, nil
}

// A deployment is one run of Projects.
type deployment struct {
	Options
	nodes []Node
	units []*unit
}

// A unit is one function or service on its way.
type unit struct {
	source  project.Source
	project mayfly.Name

	function *mayfly.Function // or
	hosted   *mayfly.Hosted   // what is deployed
	nodes    []Node           // that can run it
	revision uint64           // once it is written
	written  bool             // it was not current before
}

func (u *unit) kind() string {
	if u.hosted != nil || u.source.Hosted != nil {
		return "service"
	}
	return "function"
}

// program returns what function and service have in common.
func (u *unit) program() *mayfly.Program {
	if u.hosted != nil {
		return &u.hosted.Program
	}
	return &u.function.Program
}

// try does everything that changes nothing.
func (d *deployment) try(ctx context.Context) error {
	var err error
	if d.nodes, err = d.Nodes.List(ctx); err != nil {
		return fmt.Errorf("ask for nodes: %w", err)
	}
	if len(d.nodes) == 0 && !d.NoWait && len(d.units) > 0 {
		return mayfly.Errorf(mayfly.Unavailable, "no node is there to run what is deployed").
			WithHint("start one with mayfly up, or deploy all the same with --no-wait")
	}
	for _, u := range d.units {
		if err := d.build(ctx, u); err != nil {
			return err
		}
	}
	return d.prepare(ctx)
}

// checkNames refuses names that cannot be deployed, before anything is built or
// written: those that stand there twice, and those that belong to somebody else.
func (d *deployment) checkNames(ctx context.Context, projects []*project.Project) error {
	seen := map[string]*unit{}
	for _, u := range d.units {
		if other := seen[u.source.Name]; other != nil {
			return mayfly.Errorf(mayfly.Conflict, "projects %q and %q both have %q", other.project, u.project, u.source.Name).
				WithHint("give one of the two another name")
		}
		seen[u.source.Name] = u
		if err := d.checkOwner(ctx, u); err != nil {
			return err
		}
	}
	held := map[string]mayfly.Name{}
	for _, r := range d.Registry.Routes() {
		held[r.Name] = r.Project
	}
	for _, p := range projects {
		for _, r := range p.Routes {
			if holder, taken := held[r.Name]; taken && holder != p.Name && !d.Take {
				return foreign("route", r.Name, holder, p.Name)
			}
		}
	}
	return nil
}

// checkOwner refuses the name of a unit that is another project's, or of another
// kind.
func (d *deployment) checkOwner(ctx context.Context, u *unit) error {
	name := u.source.Name
	f, ofFunction := d.Registry.Get(ctx, mayfly.Ref{Name: mayfly.Name(name)})
	h, ofService := d.Registry.GetService(ctx, name, 0)
	for _, err := range []error{ofFunction, ofService} {
		// Invalid is a service's name that no function can have.
		if code := mayfly.CodeOf(err); err != nil && code != mayfly.NotFound && code != mayfly.Invalid {
			return err
		}
	}
	kind, holder := "function", f.Project
	switch {
	case ofFunction != nil && ofService != nil:
		return nil
	case ofFunction != nil:
		kind, holder = "service", h.Project
	}
	if kind != u.kind() {
		return mayfly.Errorf(mayfly.Conflict, "%q is a %s already", name, kind).
			WithHint("choose another name, or take it away first: mayfly remove %s", name)
	}
	if holder != u.project && !d.Take {
		return foreign(kind, name, holder, u.project)
	}
	return nil
}

func foreign(kind, name string, holder, asks mayfly.Name) error {
	return mayfly.Errorf(mayfly.Denied, "%s %q belongs to project %q, not to %q", kind, name, holder, asks).
		WithHint("choose another name, or take it over with --take")
}

// write makes everything current and removes what is listed no more.
func (d *deployment) write(ctx context.Context, projects []*project.Project) (results []Result, err error) {
	change := registry.Change{Take: d.Take, Note: d.Note}
	for _, u := range d.units {
		if u.hosted != nil {
			h, changed, err := d.Registry.DeployService(ctx, *u.hosted, change)
			if err != nil {
				return results, err
			}
			u.revision, u.written = h.Revision, changed
		} else {
			f, changed, err := d.Registry.Deploy(ctx, *u.function, change)
			if err != nil {
				return results, err
			}
			u.revision, u.written = f.Revision, changed
		}
		results = append(results, Result{
			Name: u.source.Name, Kind: u.kind(), Revision: u.revision, Changed: u.written, Nodes: len(u.nodes),
		})
	}
	for _, p := range projects {
		if _, err := d.Registry.DeployRoutes(ctx, p.Routes, change); err != nil {
			return results, err
		}
		removed, err := d.removeUnlisted(ctx, p)
		results = append(results, removed...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// removeUnlisted removes what the registry has of a project that it lists no more.
func (d *deployment) removeUnlisted(ctx context.Context, p *project.Project) (results []Result, err error) {
	listed := map[string]bool{}
	for _, s := range p.Sources() {
		listed[s.Name] = true
	}
	functions, services := d.Registry.List()
	for _, f := range functions {
		if f.Project == p.Name && !listed[string(f.Name)] {
			results = append(results, Result{Name: string(f.Name), Kind: "function", Revision: f.Revision, Removed: true})
		}
	}
	for _, h := range services {
		if h.Project == p.Name && !listed[h.Name] {
			results = append(results, Result{Name: h.Name, Kind: "service", Revision: h.Revision, Removed: true})
		}
	}
	for i, r := range results {
		// Somebody else may have removed it a moment ago.
		if err := d.Registry.Remove(ctx, r.Name); err != nil && mayfly.CodeOf(err) != mayfly.NotFound {
			return results[:i], err
		}
	}
	routes := d.Registry.Routes()
	for i, r := range routes {
		again := i > 0 && routes[i-1].Name == r.Name // one for each pattern
		kept := slices.ContainsFunc(p.Routes, func(have mayfly.Route) bool { return have.Name == r.Name })
		if r.Project != p.Name || again || kept {
			continue
		}
		if err := d.Registry.RemoveRoute(ctx, mayfly.Name(r.Name)); err != nil && mayfly.CodeOf(err) != mayfly.NotFound {
			return results, err
		}
	}
	return results, nil
}
