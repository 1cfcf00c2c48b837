package instance

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/frame"
)

const (
	keepBody  = 16 << 10      // bytes of a reply that wait for its end, or for Flush
	sniffSize = 512           // bytes that http.DetectContentType looks at
	pieceSize = frame.MaxBody // of what ReadFrom reads
	keepHead  = 64 << 10      // a larger buffer is not kept
)

// A response is the http.ResponseWriter of a call. A reply that fits into its buffer is one
// frame.
type response struct {
	call   *call
	worker *worker // has the buffers
	header http.Header
	status int  // 0 before WriteHeader
	sent   bool // the head
	over   bool // the handler has returned
	typed  bool // Content-Type must not be added

	length  int64 // that the handler has set; -1 if it has not
	written int64 // bytes of body, also those that HEAD drops
}

func (r *response) begin(w *worker) {
	r.worker, r.length = w, -1
	w.head, w.body = w.head[:0], w.body[:0]
}

// Header implements http.ResponseWriter.
func (r *response) Header() http.Header {
	if r.header == nil {
		r.header = make(http.Header)
	}
	return r.header
}

// WriteHeader implements http.ResponseWriter. It formats the head, so that later changes of the
// header do not count.
func (r *response) WriteHeader(status int) {
	switch {
	case r.over:
		return
	case r.status != 0:
		_, file, line, _ := runtime.Caller(1)
		fmt.Fprintf(os.Stderr, "superfluous WriteHeader(%d) at %s:%d\n", status, strings.TrimPrefix(file, r.call.session.folder), line)
		return
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	case status < 200 && status != http.StatusSwitchingProtocols:
		return // nothing passes it on
	}
	r.status = status
	head := append(strconv.AppendInt(r.worker.head[:0], int64(status), 10), '\n')
	for name, values := range r.header {
		if r.takes(name, values) {
			for _, value := range values {
				head = appendHeader(head, name, value)
			}
		}
	}
	r.worker.head = head
}

// takes notes what a header says about the body, and reports whether the reply has it.
func (r *response) takes(name string, values []string) bool {
	switch name {
	case "Content-Length":
		if len(values) == 0 || r.status == http.StatusNoContent || r.status == http.StatusNotModified {
			return false
		}
		length, err := strconv.ParseInt(values[0], 10, 64)
		if err != nil || length < 0 {
			return false
		}
		r.length = length
	case "Content-Type":
		r.typed = true
		return r.status != http.StatusNotModified
	case "Content-Encoding":
		r.typed = r.typed || len(values) > 0 && values[0] != ""
	case "Connection", "Transfer-Encoding":
		return false
	}
	return isToken(name)
}

// appendHeader appends a line, and nothing that ends it before its end.
func appendHeader(b []byte, name, value string) []byte {
	b = append(append(b, name...), ':')
	start := len(b)
	b = append(b, strings.TrimSpace(value)...)
	for i := start; i < len(b); i++ {
		if c := b[i]; c == '\n' || c == '\r' || c == 0 {
			b[i] = ' '
		}
	}
	return append(b, '\n')
}

func isToken(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return name != ""
}

// Write implements http.ResponseWriter.
func (r *response) Write(p []byte) (int, error) { return write(r, p) }

// WriteString implements io.StringWriter.
func (r *response) WriteString(p string) (int, error) { return write(r, p) }

