package front

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// mostHeld is how much of a body is held back to see whether more follows: a body
// that fits gets a Content-Length.
const mostHeld = 2 << 10

// A response is the http.ResponseWriter of one request. It decides the framing: a
// handler's Transfer-Encoding and Trailer are dropped.
//
// The head's lines are written as soon as the status is known, so the map, which the
// handler may go on to change, need not be copied; only lines that depend on the body
// wait for it:
//
//	WriteHeader ──► status line, headers ──► held body ──► frame ──► body
type response struct {
	conn    *conn
	header  http.Header
	body    body // of the request
	hasBody bool
	head    bool // HEAD: the answer has no body
	duplex  bool // the handler reads while it writes

	status  int   // 0 until WriteHeader
	length  int64 // Content-Length; -1 if unknown
	written int64
	dated   bool     // the handler set the Date
	typed   bool     // the Content-Type is set or not needed
	coupled []string // Connection, as the handler set it
	held    []byte
	room    *buffer // backs held

	over atomic.Bool // the handler has returned; later writes are ignored

	framed  bool // the head is complete
	chunked bool
	closing bool // the connection ends after this answer
}

// Header implements http.ResponseWriter. The connection uses the map again when the handler has
// returned.
func (w *response) Header() http.Header {
	if w.over.Load() {
		return http.Header{}
	}
	return w.header
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if !w.over.Load() {
		w.begin(status)
	}
}

// begin is WriteHeader without the check of over.
func (w *response) begin(status int) {
	switch {
	case w.status != 0:
		w.conn.server.logf("front: superfluous WriteHeader(%d) after %d", status, w.status)
		return
	case status < 100 || status > 999:
		panic(fmt.Sprintf("front: invalid status %d", status))
	}
	w.conn.open()
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.lines(status)
		w.conn.out = append(w.conn.out, "\r\n"...)
		_ = w.conn.send() // the next Write reports it
		return
	}
	w.status = status
	if given := w.header["Content-Length"]; len(given) > 0 {
		n, err := strconv.ParseInt(given[0], 10, 64)
		if err == nil && n >= 0 {
			w.length = n
		} else {
			w.conn.server.logf("front: invalid Content-Length %q", given[0])
		}
	}
	w.lines(status)
	if w.length >= 0 && w.bodyAllowed() {
		w.lengthLine()
	}
}

