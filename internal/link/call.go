package link

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/frame"
	"github.com/mayfly-run/mayfly/internal/head"
	"github.com/mayfly-run/mayfly/internal/scope"
)

const (
	maxTrace    = 64 << 10 // bytes
	maxHeadline = 1 << 10  // bytes
)

// A call is one call of a link. Whoever removes it from the link may set how it ended.
type call struct {
	link   *Link
	number uint32
	id     string
	began  time.Time
	method string

	answer chan struct{} // the reply has begun, or never will; then:
	reply  mayfly.Reply
	err    error   // instead of a reply
	stream *stream // of the reply's body, if more of it follows

	reads bool // the link's frames, until it is answered
	begun bool // the reply; of whoever reads

	watch   scope.Watch
	expires func() // expire as a value, made once

	room    chan struct{} // that granted may have grown or the call has ended; nil if all was sent at once
	mu      sync.Mutex
	granted int // bytes of the request that may be sent
}

// begin takes the reply's head, and its body if that is all of it.
func (x *call) begin(f frame.Frame) {
	reply, length, err := parseReply(f, x.method)
	switch {
	case err != nil:
		x.link.cancel(x)
		x.fail(err)
	case f.End:
		if x.link.remove(x) {
			x.reply = reply
			x.answer <- struct{}{}
		}
	default:
		s := newStream(x, reply.Body, length)
		reply.Body, reply.Length = nil, length
		x.link.open(x, reply, s)
	}
}

var errCanceled = errors.New("canceled")

// expire ends a call whose context has ended.
func (x *call) expire() {
	if x.link.cancel(x) {
		x.fail(errCanceled)
		x.kick()
	}
}

// kick has the call notice an answer that did not come from the instance.
func (x *call) kick() {
	if x.reads {
		_ = x.link.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// fail ends a call that was removed, with an error instead of the reply or the rest of it.
func (x *call) fail(err error) {
	if x.stream != nil {
		x.stream.end(err)
		return
	}
	x.err = err
	x.answer <- struct{}{}
}

// explain has an error of the link explained.
func (x *call) explain(err error) error {
	if b, ok := errors.AsType[brokenLink](err); ok {
		return x.link.options.Broken(x.id, x.began, b.error)
	}
	return err
}

// parseReply parses a frame that begins a reply. The length is that of the body, -1 if it is
// unknown. Errors have code Crashed.
func parseReply(f frame.Frame, method string) (r mayfly.Reply, length int64, err error) {
	if n := len(f.Head); n == 0 || f.Head[n-1] != '\n' {
		return r, 0, malformed("its head does not end in a line end")
	}
	var ok bool
	if r.Status, ok = head.Status(f.Head[:min(3, len(f.Head))]); !ok || f.Head[3] != '\n' || r.Status < 200 || r.Status > 599 {
		return r, 0, malformed("its first line is %q", mayfly.Clip(string(f.Head)))
	}
	length = -1
	if r.Header, err = parseHeader(f.Head[4:], &length, method == "HEAD"); err != nil {
		return r, 0, err
	}
	bodiless := method == "HEAD" || r.Status == 204 || r.Status == 304
	switch {
	case bodiless:
		return r, 0, nil
	case f.End && length >= 0 && length != int64(len(f.Body)):
		return r, 0, malformed("its Content-Length is %d, and its body has %d bytes", length, len(f.Body))
	}
	if len(f.Body) > 0 {
		r.Body = append([]byte(nil), f.Body...)
	}
	return r, length, nil
}

// parseHeader parses the lines of a header, of which it makes the names canonical in place. It
// sets the length if there is one, and keeps it in the header if keep is set.
func parseHeader(b []byte, length *int64, keep bool) (map[string][]string, error) {
	n := 0
	for rest := b; len(rest) > 0; n++ {
		end := indexLine(rest)
		if err := head.Canonical(rest[:end]); err != nil {
			return nil, err.WithHint(replyHint)
		}
		rest = rest[end+1:]
	}
	// The header is cut from one string, and all values share one array.
	text, values := string(b), make([]string, n)
	header := make(map[string][]string, n)
	for i := range n {
		end := strings.IndexByte(text, '\n')
		name, value, _ := strings.Cut(text[:end], ":")
		value, text = strings.Trim(value, " \t"), text[end+1:]
		if name == "Content-Length" {
			was := *length
			var ok bool
			if *length, ok = head.Length(value); !ok || was >= 0 && was != *length {
				return nil, malformed("its Content-Length is %q", mayfly.Clip(value))
			}
			if keep {
				header[name] = []string{value}
			}
			continue
		}
		if mayfly.IsHopByHop(name) || mayfly.IsReserved(name) {
			continue
		}
		if before := header[name]; before != nil {
			header[name] = append(before, value)
			continue
		}
		values[i] = value
		header[name] = values[i : i+1 : i+1]
	}
	return header, nil
}

// indexLine returns where the first line of b ends; b has a line end.
func indexLine(b []byte) int {
	for i, c := range b {
		if c == '\n' {
			return i
		}
	}
	return len(b)
}

const replyHint = "see docs/frames.md"

func malformed(format string, args ...any) error {
	return head.Malformed(format, args...).WithHint(replyHint)
}

// Crash is the error for an instance's report that the user's code failed.
func Crash(text string, trace []byte) error {
	if len(text) > maxHeadline {
		text = text[:maxHeadline]
	}
	return &mayfly.Error{Code: mayfly.Crashed, Message: text, Err: mayfly.Trace(trace[:min(len(trace), maxTrace)])}
}
