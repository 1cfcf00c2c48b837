package node

import (
	"context"
	"sync"
)

// A worker serves until its context ends, then finishes its work and returns nil. An
// error means that it cannot go on.
type worker interface {
	Run(ctx context.Context) error
}

// runStages runs all parts of all stages at once. When ctx ends or a part fails, the
// stages stop one after the other: the first (the doors) must be done before the second
// is canceled. An errgroup would cancel all at once, and a door would still hold calls
// when what answers them is gone. It returns the first error once everything has
// stopped.
func runStages(ctx context.Context, stages ...[]worker) error {
	failed := make(chan error, 1) // the first one
	type stage struct {
		cancel context.CancelFunc
		parts  sync.WaitGroup
	}
	running := make([]*stage, len(stages))
	for i, parts := range stages {
		// Not a child of ctx: it must outlive it until its turn.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		running[i] = &stage{cancel: cancel}
		for _, p := range parts {
			running[i].parts.Go(func() {
				err := p.Run(own)
				if err == nil && own.Err() != nil {
					return
				}
				select {
				case failed <- err:
				default:
				}
			})
		}
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for _, s := range running {
		s.cancel()
		s.parts.Wait()
	}
	if err == nil {
		select {
		case err = <-failed: // while stopping
		default:
		}
	}
	return err
}
