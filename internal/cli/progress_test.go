package cli

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/internal/deploy"
)

// In a pipe quick steps are no lines, and one that takes long is one.
func TestProgressInAPipeTellsWhatTakesLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newProgress(&out)
		for range 1000 {
			p.step(deploy.Event{Name: "a", Step: "build"})
			p.step(deploy.Event{Name: "a", Step: "start"})
		}
		time.Sleep(3500 * time.Millisecond)
		p.step(deploy.Event{Name: "a", Step: "wait"})
		p.step(deploy.Event{Name: "b\x1b[2J", Step: "wait"})
		time.Sleep(time.Second)
		p.step(deploy.Event{Name: "c", Step: "build"})
		p.close()
		p.close()
		if got, want := out.String(), "a: start\nb\ufffd[2J: wait\n"; got != want {
			t.Errorf("printed %q, want %q", got, want)
		}
	})
}
