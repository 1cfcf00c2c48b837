package node

import (
	"context"

	"github.com/mayfly-run/mayfly"
)

// A lossWatch ends the node when its disk has lost acknowledged data: to go on would
// be to acknowledge more.
type lossWatch struct {
	bus interface {
		Broken() <-chan struct{}
		Ready() error
	}
}

// Run returns when ctx ends, or why the node cannot go on.
func (l lossWatch) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-l.bus.Broken():
		return l.bus.Ready()
	}
}

// ErrEnabled ends a node that was without JetStream when it is enabled after all: a new one
// has a store.
var ErrEnabled = mayfly.Errorf(mayfly.Unavailable, "JetStream is enabled now: this node must restart")

// An enableWatch ends a node with ErrEnabled.
type enableWatch struct {
	bus interface{ Enabled() <-chan struct{} }
}

// Run returns when ctx ends, or ErrEnabled.
func (e enableWatch) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-e.bus.Enabled():
		return ErrEnabled
	}
}
