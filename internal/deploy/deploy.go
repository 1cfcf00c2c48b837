package deploy

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/project"
	"github.com/mayfly-run/mayfly/internal/registry"
)

// Nodes are the nodes on the bus: peers.Peers.
type Nodes interface {
	List(ctx context.Context) ([]peers.Node, error)
	Prepare(ctx context.Context, n peers.Node, f mayfly.Unit) error
	State(ctx context.Context, node, name string) (peers.State, error)
}

// Options say how to deploy. Registry, Nodes and Folder are required.
type Options struct {
	Registry *registry.Registry
	Nodes    Nodes

	Folder string // for builds; may be removed afterwards
	Cache  string // for what builds share, such as installed packages; below Folder if empty

	Take   bool   // also deploy names that other projects hold
	NoWait bool   // also deploy what no node can run; and do not wait until it serves
	Note   string // for the history

	Tell func(Event)  // gets each step, one call at a time; may be nil
	Warn func(string) // gets what does not stop the deploy, before its first step; may be nil
}

// An Event is a step that may take long.
type Event struct {
	Name  string // of the unit
	Step  string // what is being done, such as "npm ci"
	Bytes int64  // stored so far, of Of, during an upload
	Of    int64
}

// A Result is the outcome for one name.
type Result struct {
	Name     string
	Kind     mayfly.Kind
	Revision uint64
	Changed  bool // it was not current before
	Removed  bool // the project no longer lists it
	Nodes    int  // that can run it
}

// Projects deploys all that the projects list and removes what they listed before. It
// returns the outcome for each name: functions, then services, then what was removed, in
// the order of the projects.
//
// Errors before anything has changed: Denied if a name is another project's, Conflict if
// it is of the other kind or listed twice, Invalid and Unavailable from building,
// Unavailable if a node that is needed is not ready or none can run something, Crashed
// with a mayfly.Trace if a node could not start it. Errors afterward, with the results so
// far: Conflict if another deploy changed the same name at the same time, Timeout or
// Crashed if a node does not serve what is deployed. If several units fail, the error is
// that of the first in the projects' order; it names the others.
func Projects(ctx context.Context, projects []*project.Project, o Options) ([]Result, error) {
	o.Tell = oneByOne(o.Tell)
	d := &deployment{
		Options: o, builders: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))),
		uploads: map[string]func() error{},
	}
	for _, p := range projects {
		for _, s := range p.Sources() {
			d.units = append(d.units, &unit{source: s, project: p.Name})
		}
	}
	if err := d.checkNames(projects); err != nil {
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
	nodes []peers.Node
	units []*unit

	builders chan struct{} // one entry for each running build or packing
	installs project.Installs

	mu      sync.Mutex
	uploads map[string]func() error // by digest; each uploads once
}

// A unit is one function or service being deployed.
type unit struct {
	source  project.Source
	project mayfly.Name

	built    mayfly.Unit  // to be deployed
	nodes    []peers.Node // that can run it
	revision uint64       // set once it is written
	written  bool         // it was not current before
}

// try does everything that changes nothing.
func (d *deployment) try(ctx context.Context) error {
	var err error
	if d.nodes, err = d.readyNodes(ctx, d.programs()); err != nil {
		return err
	}
	if len(d.nodes) == 0 && !d.NoWait && len(d.units) > 0 {
		return mayfly.Errorf(mayfly.Unavailable, "no nodes to deploy to").
			WithHint("start one with mayfly up, or deploy anyway with --no-wait")
	}
	// All of them, so that one deploy reports all mistakes; and more than can be built at
	// once, because others are uploading.
	if err := each(ctx, d.units, 4*cap(d.builders), toTheEnd, d.build); err != nil {
		return err
	}
	return d.prepare(ctx)
}

func (d *deployment) programs() []mayfly.Program {
	all := make([]mayfly.Program, len(d.units))
	for i, u := range d.units {
		all[i] = u.source.Unit.Program
	}
	return all
}

// How long a node may be unready before that is an error: NATS may just have lost a
// connection, or, while an upload waits for it, a leader.
const (
	unreadyFor     = time.Second
	unreadyForLong = 3 * time.Second
)

// readyNodes returns the nodes. If one that is needed stays unready, that is the error. Of
// others it warns.
func (o Options) readyNodes(ctx context.Context, programs []mayfly.Program) ([]peers.Node, error) {
	for again := false; ; again = true {
		nodes, lacks, err := o.nodesFor(ctx, programs)
		switch {
		case err != nil:
			return nil, fmt.Errorf("ask for nodes: %w", err)
		case lacks == nil:
			o.warn(nodes)
			return nodes, nil
		case again:
			return nil, lacks
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(unreadyFor):
		}
	}
}

