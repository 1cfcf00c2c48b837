package front

import (
	"io"
	"net/http"
	"sync"
)

// mostDrained is how many unread bytes of a body are drained to keep the connection.
const mostDrained = 256 << 10

// A body is a request body with a Content-Length. It is read from the connection on
// demand, so a client that sends too fast has to wait.
type body struct {
	conn *conn

	mu     sync.Mutex
	left   int64
	failed error // error of the connection's read
	closed bool
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

// read is Read for a caller that holds mu.
func (b *body) read(p []byte) (int, error) {
	switch {
	case b.left == 0:
		return 0, io.EOF
	case b.failed != nil:
		return 0, b.failed
	case len(p) == 0:
		return 0, nil
	}
	p = p[:min(int64(len(p)), b.left)]
	n, err := b.conn.read(p)
	b.left -= int64(n)
	if b.left == 0 {
		b.conn.arm() // nothing else reads from here on
		return n, io.EOF
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		b.failed = err
		b.conn.watcher.leave()
	}
	return n, err
}

// Close implements io.Closer. It drains a short rest of the body.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	return b.drain()
}

// end is Close by the connection, at the request's end. It waits for a reader that
// outlived the handler, drains the rest only if the connection should continue, and
// returns how much is left.
func (b *body) end(goOn bool) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if goOn && !b.closed {
		_ = b.drain() // on failure something is left
	}
	b.closed = true
	return b.left
}

// drain reads a short rest. The caller holds mu.
func (b *body) drain() error {
	if b.left == 0 || b.left > mostDrained {
		return nil // the connection cannot continue with more
	}
	b.conn.reads.bound(after(b.conn.server.ReadHeaderTimeout))
	scratch := buffers.Get().(*buffer)
	defer buffers.Put(scratch)
	for b.left > 0 {
		if _, err := b.read(scratch[:]); err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// empty drains the body before its answer begins, because simple clients read nothing
// before they have sent everything. It returns how much is left.
func (b *body) empty() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed && b.failed == nil {
		_ = b.drain() // on failure something is left
	}
	return b.left
}
