package logs

import (
	"crypto/rand"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
)

const (
	window = time.Second // the bounds that follow are for as long, or until NATS takes lines again

	mostAll       = 4 << 20  // bytes of all lines
	mostInstance  = 1 << 20  // of those, from one instance: a flood must not push out the others
	leastInstance = 32 << 10 // that each may write, however many flood, up to mostEver of all
	mostEver      = 4 * mostAll
	mostMessage   = 256 << 10 // bytes of one message
	mostText      = 16 << 10  // bytes of one line; the rest is cut off
	escaped       = 6         // bytes that JSON may need for one: a control character is \u0000
	ample         = 1 << 10   // for a line's other fields and a message's headers
)

// A waiting holds the queued lines by instance, and counts those of the current window.
// The bound on a window protects the node's memory and the store, which a flood would
// otherwise fill with its own lines alone.
type waiting struct {
	limit   int       // bytes of a message
	began   time.Time // the window
	size    int       // bytes of all in the window
	batches map[writer]*batch
	order   []*batch // as they began
}

// A writer is an instance of a function or service.
type writer struct{ function, instance string }

// A batch holds the queued lines of one instance.
type batch struct {
	subject string
	from    mayfly.Line // the writer: function, revision, instance
	parts   [][]byte    // one for each message, JSON lines
	lines   int         // in parts
	size    int         // bytes in the window
	dropped int         // in the window
}

// newWaiting takes the server's limit for a message.
func newWaiting(maxPayload int64) *waiting {
	w := &waiting{batches: map[writer]*batch{}}
	w.fit(maxPayload)
	return w
}

// fit takes the server's limit for a message, which may have changed.
func (w *waiting) fit(maxPayload int64) {
	w.limit = mostMessage
	if maxPayload > 0 {
		w.limit = min(w.limit, int(maxPayload)-ample)
	}
}

// add queues a line, or returns false and counts it as dropped. Once nothing has room, a
// writer without a line in the window gets no notice either.
func (w *waiting) add(line mayfly.Line, now time.Time) bool {
	if w.began.IsZero() {
		w.began = now
	}
	b, all := w.batches[writer{line.Function, line.Instance}], w.size+len(line.Text)
	if b == nil {
		if all > mostEver {
			return false
		}
		b = w.begin(line)
	}
	size := b.size + len(line.Text)
	if b.dropped > 0 || size > mostInstance || all > mostEver || all > mostAll && size > leastInstance {
		b.dropped++ // cheap in a flood: before any JSON; and all the others of the window, so that the gap is one
		return false
	}
	data := encode(line, w.limit)
	b.add(data, w.limit)
	w.size += len(data)
	return true
}

func (w *waiting) begin(line mayfly.Line) *batch {
	b := &batch{
		subject: subjectOf(line.Function, line.Instance),
		from:    mayfly.Line{Function: line.Function, Revision: line.Revision, Instance: line.Instance},
	}
	w.batches[writer{line.Function, line.Instance}] = b
	w.order = append(w.order, b)
	return b
}

func (b *batch) add(line []byte, limit int) {
	b.size += len(line)
	b.lines++
	if n := len(b.parts); n > 0 && len(b.parts[n-1])+len(line) <= limit {
		part := b.parts[n-1]
		if room := cap(part) - len(part); room < len(line) {
			// In steps of four: append's own of a quarter leave four times as much garbage.
			part = slices.Grow(part, max(len(line), min(3*cap(part), limit-len(part))))
		}
		b.parts[n-1] = append(part, line...)
		return
	}
	b.parts = append(b.parts, line)
}

// take returns the queued lines as messages, and their number. At the end of a window, or
// with last, a notice stands in for lines that were dropped, and a new window begins.
func (w *waiting) take(now time.Time, last bool) (messages []*nats.Msg, lines int) {
	over := last || now.Sub(w.began) >= window
	for _, b := range w.order {
		lines += b.lines
		if over && b.dropped > 0 {
			b.add(encode(b.notice(now), w.limit), w.limit)
		}
		for _, part := range b.parts {
			m := nats.NewMsg(b.subject)
			m.Header.Set(nats.MsgIdHdr, rand.Text())
			m.Data = part
			messages = append(messages, m)
		}
		b.parts, b.lines = nil, 0
	}
	if over {
		*w = waiting{limit: w.limit, batches: map[writer]*batch{}}
	}
	return messages, lines
}

// notice says how many lines are missing.
func (b *batch) notice(now time.Time) mayfly.Line {
	line := b.from
	line.Time, line.Source = now, mayfly.System
	line.Text = strconv.Itoa(b.dropped) + " lines of " + line.Function + " dropped here: they came faster than they could be stored"
	return line
}

// encode returns a line as JSON with a newline. Text that is too long is truncated and
// says so.
func encode(line mayfly.Line, limit int) []byte {
	line.Text = cut(line.Text, max(0, min(mostText, (limit-ample)/escaped)))
	line.Function, line.Instance, line.Call = cut(line.Function, maxToken), cut(line.Instance, maxToken), cut(line.Call, maxToken)
	data, err := json.Marshal(line)
	if err != nil {
		// JSON has no time beyond the year 9999, and nothing else can fail.
		line.Time = time.Time{}
		data, _ = json.Marshal(line)
	}
	return append(data, '\n')
}

// cut truncates text to about most bytes and says how many are missing.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	kept := text[:most]
	for i := 0; i < utf8.UTFMax && kept != "" && !utf8.ValidString(kept[max(0, len(kept)-utf8.UTFMax):]); i++ {
		kept = kept[:len(kept)-1]
	}
	return kept + "... (" + strconv.Itoa(len(text)-len(kept)) + " more bytes)"
}

// decode returns the lines of a message and skips everything else: any client that may
// publish can write to the stream.
func decode(data []byte) []mayfly.Line {
	var lines []mayfly.Line
	for text := range strings.Lines(string(data)) {
		var line mayfly.Line
		if json.Unmarshal([]byte(text), &line) == nil && line.Function != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// maxToken bounds a token of a subject; names of functions and services are shorter.
const maxToken = 64

// subjectOf returns the subject of an instance's lines.
func subjectOf(function, instance string) string {
	return mayfly.SubjectLogs + "." + token(function) + "." + token(instance)
}

// token returns s as one token of a subject. Names stay as they are; in anything else
// each odd character becomes an underscore.
func token(s string) string {
	if len(s) > maxToken {
		s = s[:maxToken]
	}
	s = strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			return c
		default:
			return '_'
		}
	}, s)
	if s == "" {
		return "_"
	}
	return s
}
