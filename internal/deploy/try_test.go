package deploy

import (
	"context"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// refusing are nodes that prepare nothing.
type refusing struct {
	Nodes
	err error
}

func (r refusing) Prepare(context.Context, peers.Node, mayfly.Unit) error { return r.err }

// Of many deploys at once a node drops the earlier ones: that says nothing about the code.
func TestConflictIsNotAFailedStart(t *testing.T) {
	t.Parallel()
	for _, code := range []mayfly.Code{mayfly.Conflict, mayfly.Crashed} {
		nodes := refusing{err: mayfly.Errorf(code, "no")}
		err := start(t.Context(), nodes, []peers.Node{{}}, mayfly.Unit{Name: "hello"})
		if mayfly.CodeOf(err) != code || strings.Contains(err.Error(), "does not start") != (code == mayfly.Crashed) {
			t.Errorf("%s: error %v", code, err)
		}
	}
}
