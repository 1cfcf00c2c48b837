package node

import "context"

// A footing ends the node when the ground it stands on gives way: a disk that has
// lost what was acknowledged. To go on would be to acknowledge more.
type footing struct {
	ground interface {
		Broken() <-chan struct{}
		Ready() error
	}
}

// Run returns when ctx ends, or why the node cannot go on.
func (f footing) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-f.ground.Broken():
		return f.ground.Ready()
	}
}
