package logs

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
)

func TestTokensFitASubject(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"a function", "hello-2", "hello-2"},
		{"a service", "Hacker_News", "Hacker_News"},
		{"nothing", "", "_"},
		{"wildcards", "a.*.>", "a____"},
		{"line ends", "a\r\nPUB b", "a__PUB_b"},
		{"other letters", "é€", "__"},
		{"no text at all", "\xff\xfe", "__"},
		{"too long", strings.Repeat("x", 5000), strings.Repeat("x", 64)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := token(tt.in); got != tt.want {
				t.Errorf("token(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestNoLineMakesTooLargeAMessage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text string }{
		{"long", strings.Repeat("x", 1<<20)},
		{"long, of control characters", strings.Repeat("\x00", 1<<20)},
		{"long, of other letters", strings.Repeat("€", 1<<19)},
		{"long, of no text", strings.Repeat("\xff", 1<<20)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, limit := range []int{mostMessage, 16 << 10, 2 << 10} {
				data := encode(mayfly.Line{Function: "hello", Text: tt.text}, limit)
				if len(data) > limit {
					t.Errorf("with limit %d the line has %d bytes", limit, len(data))
				}
				lines := decode(data)
				if len(lines) != 1 || !strings.HasSuffix(lines[0].Text, "more bytes)") || !utf8.ValidString(lines[0].Text) {
					t.Errorf("with limit %d it was read as %d lines", limit, len(lines))
				}
			}
		})
	}
}

func TestABatchIsDividedByLines(t *testing.T) {
	t.Parallel()
	w := newWaiting(8 << 10)
	const many = 1000
	for i := range many {
		w.add(mayfly.Line{Function: "hello", Instance: "a", Revision: uint64(i)})
		w.add(mayfly.Line{Function: "hello", Instance: "b", Revision: uint64(i)})
	}
	messages, lines := w.messages(time.Time{})
	if lines != 2*many {
		t.Errorf("%d lines", lines)
	}
	got := map[string]uint64{}
	ids := map[string]bool{}
	for _, m := range messages {
		if len(m.Data) > w.limit {
			t.Errorf("a message has %d bytes, the limit is %d", len(m.Data), w.limit)
		}
		ids[m.Header.Get("Nats-Msg-Id")] = true
		for _, line := range decode(m.Data) {
			if line.Revision != got[m.Subject] {
				t.Fatalf("line %d of %s comes after %d", line.Revision, m.Subject, got[m.Subject])
			}
			got[m.Subject]++
		}
	}
	if want := map[string]uint64{"mayfly.log.hello.a": many, "mayfly.log.hello.b": many}; !cmp.Equal(got, want) || len(ids) != len(messages) {
		t.Errorf("lines by subject: %v; %d ids for %d messages", got, len(ids), len(messages))
	}
}

func TestOneThatFloodsTakesNoOthersRoom(t *testing.T) {
	t.Parallel()
	w := newWaiting(1 << 20)
	line := mayfly.Line{Function: "flood", Revision: 7, Instance: "a", Text: strings.Repeat("x", 10<<10)}
	kept := 0
	for range 1000 {
		if w.add(line) {
			kept++
		}
	}
	if !w.add(mayfly.Line{Function: "quiet", Text: "hello"}) {
		t.Error("the quiet one has no room")
	}
	if kept == 0 || kept == 1000 || w.size > mostInstance+20<<10 {
		t.Errorf("%d lines of the flood are kept, %d bytes", kept, w.size)
	}
	messages, _ := w.messages(time.Now())
	var last mayfly.Line
	for _, m := range messages {
		for _, l := range decode(m.Data) {
			if l.Function == "flood" {
				last = l
			}
		}
	}
	if last.Source != mayfly.System || last.Revision != 7 || last.Instance != "a" || !strings.Contains(last.Text, "lines dropped here") {
		t.Errorf("the last line of the flood is %+v", last)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"time":"2026-11-22T16:00:00Z","function":"hello","revision":1,"source":"stdout","text":"hi"}` + "\n"))
	f.Add([]byte("\n\n{}\n[]\nnull\n\"x\"\n{\"function\":7}"))
	f.Add([]byte("{\"function\":\"a\",\"text\":\"\\ud800\"}\n\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, line := range decode(data) {
			again := decode(encode(line, mostMessage))
			if len(again) != 1 || again[0].Source != line.Source || len(line.Text) <= mostText && again[0].Text != line.Text {
				t.Fatalf("%+v came back as %+v", line, again)
			}
			_ = subjectOf(line.Function, line.Instance)
		}
	})
}
