package deploy

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// A stateFunc is nodes that only say how something is doing.
type stateFunc func(asked int) (peers.State, error)

// An oracle asks a stateFunc, one call after the other.
type oracle struct {
	state stateFunc
	asked int
}

func (o *oracle) List(context.Context) ([]peers.Node, error)             { return nil, nil }
func (o *oracle) Prepare(context.Context, peers.Node, mayfly.Unit) error { return nil }
func (o *oracle) State(_ context.Context, _, _ string) (peers.State, error) {
	o.asked++
	return o.state(o.asked)
}

func TestAwaitEndsWithTheAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		state stateFunc
		took  time.Duration
		code  mayfly.Code
		fails bool
	}{
		{"at once", func(int) (peers.State, error) { return peers.State{Serving: 7}, nil }, 0, 0, false},
		{"a newer one", func(int) (peers.State, error) { return peers.State{Serving: 8}, nil }, 0, 0, false},
		{"once the node has heard of it", func(asked int) (peers.State, error) {
			switch asked {
			case 1:
				return peers.State{}, mayfly.Errorf(mayfly.NotFound, "nothing here is named so")
			case 2:
				return peers.State{Serving: 6}, nil
			}
			return peers.State{Serving: 7}, nil
		}, 2 * askAgain, 0, false},
		{"a developer's own", func(int) (peers.State, error) { return peers.State{Unit: &mayfly.Unit{Name: "hello"}}, nil }, 0, 0, false},
		{"a service that recovers", func(asked int) (peers.State, error) {
			if asked < 3 {
				return peers.State{Serving: 7, Failing: "crashed"}, nil
			}
			return peers.State{Serving: 7}, nil
		}, 2 * askAgain, 0, false},
		{"one that fails", func(int) (peers.State, error) { return peers.State{Serving: 6, Failing: "crashed"}, nil }, patience, mayfly.Crashed, true},
		{"a node that says nothing", func(int) (peers.State, error) { return peers.State{}, context.DeadlineExceeded }, patience, mayfly.Timeout, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				o := Options{Nodes: &oracle{state: tt.state}, Tell: func(Event) {}}
				err := o.await(t.Context(), "hello", 7, []peers.Node{{ID: "n1"}})
				if (err != nil) != tt.fails || err != nil && mayfly.CodeOf(err) != tt.code {
					t.Errorf("error is %v", err)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("it took %s, want %s", took, tt.took)
				}
			})
		})
	}
}
