package logs

import (
	"crypto/rand"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
)

const (
	mostWaiting  = 16 << 20  // bytes of all queued lines
	mostInstance = 2 << 20   // of those, from one instance: a flood must not push out the others
	mostMessage  = 256 << 10 // bytes of one message
	mostText     = 16 << 10  // bytes of one line; the rest is cut off
	escaped      = 6         // bytes that JSON may need for one: a control character is \u0000
	ample        = 1 << 10   // for a line's other fields and a message's headers
)

// A waiting holds the queued lines by instance.
type waiting struct {
	limit   int // bytes of a message
	size    int // bytes of all
	batches map[string]*batch
	order   []*batch // as they began
}

// A batch holds the queued lines of one instance.
type batch struct {
	subject string
	from    mayfly.Line // the writer: function, revision, instance
	parts   [][]byte    // one for each message, JSON lines
	size    int
	lines   int
	dropped int
}

// newWaiting takes the server's limit for a message.
func newWaiting(maxPayload int64) *waiting {
	limit := mostMessage
	if maxPayload > 0 {
		limit = min(limit, int(maxPayload)-ample)
	}
	return &waiting{limit: limit, batches: map[string]*batch{}}
}

// add queues a line, or counts it as dropped and returns false.
func (w *waiting) add(line mayfly.Line) bool {
	subject := subjectOf(line.Function, line.Instance)
	b := w.batches[subject]
	if b == nil {
		b = &batch{subject: subject, from: mayfly.Line{Function: line.Function, Revision: line.Revision, Instance: line.Instance}}
		w.batches[subject] = b
		w.order = append(w.order, b)
	}
	if w.size+len(line.Text) > mostWaiting || b.size+len(line.Text) > mostInstance {
		b.dropped++ // cheap in a flood: before any JSON
		return false
	}
	data := encode(line, w.limit)
	b.add(data, w.limit)
	w.size += len(data)
	return true
}

func (b *batch) add(line []byte, limit int) {
	b.size += len(line)
	b.lines++
	if n := len(b.parts); n > 0 && len(b.parts[n-1])+len(line) <= limit {
		b.parts[n-1] = append(b.parts[n-1], line...)
		return
	}
	b.parts = append(b.parts, line)
}

// messages returns the queued lines as messages, and their number. A notice stands in
// for lines that were dropped.
func (w *waiting) messages(now time.Time) (messages []*nats.Msg, lines int) {
	for _, b := range w.order {
		lines += b.lines
		if b.dropped > 0 {
			notice := b.from
			notice.Time, notice.Source = now, mayfly.System
			notice.Text = strconv.Itoa(b.dropped) + " lines dropped here: they came faster than they could be stored"
			b.add(encode(notice, w.limit), w.limit)
		}
		for _, part := range b.parts {
			m := nats.NewMsg(b.subject)
			m.Header.Set(nats.MsgIdHdr, rand.Text())
			m.Data = part
			messages = append(messages, m)
		}
	}
	return messages, lines
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
