package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/deploy"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// rollback is the verb rollback.
type rollback struct {
	client `embed:""`
	Ref    string `arg:"" name:"name" help:"Function or service, with an optional revision."`
	NoWait bool   `name:"no-wait" help:"Roll back even if no node can run it now, and do not wait for the nodes."`
}

// Help is shown by mayfly rollback --help.
func (*rollback) Help() string {
	return `NAME is the revision before the current one, NAME@7 is revision 7. Its code and
settings become a new revision once every node has started it, so numbers only
grow and a rollback can be rolled back. It also restores what was removed.`
}

// Run is called by kong.
func (r *rollback) Run(ctx context.Context, p *process) error {
	ref, err := parseRevision(r.Ref)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	s, err := r.store(ctx, p, changes)
	if err != nil {
		return err
	}
	defer s.Close()
	progress := newProgress(p.stderr)
	defer progress.close()
	done, err := deploy.Rollback(ctx, ref, deploy.Options{
		Registry: s.Registry, Nodes: peers.New(s.bus), NoWait: r.NoWait, Tell: progress.step, Warn: progress.warn,
	})
	progress.close()
	if done.Revision > 0 {
		if e := printResults(p, []deploy.Result{done}, s.gateway()); e != nil {
			return e
		}
	}
	return err
}

// parseRevision reads NAME or NAME@7.
func parseRevision(text string) (ref mayfly.Ref, err error) {
	name, number, pinned := strings.Cut(text, "@")
	if err := checkName(name); err != nil {
		return ref, err
	}
	ref.Name = mayfly.Name(name)
	if !pinned {
		return ref, nil
	}
	ref.Revision, err = strconv.ParseUint(number, 10, 64)
	if err != nil || ref.Revision == 0 {
		return ref, mayfly.Errorf(mayfly.Invalid, "%q is not a revision of %s", mayfly.Clip(number), name).
			WithHint("use a whole number, such as %s@7, or run mayfly history %[1]s to see them", name)
	}
	return ref, nil
}
