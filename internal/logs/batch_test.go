package logs

import (
	"fmt"
	"strconv"
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
		w.add(mayfly.Line{Function: "hello", Instance: "a", Revision: uint64(i)}, time.Time{})
		w.add(mayfly.Line{Function: "hello", Instance: "b", Revision: uint64(i)}, time.Time{})
	}
	messages, lines := w.take(time.Now(), true)
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

func TestAFloodTakesNoOthersRoom(t *testing.T) {
	t.Parallel()
	w, now := newWaiting(1<<20), time.Now()
	kept := map[string]int{}
	for range 1000 {
		for i := range 20 {
			line := mayfly.Line{Function: "flood", Revision: 7, Instance: strconv.Itoa(i), Text: strings.Repeat("x", 10<<10)}
			if w.add(line, now) {
				kept[line.Instance] += len(line.Text)
			}
		}
	}
	for i, n := range kept {
		if n < leastInstance/2 || n > mostInstance {
			t.Errorf("%d bytes of instance %s are kept", n, i)
		}
	}
	if most := mostAll + 20*leastInstance; w.size > most {
		t.Errorf("%d bytes are kept, want at most %d", w.size, most)
	}
	if !w.add(mayfly.Line{Function: "quiet", Text: "hello"}, now) {
		t.Error("the quiet one has no room")
	}
}

// While NATS is away, instances come and go.
func TestManyInstancesAreBounded(t *testing.T) {
	t.Parallel()
	w, now, text := newWaiting(1<<20), time.Now(), strings.Repeat("x", 10<<10)
	var kept, dropped int
	for i := range 5000 {
		if w.add(mayfly.Line{Function: "flood", Instance: strconv.Itoa(i), Text: text}, now) {
			kept++
		} else {
			dropped++
		}
	}
	if most := mostEver + mostText; w.size > most || len(w.batches) != kept || dropped == 0 {
		t.Errorf("%d bytes of %d instances are kept, want at most %d; %d lines dropped", w.size, len(w.batches), most, dropped)
	}
}

func TestAFloodIsBoundedHoweverLong(t *testing.T) {
	t.Parallel()
	const seconds, ticks, each = 3, 10, 5000
	w, now := newWaiting(1<<20), time.Now()
	line := mayfly.Line{Function: "flood", Revision: 7, Instance: "a", Text: strings.Repeat("x", 1<<10)}
	var size, kept, told, notices int
	for i := range seconds*ticks + 1 {
		for range each {
			if w.add(line, now) {
				kept++
			}
		}
		now = now.Add(time.Second / ticks)
		messages, _ := w.take(now, i == seconds*ticks)
		for _, m := range messages {
			size += len(m.Data)
			for _, l := range decode(m.Data) {
				if l.Source != mayfly.System {
					continue
				}
				var n int
				if _, err := fmt.Sscanf(l.Text, "%d lines of flood dropped here", &n); err != nil || l.Revision != 7 || l.Instance != "a" {
					t.Errorf("the notice is %+v", l)
				}
				told += n
				notices++
			}
		}
	}
	if most := (seconds + 1) * (mostInstance + 1<<10); size > most {
		t.Errorf("%d bytes in %d s, want at most %d", size, seconds, most)
	}
	if want := (seconds*ticks + 1) * each; kept+told != want || notices != seconds+1 {
		t.Errorf("of %d lines %d are kept and %d told as dropped, in %d notices", want, kept, told, notices)
	}
	if len(w.order) != 0 || len(w.batches) != 0 || w.size != 0 {
		t.Error("the window leaves something behind")
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
