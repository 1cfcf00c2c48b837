package httpengine

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/link"
)

// A stream is a reply's body that is not held whole. It owns its conn until the
// body ends or it is closed. Close may be called during a Read, and ends it.
type stream struct {
	ended atomic.Bool // whoever sets it must release the conn

	mu   sync.Mutex // guards what follows
	conn *conn
	body io.Reader
	last bool  // the connection ends with the body
	err  error // sticky
}

// readStream returns the reply with its body as a stream. A crash is an error
// whatever its length.
func (c *conn) readStream(h replyHead, reply mayfly.Reply) (mayfly.Reply, error) {
	s := &stream{conn: c, last: h.last}
	switch {
	case h.chunked:
		s.body = &chunks{conn: c}
	case h.length >= 0:
		s.body = &fixed{conn: c, left: h.length}
	default:
		s.body = c.body()
	}
	if h.status == 502 && h.crash != "" {
		trace, _ := io.ReadAll(io.LimitReader(s.body, maxTrace)) // as much as arrived
		return mayfly.Reply{}, link.Crash(h.crash, trace)
	}
	c.owner.answered(c)
	reply.Stream, reply.Length = s, h.length
	return reply, nil
}

// Read returns what has arrived without waiting for more.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended.Load() && s.err == nil {
		s.err = os.ErrClosed
	}
	if s.err != nil || len(p) == 0 {
		return 0, s.err
	}
	n, err := s.body.Read(p)
	if err == nil {
		return n, nil
	}
	s.err = s.explain(err)
	if s.ended.CompareAndSwap(false, true) {
		s.conn.release(errors.Is(err, io.EOF) && !s.last)
	}
	return n, s.err
}

// Close ends the call. Unless the body was read to its end, the function sees its
// client disconnect.
func (s *stream) Close() error {
	if s.ended.CompareAndSwap(false, true) {
		_ = s.conn.Close() // a waiting Read returns and unlocks mu
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conn.release(false)
	}
	return nil
}

// explain says why the body ended.
func (s *stream) explain(err error) error {
	switch c := s.conn; {
	case errors.Is(err, io.EOF):
		return io.EOF
	case s.ended.Load():
		return os.ErrClosed
	case c.ended.Load():
		return mayfly.Errorf(mayfly.Timeout, "the call ended before the reply was complete")
	case c.upload != nil && c.upload.fault() != nil:
		return c.upload.fault()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return mayfly.Errorf(mayfly.Timeout, "the reply stalled for %s", c.patience).
			WithHint("raise idle_timeout: of the function, or write more often")
	}
	if _, said := errors.AsType[*mayfly.Error](err); said {
		return err
	}
	return s.conn.owner.broken(s.conn.id, s.conn.began, cutShort(err))
}

// fixed reads a body of known length.
type fixed struct {
	conn *conn
	left int64
}

func (f *fixed) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.conn.body().Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	switch {
	case err != nil:
		err = cutShort(err)
	case f.left == 0: // a caller that knows the length may not read again
		err = io.EOF
	}
	return n, err
}

// chunks reads a chunked body (RFC 9112, 7.1). It returns data as it arrives, so
// no event is held back by the next one.
type chunks struct {
	conn  *conn
	left  int64 // of the chunk
	begun bool  // the line end of the last chunk is still to come
}

func (k *chunks) Read(p []byte) (int, error) {
	c := k.conn
	for k.left == 0 {
		size, n, err := nextChunk(c.in[c.r:c.w], k.begun)
		switch {
		case err != nil:
			return 0, err
		case n == 0:
			if err := c.fill(); err != nil {
				return 0, cutShort(err)
			}
			continue
		case size == 0:
			c.r += n
			return 0, io.EOF
		}
		c.r += n
		k.left, k.begun = size, true
	}
	n, err := c.body().Read(p[:min(int64(len(p)), k.left)])
	k.left -= int64(n)
	if err != nil {
		return n, cutShort(err)
	}
	if k.left == 0 { // the last chunk may have arrived too
		if size, last, err := nextChunk(c.in[c.r:c.w], true); err == nil && last > 0 && size == 0 {
			c.r += last
			return n, io.EOF
		}
	}
	return n, nil
}

// nextChunk reads the line before a chunk's data, and the line end of the chunk
// before it if there was one. It returns the size of the data and the number n of
// bytes of b before it, 0 if b is incomplete. The last chunk has size 0; its n
// includes the trailers, which are dropped.
func nextChunk(b []byte, begun bool) (size int64, n int, err error) {
	if begun {
		if len(b) < 2 {
			return 0, 0, nil
		}
		if b[0] != '\r' || b[1] != '\n' {
			return 0, 0, malformed("a chunk is longer than its size")
		}
		n = 2
	}
	const longest = 256 // with extensions, which are rare
	end := bytes.IndexByte(b[n:], '\n')
	if end < 0 && len(b)-n < longest {
		return 0, 0, nil
	}
	if end < 1 || end > longest || b[n+end-1] != '\r' {
		return 0, 0, malformed("a chunk size line is too long")
	}
	if size, err = parseChunkSize(b[n : n+end-1]); err != nil {
		return 0, 0, err
	}
	n += end + 1
	if size > 0 {
		return size, n, nil
	}
	trailers, err := trailerEnd(b[n:])
	if trailers == 0 {
		return 0, 0, err
	}
	return 0, n + trailers, nil
}

// parseChunkSize parses hexadecimal digits, up to an extension.
func parseChunkSize(line []byte) (int64, error) {
	digits, extension, _ := bytes.Cut(line, []byte{';'})
	digits = bytes.TrimRight(digits, " \t")
	var size int64
	for _, c := range digits {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			c = 16
		}
		if c == 16 || len(digits) > 15 {
			return 0, malformed("invalid chunk size %q", mayfly.Clip(string(line)))
		}
		size = size<<4 | int64(c)
	}
	if len(digits) == 0 || bytes.IndexByte(extension, '\r') >= 0 {
		return 0, malformed("invalid chunk size %q", mayfly.Clip(string(line)))
	}
	return size, nil
}

// trailerEnd returns the length of the trailers and their empty line, or 0 if b is
// incomplete.
func trailerEnd(b []byte) (int, error) {
	for at := 0; ; {
		end := bytes.IndexByte(b[at:], '\n')
		switch {
		case end < 0 && len(b) >= maxTrailers, at+end >= maxTrailers:
			return 0, malformed("its trailers are longer than %d bytes", maxTrailers)
		case end < 0:
			return 0, nil
		case end == 0 || b[at+end-1] != '\r':
			return 0, malformed("a trailer line ends in a bare LF")
		}
		line := b[at : at+end-1]
		at += end + 1
		if len(line) == 0 {
			return at, nil
		}
		if err := canonical(line); err != nil {
			return 0, err
		}
	}
}

// wholeChunks decodes a chunked body if b holds all of it. It returns how many bytes
// of b it took, 0 if the body is incomplete or not chunked.
func wholeChunks(b []byte, chunked bool) (body []byte, n int, err error) {
	if !chunked {
		return nil, 0, nil
	}
	for {
		size, start, err := nextChunk(b[n:], n > 0)
		switch {
		case err != nil:
			return nil, 0, err
		case start == 0 || size > int64(len(b)-n-start):
			return nil, 0, nil
		}
		n += start
		if size == 0 {
			return body, n, nil
		}
		body = append(body, b[n:n+int(size)]...)
		n += int(size)
	}
}