// nodesFor returns the nodes, and what one lacks that has the store, or the labels of a
// program, and cannot store anything: a full disk, for example, takes no bundle either.
func (o Options) nodesFor(ctx context.Context, programs []mayfly.Program) (nodes []peers.Node, lacks, err error) {
	nodes, err = o.Nodes.List(ctx)
	for _, n := range nodes {
		if n.Unready != "" && (n.Store || slices.ContainsFunc(programs, func(p mayfly.Program) bool { return labelled(n, p) })) {
			return nodes, mayfly.Errorf(mayfly.Unavailable, "node %s is not ready: %s", n.ID, n.Unready).WithHint("%s", n.Hint), err
		}
	}
	return nodes, nil, err
}

// whileReady does work, and ends it with the reason once a node that is needed stays unready.
func (d *deployment) whileReady(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var asking sync.WaitGroup
	asking.Go(func() {
		ready := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(unreadyFor):
			}
			_, lacks, err := d.nodesFor(ctx, d.programs())
			if err != nil || lacks == nil {
				ready = time.Now()
			} else if time.Since(ready) > unreadyForLong {
				cancel(lacks)
			}
		}
	})
	err := work(ctx)
	cancel(nil)
	asking.Wait()
	if cause := context.Cause(ctx); err != nil && mayfly.CodeOf(cause) == mayfly.Unavailable {
		return cause
	}
	return err
}

// warn tells of those among nodes that are not ready; they are not needed.
func (o Options) warn(nodes []peers.Node) {
	for _, n := range nodes {
		if n.Unready != "" && o.Warn != nil {
			o.Warn(fmt.Sprintf("node %s is not ready: %s; it is not needed for this", n.ID, n.Unready))
		}
	}
}

// checkNames rejects names that cannot be deployed, before anything is built or written:
// duplicates, and those of other projects.
func (d *deployment) checkNames(projects []*project.Project) error {
	deployed := map[string]mayfly.Unit{}
	for _, other := range d.Registry.List() {
		deployed[string(other.Name)] = other
	}
	seen := map[string]*unit{}
	for _, u := range d.units {
		if other := seen[u.source.Name]; other != nil {
			return mayfly.Errorf(mayfly.Conflict, "projects %q and %q both list %q", other.project, u.project, u.source.Name).
				WithHint("give one of them another name")
		}
		seen[u.source.Name] = u
		if other, taken := deployed[u.source.Name]; taken {
			if err := d.checkHolder(u, other); err != nil {
				return err
			}
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

// checkHolder rejects the name of a unit deployed by another project, or as the other
// kind.
func (d *deployment) checkHolder(u *unit, other mayfly.Unit) error {
	name, kind := u.source.Name, u.source.Unit.Kind
	if other.Project != u.project && !d.Take {
		return foreign(other.Kind.String(), name, other.Project, u.project)
	}
	if other.Kind != kind {
		return mayfly.Errorf(mayfly.Conflict, "%q is deployed as a %s, but is a %s here", name, other.Kind, kind).
			WithHint("remove the %s first: mayfly remove %s; then deploy again, or choose another name", other.Kind, name)
	}
	return nil
}

func foreign(kind, name string, holder, asks mayfly.Name) error {
	return mayfly.Errorf(mayfly.Denied, "%s %q belongs to project %q, not to %q", kind, name, holder, asks).
		WithHint("choose another name, or take it over with --take")
}

// writers is how many entries are written at once. Concurrent writes share a disk commit.
const writers = 16

// write makes everything current and removes what is no longer listed.
func (d *deployment) write(ctx context.Context, projects []*project.Project) (results []Result, err error) {
	change := registry.Change{Take: d.Take, Note: d.Note}
	err = each(ctx, d.units, writers, untilOneFails, func(ctx context.Context, u *unit) error { return d.writeOne(ctx, u, change) })
	for _, u := range d.units {
		if u.revision > 0 {
			results = append(results, Result{
				Name: u.source.Name, Kind: u.built.Kind, Revision: u.revision, Changed: u.written, Nodes: len(u.nodes),
			})
		}
	}
	if err != nil {
		return results, err
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

// writeOne makes a unit current.
func (d *deployment) writeOne(ctx context.Context, u *unit, change registry.Change) error {
	current, changed, err := d.Registry.Deploy(ctx, u.built, change)
	if err == nil {
		u.revision, u.written = current.Revision, changed
	}
	return err
}

// removeUnlisted removes deployed units of a project that no longer lists them.
func (d *deployment) removeUnlisted(ctx context.Context, p *project.Project) (results []Result, err error) {
	listed := map[string]bool{}
	for _, s := range p.Sources() {
		listed[s.Name] = true
	}
	for _, u := range d.Registry.List() {
		if u.Project == p.Name && !listed[string(u.Name)] {
			results = append(results, Result{Name: string(u.Name), Kind: u.Kind, Revision: u.Revision, Removed: true})
		}
	}
	for i, r := range results {
		// Another deploy may have just removed it.
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
