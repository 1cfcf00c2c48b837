package node

import (
	"context"
	"errors"
	"testing"
)

// ground is what a footing watches.
type ground struct {
	broken chan struct{}
	why    error
}

func (g ground) Broken() <-chan struct{} { return g.broken }
func (g ground) Ready() error            { return g.why }

func TestBrokenGroundEndsTheNode(t *testing.T) {
	t.Parallel()
	g := ground{make(chan struct{}), errors.New("the disk lost something")}
	close(g.broken)
	behind := runnerFunc(func(ctx context.Context) error { <-ctx.Done(); return nil })
	if err := runStages(t.Context(), []worker{footing{g}}, []worker{behind}); !errors.Is(err, g.why) {
		t.Errorf("the node ended with %v", err)
	}
	if err := runStages(ended(t), []worker{footing{ground{}}}); err != nil {
		t.Errorf("on good ground: %v", err)
	}
}

func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
