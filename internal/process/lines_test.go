package process

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
)

func TestLinesAreSplit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxLine)
	for _, tt := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"nothing", nil, nil},
		{"one", []string{"a\n"}, []string{"a"}},
		{"two in one write", []string{"a\nb\n"}, []string{"a", "b"}},
		{"one in three writes", []string{"a", "b", "c\n"}, []string{"abc"}},
		{"an empty line", []string{"a\n\nb\n"}, []string{"a", "", "b"}},
		{"the last without an end", []string{"a\nb"}, []string{"a", "b"}},
		{"CR LF", []string{"a\r\nb\r", "\n"}, []string{"a", "b"}},
		{"CR alone stays", []string{"50%\r100%\n"}, []string{"50%\r100%"}},
		{"invalid UTF-8", []string{"a\xffb\n"}, []string{"a\uFFFDb"}},
		{"a character in two writes", []string{"\xc3", "\xa9\n"}, []string{"é"}},
		{"the longest", []string{long + "\n"}, []string{long}},
		{"the longest in pieces with CR LF", []string{long, "\r", "\n"}, []string{long}},
		{"too long", []string{long + "yz\n"}, []string{long, "yz"}},
		{"too long, no end", []string{long, "yz"}, []string{long, "yz"}},
		{"too long, no character torn", []string{long[1:] + "é\n"}, []string{long[1:], "é"}},
		{"much too long", []string{long + long + "y"}, []string{long, long, "y"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			l := Lines(func(text string) { got = append(got, text) })
			for _, text := range tt.writes {
				if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
					t.Fatalf("Write = %d, %v", n, err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%.500s", diff)
			}
		})
	}
}

// How the input is split into writes makes no difference, unless a line is too long.
func FuzzLines(f *testing.F) {
	f.Add("a\r\nb\n\xff\xc3", 3)
	f.Add(strings.Repeat("é", maxLine/2+1)+"\n", 1000)
	f.Fuzz(func(t *testing.T, text string, at int) {
		if at < 0 || at > len(text) {
			return
		}
		split := func(writes ...string) (lines []string) {
			l := Lines(func(line string) {
				if len(line) > maxLine || !utf8.ValidString(line) || strings.Contains(line, "\n") {
					t.Errorf("bad line of %d bytes", len(line))
				}
				lines = append(lines, line)
			})
			for _, w := range writes {
				_, _ = l.Write([]byte(w))
			}
			_ = l.Close()
			return lines
		}
		whole, divided := split(text), split(text[:at], text[at:])
		if len(text) <= maxLine && !cmp.Equal(whole, divided) {
			t.Errorf("%q divided at %d gives %q, whole %q", text, at, divided, whole)
		}
	})
}

func TestTailKeepsTheLastLines(t *testing.T) {
	t.Parallel()
	var tail Tail
	if got := tail.Trace(); got != nil {
		t.Errorf("Trace of nothing = %v", got)
	}
	for i := range tailLines + 2 {
		tail.Add(mayfly.Line{Text: strconv.Itoa(i)})
	}
	tail.Add(mayfly.Line{Text: strings.Repeat("é", tailLine)})
	got := strings.Split(tail.Trace().Error(), "\n")
	if len(got) != tailLines || got[0] != "3" || !strings.HasSuffix(got[tailLines-1], "é...") {
		t.Errorf("Trace has %d lines from %q to %.10q", len(got), got[0], got[len(got)-1])
	}
}

func TestTailOfACallHoldsNoOthers(t *testing.T) {
	t.Parallel()
	var tail Tail
	began := time.Unix(1e9, 0)
	for _, line := range []mayfly.Line{
		{Time: began.Add(-2), Text: "before"},
		{Time: began.Add(-1), Call: "c1", Text: "of an earlier call"},
		{Time: began, Text: "nobody's"},
		{Time: began.Add(1), Call: "c2", Text: "its own"},
		{Time: began.Add(2), Call: "c3", Text: "of one beside it"},
	} {
		tail.Add(line)
	}
	for _, tt := range []struct{ call, want string }{
		{"c2", "nobody's\nits own"},
		{"", "nobody's"},
	} {
		if got := tail.TraceOf(tt.call, began); got != mayfly.Trace(tt.want) {
			t.Errorf("TraceOf(%q) = %q, want %q", tt.call, got, tt.want)
		}
	}
	if got := tail.TraceOf("c4", began.Add(1)); got != nil {
		t.Errorf("TraceOf of one without lines = %q", got)
	}
}