// lines writes the status line and the headers that do not depend on the body.
func (w *response) lines(status int) {
	out := append(w.conn.out, "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(status), 10)
	if text := http.StatusText(status); text != "" {
		out = append(append(out, ' '), text...)
	} else {
		out = strconv.AppendInt(append(out, " status code "...), int64(status), 10)
	}
	out = append(out, "\r\n"...)
	for name, values := range w.header {
		if w.own(name, values) || !isName(name) {
			continue
		}
		for _, v := range values {
			out = append(append(out, name...), ": "...)
			out = appendValue(out, v)
			out = append(out, "\r\n"...)
		}
	}
	w.conn.out = out
}

// own notes a header that concerns the framing, and reports whether it is not to be
// written unchanged.
func (w *response) own(name string, values []string) bool {
	switch len(name) {
	case len("Date"):
		w.dated = w.dated || name == "Date" && len(values) > 0
	case len("Content-Type"):
		if name == "Content-Type" {
			w.typed = true
			return w.status == http.StatusNotModified
		}
	case len("Content-Encoding"):
		w.typed = w.typed || name == "Content-Encoding" && len(values) > 0 && values[0] != ""
	case len("Connection"):
		if strings.EqualFold(name, "Connection") {
			w.coupled = values
			w.closing = w.closing || len(values) > 0 && values[0] == "close"
			return true
		}
	case len("Content-Length"):
		return strings.EqualFold(name, "Content-Length")
	case len("Transfer-Encoding"):
		return strings.EqualFold(name, "Transfer-Encoding")
	case len("Trailer"):
		return strings.EqualFold(name, "Trailer")
	}
	return false
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	if w.over.Load() {
		return 0, net.ErrClosed
	}
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !w.bodyAllowed() {
		return 0, http.ErrBodyNotAllowed
	}
	w.written += int64(len(p))
	if w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength
	}
	if !w.framed {
		if (w.length < 0 || !w.typed) && w.written <= mostHeld {
			w.hold(p)
			return len(p), nil
		}
		w.frame(false, p)
	}
	if err := w.put(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// hold keeps p until the body's size is known.
func (w *response) hold(p []byte) {
	if w.room == nil {
		w.room = buffers.Get().(*buffer)
		w.held = w.room[:0]
	}
	w.held = append(w.held, p...)
}

// frame ends the head. whole says that the held body is complete; otherwise next
// follows.
func (w *response) frame(whole bool, next []byte) {
	w.framed = true
	c := w.conn
	if w.hasBody && !w.duplex && !w.closing && w.body.empty() > 0 {
		w.closing = true
	}
	w.closing = w.closing || c.server.closing.Load()
	if !w.dated {
		c.out = append(c.out, c.server.dateLine(time.Now())...)
	}
	if w.bodyAllowed() {
		sample := w.held
		if len(sample) == 0 {
			sample = next
		}
		if !w.typed && len(sample) > 0 {
			c.out = append(append(append(c.out, "Content-Type: "...), http.DetectContentType(sample)...), "\r\n"...)
		}
		switch {
		case w.length >= 0:
		case whole && !(w.head && len(w.held) == 0):
			w.length = int64(len(w.held))
			w.lengthLine()
		case !w.head:
			w.chunked = true
			c.out = append(c.out, "Transfer-Encoding: chunked\r\n"...)
		}
	}
	if w.closing {
		w.coupled = connectionClose
	}
	for _, v := range w.coupled {
		c.out = append(appendValue(append(c.out, "Connection: "...), v), "\r\n"...)
	}
	c.out = append(c.out, "\r\n"...)
	if w.room != nil {
		_ = w.put(w.held) // the next Write reports it
		buffers.Put(w.room)
		w.held, w.room = nil, nil
	}
}

var connectionClose = []string{"close"}

func (w *response) lengthLine() {
	out := append(w.conn.out, "Content-Length: "...)
	w.conn.out = append(strconv.AppendInt(out, w.length, 10), "\r\n"...)
}

// put writes a part of the body.
func (w *response) put(p []byte) error {
	c := w.conn
	if w.head || len(p) == 0 || c.sendErr != nil {
		return c.sendErr
	}
	const frame = len("7fffffffffffffff\r\n\r\n")
	fits := len(c.out)+len(p)+frame <= cap(c.out)
	if w.chunked {
		c.out = append(strconv.AppendInt(c.out, int64(len(p)), 16), "\r\n"...)
	}
	switch {
	case fits && w.chunked:
		c.out = append(append(c.out, p...), "\r\n"...)
	case fits:
		c.out = append(c.out, p...)
	case w.chunked:
		return c.send(p, lineEnd)
	default:
		return c.send(p)
	}
	return nil
}

var lineEnd = []byte("\r\n")

// finish completes the answer after the handler returned. It reports whether all of it
// was sent.
func (w *response) finish() bool {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	if !w.framed {
		w.frame(true, nil)
	}
	if w.chunked {
		w.conn.out = append(w.conn.out, "0\r\n\r\n"...)
	}
	err := w.conn.send()
	whole := w.head || !w.bodyAllowed() || w.length < 0 || w.length == w.written
	return err == nil && whole
}

// bodyAllowed reports whether the status allows a body.
func (w *response) bodyAllowed() bool {
	return w.status >= 200 && w.status != http.StatusNoContent && w.status != http.StatusNotModified
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError implements the method that http.ResponseController looks for.
func (w *response) FlushError() error {
	if w.over.Load() {
		return net.ErrClosed
	}
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	if !w.framed {
		w.frame(false, nil)
	}
	return w.conn.send()
}

// SetReadDeadline implements the method that http.ResponseController looks for. The
// deadline only applies to the request's body.
func (w *response) SetReadDeadline(t time.Time) error {
	if w.over.Load() {
		return net.ErrClosed
	}
	w.conn.reads.want(t)
	return nil
}

// SetWriteDeadline implements the method that http.ResponseController looks for. The deadline
// may last an eighth longer.
func (w *response) SetWriteDeadline(t time.Time) error {
	if w.over.Load() {
		return net.ErrClosed
	}
	if now := time.Now(); t.After(now) {
		w.conn.writes.about(now, t.Sub(now))
	} else {
		w.conn.writes.want(t)
	}
	return nil
}

// EnableFullDuplex implements the method that http.ResponseController looks for.
func (w *response) EnableFullDuplex() error {
	w.duplex = true
	return nil
}

// isName reports whether a header name is valid.
func isName(name string) bool {
	for i := range len(name) {
		if !isToken[name[i]] {
			return false
		}
	}
	return name != ""
}

// appendValue appends a header value on one line.
func appendValue(out []byte, v string) []byte {
	v = strings.Trim(v, " \t\r\n")
	if strings.IndexByte(v, '\n') < 0 && strings.IndexByte(v, '\r') < 0 {
		return append(out, v...)
	}
	return append(out, oneLine.Replace(v)...)
}

var oneLine = strings.NewReplacer("\n", " ", "\r", " ")
