package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// A unit or node that fails stops no other: all restart that can, and the error names the rest.
func TestRestartGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	for _, id := range []string{"a", "b"} {
		answerer, err := peers.NewAnswerer(t.Context(), b, peers.Options{
			Units: func() []peers.Condition { return nil },
			Self:  peers.Node{ID: id}, Ready: func() error { return nil },
			Restart: func(context.Context, peers.Restart) []peers.Restarted {
				return []peers.Restarted{{Name: "broken-" + id, Error: "no file"}, {Name: "works-" + id, Instances: 2}}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- answerer.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			answerer.Close()
		})
	}
	var out, notes strings.Builder
	units, err := (&process{stdout: &out, stderr: &notes}).restart(t.Context(), b, peers.Restart{Secret: "key"})
	if units != 4 || mayfly.CodeOf(err) != mayfly.Crashed || mayfly.HintOf(err) == "" {
		t.Errorf("%d units, error %v", units, err)
	}
	for _, id := range []string{"a", "b"} {
		if !strings.Contains(out.String(), "works-"+id+" restarted on node "+id) {
			t.Errorf("works-%s did not restart: %s", id, out.String())
		}
		if err == nil || !strings.Contains(err.Error(), "broken-"+id+" did not restart on node "+id+": no file") {
			t.Errorf("the error does not name broken-%s: %v", id, err)
		}
	}
}
