package deploy

import (
	"context"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// Rollback makes an old revision of a unit current again, as a new one. Without a revision,
// ref means the one before the current. As with Projects, nodes try a function first.
// Errors are those of Projects and of Registry.Rollback.
func Rollback(ctx context.Context, ref mayfly.Ref, o Options) (Result, error) {
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	r := Result{Name: string(ref.Name)}
	var program mayfly.Program // without labels, so that all nodes count, if it is not deployed
	if current := o.Registry.Current(ref.Name); current != nil {
		program = current.Program
	}
	nodes, err := o.readyNodes(ctx, []mayfly.Program{program})
	if err != nil {
		return r, err
	}
	if ref, err = o.tryAgain(ctx, ref, nodes); err != nil {
		return r, err
	}
	u, changed, err := o.Registry.Rollback(ctx, ref)
	if err != nil {
		return r, err
	}
	fitting := fit(nodes, u.Program)
	r.Kind, r.Revision, r.Changed, r.Nodes = u.Kind, u.Revision, changed, len(fitting)
	if !r.Changed || o.NoWait {
		return r, nil
	}
	return r, o.await(ctx, r.Name, r.Revision, fitting)
}

// tryAgain has nodes start a function's old revision and returns which it is.
func (o Options) tryAgain(ctx context.Context, ref mayfly.Ref, nodes []peers.Node) (mayfly.Ref, error) {
	lines, err := o.Registry.History(ctx, string(ref.Name))
	if err != nil {
		return ref, err
	}
	if ref.Revision == 0 {
		for _, line := range lines {
			if !line.Removed && (line.Number < lines[0].Number || lines[0].Removed) {
				ref.Revision = line.Number
				break
			}
		}
	}
	if ref.Revision == 0 {
		return ref, nil // there is none; the registry will say so
	}
	u, err := o.Registry.Get(ctx, ref)
	if err != nil || u.Kind == mayfly.KindService {
		return ref, err
	}
	if !lines[0].Removed {
		u.Project = lines[0].Project // a name stays with its project
	}
	if current, err := o.Registry.Get(ctx, mayfly.Ref{Name: ref.Name}); err == nil && alike(current, u) {
		return ref, nil
	}
	if u.Revision, err = o.Registry.Next(ctx, u.Kind, u.Name); err != nil {
		return ref, err
	}
	fitting := fit(nodes, u.Program)
	if len(fitting) == 0 && !o.NoWait {
		return ref, noNode(string(u.Name), u.Program)
	}
	o.Tell(Event{Name: string(u.Name), Step: "start"})
	return ref, start(ctx, o.Nodes, fitting, u)
}
