package deploy

import (
	"context"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// Rollback makes an old revision of a function or service current again, as a new
// one; revision 0 is the one before the current. Nodes try a function before, as
// with Projects, and errors are those of Projects and of Registry.Rollback.
func Rollback(ctx context.Context, name string, revision uint64, o Options) (Result, error) {
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	kind, err := o.kindOf(ctx, name)
	if err != nil {
		return Result{}, err
	}
	nodes, err := o.Nodes.List(ctx)
	if err != nil {
		return Result{}, err
	}
	r := Result{Name: name, Kind: kind}
	var program mayfly.Program
	if kind == "service" {
		h, changed, err := o.Registry.RollbackService(ctx, name, revision)
		if err != nil {
			return r, err
		}
		r.Revision, r.Changed, program = h.Revision, changed, h.Program
	} else {
		ref := mayfly.Ref{Name: mayfly.Name(name), Revision: revision} // kindOf has found the name
		if ref, err = o.tryAgain(ctx, ref, nodes); err != nil {
			return r, err
		}
		f, changed, err := o.Registry.Rollback(ctx, ref)
		if err != nil {
			return r, err
		}
		r.Revision, r.Changed, program = f.Revision, changed, f.Program
	}
	fitting := fit(nodes, program)
	r.Nodes = len(fitting)
	if !r.Changed || o.NoWait {
		return r, nil
	}
	return r, o.await(ctx, name, r.Revision, fitting)
}

// kindOf tells whether a name is, or was, a function or a service.
func (o Options) kindOf(ctx context.Context, name string) (string, error) {
	if _, err := o.Registry.GetService(ctx, name, 0); err == nil {
		return "service", nil
	}
	if _, err := mayfly.ParseName(name); err != nil {
		_, err := o.Registry.GetService(ctx, name, 0)
		return "service", err
	}
	_, err := o.Registry.History(ctx, name)
	return "function", err
}

// tryAgain has nodes start a function's old revision and returns which one it is.
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
		return ref, nil // there is none, as the registry will say
	}
	f, err := o.Registry.Get(ctx, ref)
	if err != nil {
		return ref, err
	}
	if !lines[0].Removed {
		f.Project = lines[0].Project // a name stays with its project
	}
	if current, err := o.Registry.Get(ctx, mayfly.Ref{Name: ref.Name}); err == nil && alike(current, f) {
		return ref, nil
	}
	f.Revision = lines[0].Number + 1
	fitting := fit(nodes, f.Program)
	if len(fitting) == 0 && !o.NoWait {
		return ref, noNode(string(f.Name), f.Program)
	}
	o.Tell(Event{Name: string(f.Name), Step: "start"})
	return ref, start(ctx, o.Nodes, fitting, f)
}