func write[T []byte | string](r *response, p T) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	switch {
	case r.over:
		return 0, fmt.Errorf("write after the handler has returned: %w", io.ErrClosedPipe)
	case len(p) == 0:
		return 0, nil
	case r.bodiless():
		return 0, http.ErrBodyNotAllowed
	}
	if r.written += int64(len(p)); r.length >= 0 && r.written > r.length {
		return 0, http.ErrContentLength
	}
	w := r.worker
	if r.call.request.Method == http.MethodHead {
		w.body = append(w.body, p[:min(len(p), sniffSize-min(sniffSize, len(w.body)))]...)
		return len(p), nil
	}
	if len(w.body)+len(p) <= keepBody {
		w.body = append(w.body, p...)
		return len(p), nil
	}
	if err := r.send(false, []byte(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// bodiless reports whether the status allows no body.
func (r *response) bodiless() bool {
	return r.status == http.StatusNoContent || r.status == http.StatusNotModified || r.status < 200
}

// ReadFrom implements io.ReaderFrom.
func (r *response) ReadFrom(from io.Reader) (int64, error) {
	if r.over {
		return 0, io.ErrClosedPipe
	}
	if r.worker.piece == nil {
		r.worker.piece = make([]byte, pieceSize)
	}
	return io.CopyBuffer(struct{ io.Writer }{r}, from, r.worker.piece)
}

// Flush implements http.Flusher.
func (r *response) Flush() { _ = r.FlushError() }

// FlushError sends what is buffered, for http.ResponseController.
func (r *response) FlushError() error {
	if r.over {
		return io.ErrClosedPipe
	}
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	return r.send(false, nil)
}

// SetReadDeadline implements a part of http.ResponseController.
func (r *response) SetReadDeadline(t time.Time) error {
	b := &r.call.body
	b.deadline.set(t, &b.changed)
	return nil
}

// SetWriteDeadline implements a part of http.ResponseController.
func (r *response) SetWriteDeadline(t time.Time) error {
	r.call.writing.set(t, &r.call.changed)
	return nil
}

// EnableFullDuplex implements a part of http.ResponseController: it is always so.
func (r *response) EnableFullDuplex() error { return nil }

// CloseNotify implements http.CloseNotifier, for older programs.
func (r *response) CloseNotify() <-chan bool {
	left := make(chan bool, 1)
	r.call.AfterFunc(func() { left <- true })
	return left
}

// finish ends the reply of a handler that has returned.
func (r *response) finish() {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	w := r.worker
	head := r.call.request.Method == http.MethodHead
	switch {
	case head && !r.sent && r.length < 0 && r.written > 0:
		w.head = append(strconv.AppendInt(append(w.head, "Content-Length:"...), r.written, 10), '\n')
	case !head && !r.bodiless() && r.length > r.written:
		r.call.fail(fmt.Sprintf("the handler wrote %d bytes of a reply with Content-Length %d", r.written, r.length), "")
		return
	}
	_ = r.send(true, nil) // if it fails, nobody waits for the rest
	if cap(w.head) > keepHead {
		w.head = nil
	}
}

// send sends the head, if it was not sent, and what is buffered and more of the body, as the
// node takes it.
func (r *response) send(end bool, more []byte) error {
	w := r.worker
	if !r.sent {
		r.sniff(more)
		if len(w.head) > frame.MaxHead {
			r.call.abort(fmt.Sprintf("the reply's headers have %d bytes: at most %d fit", len(w.head), frame.MaxHead), "")
		}
	}
	first := w.body
	if r.call.request.Method == http.MethodHead {
		first = nil
	}
	for {
		all := len(first) + len(more)
		n, err := r.call.take(min(all, frame.MaxBody))
		if err != nil {
			return err
		}
		cut := min(n, len(first))
		if n > 0 || end || !r.sent {
			r.emit(end && n == all, first[:cut], more[:n-cut])
		}
		if first, more = first[cut:], more[n-cut:]; n == all {
			w.body = w.body[:0]
			return nil
		}
	}
}

// emit sends a frame.
func (r *response) emit(end bool, first, more []byte) {
	to, kind, head := r.call.session.writer, frame.Data, []byte(nil)
	if !r.sent {
		kind, head, r.sent = frame.Head, r.worker.head, true
	}
	b := to.BeginBody()
	start := len(b)
	b = append(frame.Begin(b, r.call.id, kind), head...)
	b = append(append(b, first...), more...)
	frame.Finish(b[start:], len(head), end)
	to.Flush(b)
}

// sniff adds the Content-Type that the body seems to have.
func (r *response) sniff(more []byte) {
	w := r.worker
	if r.typed || len(w.body)+len(more) == 0 {
		return
	}
	sample := w.body
	if len(sample) < sniffSize && len(more) > 0 {
		sample = append(append(make([]byte, 0, sniffSize), sample...), more[:min(len(more), sniffSize-len(sample))]...)
	}
	w.head = appendHeader(w.head, "Content-Type", http.DetectContentType(sample))
}
