package bus

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestDiskThatFailedIsNotReady(t *testing.T) {
	t.Parallel()
	b := &Bus{}
	l := &serverLog{log: slog.New(slog.DiscardHandler), wedged: &b.wedged}
	l.Errorf("JetStream: %s", "a consumer was slow")
	if b.wedged.Load() != nil {
		t.Fatal("any error counts as the disk's")
	}
	l.Errorf("Critical write error: %v", "no space left on device")
	err := b.Ready()
	if mayfly.CodeOf(err) != mayfly.Unavailable || !strings.Contains(err.Error(), "no space left") || !strings.Contains(mayfly.HintOf(err), "by itself") {
		t.Errorf("Ready = %v, hint %q", err, mayfly.HintOf(err))
	}
	b.wedged.Store(nil)
	l.Errorf("Critical write error: %v", "input/output error")
	if err := b.Ready(); !strings.Contains(mayfly.HintOf(err), "restart") {
		t.Errorf("Ready = %v, hint %q", err, mayfly.HintOf(err))
	}
	(&serverLog{log: slog.New(slog.DiscardHandler)}).Errorf("Critical write error: %v", "nobody asks") // must not panic
}
