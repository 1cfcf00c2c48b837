package node

import "context"

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
