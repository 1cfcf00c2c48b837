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
	Ref    string `arg:"" name:"name" help:"Function or service, and which revision of it."`
	NoWait bool   `name:"no-wait" help:"Do it although no node can run it now, and do not wait until it serves."`
}

// Help is shown by mayfly rollback --help.
func (*rollback) Help() string {
	return `NAME is the revision before the current, NAME@7 that one. Its code and settings become a new
revision, once every node could start it: numbers only grow, and a rollback can be rolled back.
It brings back what was removed, too.`
}

// Run is called by kong.
func (r *rollback) Run(ctx context.Context, p *process) error {
	name, revision, err := parseRevision(r.Ref)
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
	done, err := deploy.Rollback(ctx, name, revision, deploy.Options{
		Registry: s.Registry, Nodes: peers.New(s.bus), NoWait: r.NoWait, Tell: progress.step,
	})
	progress.close()
	if done.Revision > 0 {
		if e := printResults(p, []deploy.Result{done}, s.gateway()); e != nil {
			return e
		}
	}
	return err
}

// parseRevision reads NAME or NAME@7. Unlike mayfly.ParseRef it takes a service's
// name as well.
func parseRevision(text string) (name string, revision uint64, err error) {
	name, number, pinned := strings.Cut(text, "@")
	if err := checkName(name); err != nil {
		return "", 0, err
	}
	if !pinned {
		return name, 0, nil
	}
	revision, err = strconv.ParseUint(number, 10, 64)
	if err != nil || revision == 0 {
		return "", 0, mayfly.Errorf(mayfly.Invalid, "%q is no revision of %s", clip(number), name).
			WithHint("write a whole number, such as %s@7; mayfly history %[1]s lists them", name)
	}
	return name, revision, nil
}
