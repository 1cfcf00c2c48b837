package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
)

func TestLineTextObeysNobody(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.Local)
	for _, tt := range []struct {
		name     string
		line     mayfly.Line
		coloured bool
		want     string
	}{
		{"plain", mayfly.Line{Function: "hello", Revision: 7, Instance: "i1", Text: "hi"}, false, "2026-01-02 03:04:05.006 hello@7 i1 hi\n"},
		{"while it is developed", mayfly.Line{Function: "hello", Instance: "i1", Text: "hi"}, false, "2026-01-02 03:04:05.006 hello@dev i1 hi\n"},
		{"of Mayfly", mayfly.Line{Function: "hello", Revision: 7, Source: mayfly.System, Text: "crashed"}, false, "2026-01-02 03:04:05.006 hello@7 - mayfly: crashed\n"},
		{"with a tab", mayfly.Line{Function: "f", Revision: 1, Text: "\tx"}, false, "2026-01-02 03:04:05.006 f@1 -     x\n"},
		{"empty", mayfly.Line{Function: "f", Revision: 1, Instance: "i"}, false, "2026-01-02 03:04:05.006 f@1 i\n"},
		{"that would move the cursor", mayfly.Line{Function: "f\x1b[2J", Revision: 1, Instance: "\r", Text: "\x1b[31mred\nnext"}, false, "2026-01-02 03:04:05.006 f\ufffd[2J@1   \ufffd[31mred next\n"},
		{"in colours", mayfly.Line{Function: "f", Revision: 1, Instance: "i", Source: mayfly.Stderr, Text: "x"}, true, "\x1b[2m2026-01-02 03:04:05.006\x1b[0m \x1b[36mf@1\x1b[0m \x1b[2mi\x1b[0m \x1b[31mx\x1b[0m\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.line.Time = at
			if got := lineText(tt.line, tt.coloured); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestTraceKeepsItsShape(t *testing.T) {
	t.Parallel()
	var stderr strings.Builder
	p := &process{stderr: &stderr}
	err := mayfly.Errorf(mayfly.Crashed, "hello failed: %w", mayfly.Trace("Error: no\n    at f\x1b[2J (hello.js:2)\n\tat g\n")).WithHint("mayfly logs hello")
	p.report(err)
	want := "mayfly: hello failed: Error: no     at f\ufffd[2J (hello.js:2)  at g \n  Error: no\n      at f\ufffd[2J (hello.js:2)\n      at g\nhint: mayfly logs hello\n"
	if got := stderr.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
