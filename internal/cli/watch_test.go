package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFrameReplacesThePictureOnATerminalOnly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		terminal, first bool
		want            string
	}{
		{"terminal, first", true, true, "\x1b[2J\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"},
		{"terminal, next", true, false, "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"},
		{"file, first", false, true, "a\nb\n"},
		{"file, next", false, false, "\na\nb\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := string(frame([]byte("a\nb\n"), tt.terminal, tt.first)); got != tt.want {
				t.Errorf("frame = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWatchingEndsWellWhenItIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := &process{stdout: &out}
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		began := time.Now()
		err := p.watchUntil(ctx, func(_ context.Context, w io.Writer) error {
			if n++; n == 3 {
				cancel()
				return errors.New("cut short")
			}
			fmt.Fprintln(w, "picture", n)
			return nil
		})
		if err != nil || out.String() != "picture 1\n\npicture 2\n" {
			t.Errorf("watching = %v, printed %q", err, out.String())
		}
		if took := time.Since(began); took != 2*watchEvery {
			t.Errorf("took %v, want %v", took, 2*watchEvery)
		}
	})
}

func TestWatchingTellsWhatFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	p := &process{stdout: io.Discard}
	if err := p.watchUntil(t.Context(), func(context.Context, io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("watching = %v, want %v", err, broken)
	}
}
