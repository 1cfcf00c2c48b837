package node

import (
	"context"
	"errors"
	"testing"
)

// A brokenBus is what a lossWatch watches.
type brokenBus struct {
	broken chan struct{}
	why    error
}

func (b brokenBus) Broken() <-chan struct{} { return b.broken }
func (b brokenBus) Ready() error            { return b.why }

func TestLostDataEndsTheNode(t *testing.T) {
	t.Parallel()
	b := brokenBus{make(chan struct{}), errors.New("the disk lost something")}
	close(b.broken)
	behind := runnerFunc(func(ctx context.Context) error { <-ctx.Done(); return nil })
	if err := runStages(t.Context(), []worker{lossWatch{b}}, []worker{behind}); !errors.Is(err, b.why) {
		t.Errorf("the node ended with %v", err)
	}
	if err := runStages(ended(t), []worker{lossWatch{brokenBus{}}}); err != nil {
		t.Errorf("without a loss: %v", err)
	}
}

func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
