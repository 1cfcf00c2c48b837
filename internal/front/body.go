package front

import (
	"io"
	"net/http"
	"sync"
)

// mostDrained is how much of a body that its handler did not read is read in its
// stead, so that the connection can go on.
const mostDrained = 256 << 10

// A body is that of a request with a Content-Length. It is read from the
// connection as the handler asks for it, so that a client that sends more than is
// asked for has to wait.
type body struct {
	conn *conn

	mu     sync.Mutex
	left   int64
	failed error // what the connection's read failed with
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
		b.conn.arm() // from here on nobody else reads
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

// Close implements io.Closer. What is left of the body is read if it is little.
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
// outlived the handler, reads the rest only where the connection shall go on, and
// returns how much is left.
func (b *body) end(goOn bool) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if goOn && !b.closed {
		_ = b.drain() // what is left says it
	}
	b.closed = true
	return b.left
}

// drain reads the rest if it is little. The caller holds mu.
func (b *body) drain() error {
	if b.left == 0 || b.left > mostDrained {
		return nil // with more the connection cannot go on
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

// empty drains the body before its answer begins, because a simple client reads
// nothing before it has sent everything. It returns how much is left.
func (b *body) empty() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed && b.failed == nil {
		_ = b.drain() // what is left says it
	}
	return b.left
}
