package bus_test

import (
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
)

func TestListenerKeepsWhatItWasToldWithoutAConnection(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	l, err := b.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	old, added := bus.Interest{Subject: "old", Queue: "q"}, bus.Interest{Subject: "added", Queue: "q"}
	if err := l.Change([]bus.Interest{old}, nil); err != nil {
		t.Fatal(err)
	}
	l.Cut()
	if err := l.Change([]bus.Interest{added}, []bus.Interest{old}); err != nil {
		t.Errorf("change without a connection: %v", err)
	}
	heard := func(subject mayfly.Subject) bool {
		_, err := b.Call(t.Context(), mayfly.Call{Subject: subject})
		return err == nil
	}
	go func() {
		for {
			in, ok := l.Next(t.Context())
			if !ok {
				return
			}
			_ = in.Respond(nil)
		}
	}()
	eventually(t, "the subject that was added is heard", func() bool { return heard("added") })
	if heard("old") {
		t.Error("the subject that was dropped is heard")
	}
}
