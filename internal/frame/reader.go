package frame

import (
	"errors"
	"fmt"
	"io"
)

const (
	leastBuffer = 8 << 10  // holds the frames of an instance with little to do
	usualBuffer = 72 << 10 // holds a frame with as much body as there can be
)

// A Reader reads frames.
type Reader struct {
	from io.Reader
	buf  []byte // buf[r:w] has been read but not returned
	r, w int

	filled bool // by the last read: there was more to read
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
	return &Reader{from: from, buf: make([]byte, leastBuffer)}, nil
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

// fill reads more, after what is there. A buffer that reads have filled, or that is too small
// for one frame, grows.
func (r *Reader) fill() error {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	switch {
	case r.w == 0 && (len(r.buf) > usualBuffer || r.filled && len(r.buf) < usualBuffer):
		r.buf = make([]byte, usualBuffer)
	case r.w == len(r.buf) && r.r > 0:
		r.r, r.w = 0, copy(r.buf, r.buf[r.r:r.w])
	case r.w == len(r.buf):
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	}
	n, err := r.from.Read(r.buf[r.w:])
	r.w += n
	r.filled = r.w == len(r.buf)
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
