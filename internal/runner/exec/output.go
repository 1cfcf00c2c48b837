package exec

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// headSize is how much of a reply is kept to send it whole.
const headSize = 64 << 10

// An output is stdout on its way to the reply. It is kept at first; if it is long or
// takes long, it is streamed at its reader's pace.
type output struct {
	begun chan struct{} // closed with the first byte
	full  chan struct{} // closed when there is more than is kept

	from *io.PipeReader
	to   *io.PipeWriter

	mu      sync.Mutex
	kept    []byte
	flowing bool
	more    chan struct{} // closed when kept grows; nil if nothing waits
	last    time.Time     // when the program last wrote, or its reader last read
	writing bool          // the program waits for its reader
}

func newOutput() *output {
	o := &output{begun: make(chan struct{}), full: make(chan struct{}), last: time.Now()}
	o.from, o.to = io.Pipe()
	return o
}

// Write implements io.Writer. Only the process's copying goroutine may call it.
func (o *output) Write(p []byte) (int, error) {
	if o.keep(p) {
		return len(p), nil
	}
	n, err := o.to.Write(p)
	o.mu.Lock()
	o.last, o.writing = time.Now(), false
	o.mu.Unlock()
	return n, err
}

// keep stores p if the reply may still be short.
func (o *output) keep(p []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.flowing && len(o.kept)+len(p) <= headSize {
		if len(o.kept) == 0 && len(p) > 0 {
			close(o.begun)
		}
		o.kept = append(o.kept, p...)
		if o.more != nil {
			close(o.more)
			o.more = nil
		}
		return true
	}
	if !o.flowing {
		o.flowing = true
		close(o.full)
	}
	o.writing = true
	return false
}

// flow returns what was kept, all of a short reply, and a reader of the rest.
func (o *output) flow() (head []byte, rest io.Reader) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flowing = true
	o.last = time.Now()
	return o.kept, o.from
}

// close ends the stream: its reader gets err, or io.EOF if that is nil, and the program
// a broken pipe.
func (o *output) close(err error) { _ = o.to.CloseWithError(err) }

// silence returns how long the program has not written though it could.
func (o *output) silence() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing {
		return 0
	}
	return time.Since(o.last)
}

// headerLacks returns nil if the CGI headers are complete, else a channel that is closed
// with the next bytes.
func (o *output) headerLacks() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, _, ok := cutHeader(o.kept); ok {
		return nil
	}
	if o.more == nil {
		o.more = make(chan struct{})
	}
	return o.more
}

// cutHeader splits a CGI program's output at the first empty line.
func cutHeader(data []byte) (header, body []byte, ok bool) {
	for at := 0; ; {
		n := bytes.IndexByte(data[at:], '\n')
		if n < 0 {
			return nil, nil, false
		}
		line := bytes.TrimSuffix(data[at:at+n], []byte{'\r'})
		if at += n + 1; len(line) == 0 {
			return data[:at], data[at:], true
		}
	}
}
