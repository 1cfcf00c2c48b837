package frame

import (
	"errors"
	"fmt"
	"io"
)

const readSize = 64 << 10 // holds many small frames

// A Reader reads frames.
type Reader struct {
	from io.Reader
	buf  []byte // buf[r:w] has been read but not returned
	r, w int
}

// NewReader returns a Reader of what follows the preface, and reads that.
func NewReader(from io.Reader) (*Reader, error) {
	got := make([]byte, len(Preface))
	if _, err := io.ReadFull(from, got); err != nil {
		return nil, fmt.Errorf("read the preface: %w", err)
	}
	if string(got) != Preface {
		return nil, fmt.Errorf("the other side speaks another version of frames: its preface is %q, not %q", got, Preface)
	}
	return &Reader{from: from, buf: make([]byte, readSize)}, nil
}

// Next returns the next frame. It is valid until the call after that. At the end, between two
// frames, the error is io.EOF.
func (r *Reader) Next() (Frame, error) {
	for {
		f, n, err := Next(r.buf[r.r:r.w])
		if n > 0 || err != nil {
			r.r += n
			return f, err
		}
		if err := r.fill(); err != nil {
			return f, err
		}
	}
}

// Buffered reports whether Next returns without reading: at least one more frame is there.
func (r *Reader) Buffered() bool {
	_, n, err := Next(r.buf[r.r:r.w])
	return n > 0 || err != nil
}

// fill reads more, after what is there. The buffer grows to the largest frame, and shrinks
// again once it is empty.
func (r *Reader) fill() error {
	switch {
	case r.r == r.w:
		if r.r, r.w = 0, 0; len(r.buf) > readSize {
			r.buf = make([]byte, readSize)
		}
	case r.w == len(r.buf) && r.r > 0:
		r.r, r.w = 0, copy(r.buf, r.buf[r.r:r.w])
	case r.w == len(r.buf):
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	}
	n, err := r.from.Read(r.buf[r.w:])
	r.w += n
	switch {
	case n > 0:
		return nil // the next read returns it again
	case errors.Is(err, io.EOF) && r.r != r.w:
		return io.ErrUnexpectedEOF
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}
