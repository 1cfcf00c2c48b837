package process

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly"
)

// maxLine is the longest line in bytes; longer ones are split.
const maxLine = 64 << 10

// Lines returns a writer that splits its input into lines and calls say with each:
// valid UTF-8, without the line end, at most 64 KiB. Close flushes an unfinished
// line. It is not safe for concurrent use.
func Lines(say func(text string)) io.WriteCloser { return &lines{say: say} }

// tailLines is how many lines a Tail keeps, of at most tailLine bytes each.
const (
	tailLines = 20
	tailLine  = 4 << 10
)

// A Tail keeps a program's last lines, to explain its failure. The zero value is
// ready and safe for concurrent use.
type Tail struct {
	mu    sync.Mutex
	lines []mayfly.Line
}

// Add appends a line.
func (t *Tail) Add(line mayfly.Line) {
	if len(line.Text) > tailLine {
		line.Text = line.Text[:cut(line.Text, tailLine)] + "..."
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		copy(t.lines, t.lines[1:])
		t.lines = t.lines[:tailLines-1]
	}
	t.lines = append(t.lines, line)
}

// Trace returns the lines as the cause of an error, or nil if there are none.
func (t *Tail) Trace() error { return t.trace(func(mayfly.Line) bool { return true }) }

// TraceOf is Trace for one call: its own lines, and unmarked ones since the given
// time.
func (t *Tail) TraceOf(call string, since time.Time) error {
	return t.trace(func(l mayfly.Line) bool {
		return l.Call == call && call != "" || l.Call == "" && !l.Time.Before(since)
	})
}

func (t *Tail) trace(takes func(mayfly.Line) bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var texts []string
	for _, l := range t.lines {
		if takes(l) {
			texts = append(texts, l.Text)
		}
	}
	if texts == nil {
		return nil
	}
	return mayfly.Trace(strings.Join(texts, "\n"))
}

type lines struct {
	say  func(string)
	rest []byte // an unfinished line
}

// Write implements io.Writer. It never fails.
func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, after, ended := bytes.Cut(p, []byte{'\n'})
		if !ended {
			break
		}
		if len(l.rest) > 0 {
			line = append(l.rest, line...)
			l.rest = nil
		}
		l.tell(bytes.TrimSuffix(line, []byte{'\r'}))
		p = after
	}
	l.rest = append(l.rest, p...)
	// maxLine+1 bytes may be a full line and the CR of its CR LF.
	for len(l.rest) > maxLine+1 {
		n := cut(l.rest, maxLine)
		l.tell(l.rest[:n])
		l.rest = append([]byte{}, l.rest[n:]...)
	}
	return n, nil
}

// Close implements io.Closer.
func (l *lines) Close() error {
	if rest := l.rest; len(rest) > 0 {
		l.rest = nil
		l.tell(bytes.TrimSuffix(rest, []byte{'\r'}))
	}
	return nil
}

func (l *lines) tell(line []byte) {
	text := strings.ToValidUTF8(string(line), string(utf8.RuneError))
	for len(text) > maxLine {
		n := cut(text, maxLine)
		l.say(text[:n])
		text = text[n:]
	}
	l.say(text)
}

// cut returns where to split s so that the first part has at most limit bytes and no
// character is split.
func cut[T string | []byte](s T, limit int) int {
	for n := limit; n > limit-utf8.UTFMax; n-- {
		if utf8.RuneStart(s[n]) {
			return n
		}
	}
	return limit // not UTF-8
}
