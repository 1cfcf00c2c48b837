package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/frame"
	"github.com/mayfly-run/mayfly/internal/head"
)

const (
	piece      = frame.MaxBody
	mostGrants = 1 << 30 // bytes that an instance can have granted at once
)

// upload sends the rest of a request's body, as the instance grants it. It holds one piece:
// when the instance does not read, nothing is read from the caller. A blocked Read of the
// caller's stream is for the caller to end when the call is over.
func (x *call) upload(c *mayfly.Call, rest []byte) {
	l := x.link
	defer l.uploads.Done()
	body, left := io.Reader(bytes.NewReader(rest)), int64(len(rest))
	if c.Stream != nil {
		body, left = c.Stream, head.BodyLength(c)
	}
	buf := l.windows.Get().(*[frame.Window]byte)
	defer l.windows.Put(buf)
	for end := left == 0; ; {
		n := 0
		var err error
		if !end {
			n, err = body.Read(buf[:limit(left)])
		}
		if left > 0 {
			left -= int64(n)
		}
		end = end || left == 0 || left < 0 && errors.Is(err, io.EOF)
		if !x.await(n) {
			return
		}
		if n > 0 || end {
			l.writer.Flush(frame.Append(l.writer.BeginBody(), frame.Frame{Call: x.number, Kind: frame.Data, End: end, Body: buf[:n]}))
		}
		switch {
		case end:
			return
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		case err == nil:
			continue
		}
		x.cut(err)
		return
	}
}

// limit returns how much to read of a body of which so much is left.
func limit(left int64) int64 {
	if left < 0 {
		return piece
	}
	return min(left, piece)
}

// cut ends a call whose body cannot be read to its end. The instance must see that it is
// incomplete.
func (x *call) cut(err error) {
	l := x.link
	if !l.remove(x) {
		return
	}
	l.writer.Flush(frame.Append(l.writer.Begin(), frame.Frame{Call: x.number, Kind: frame.Error, Head: []byte("the request body was cut short")}))
	x.fail(BodyFault(err))
	x.kick()
}

// BodyFault turns an error of the caller's stream into one of the call. An error
// with a code is kept: its source knew better.
func BodyFault(err error) error {
	if _, ok := errors.AsType[*mayfly.Error](err); ok {
		return fmt.Errorf("read the call's body: %w", err)
	}
	return mayfly.Errorf(mayfly.Invalid, "the request body was cut short: %w", err)
}

// grant allows n more bytes of the request, and wakes the upload.
func (x *call) grant(n int) {
	x.mu.Lock()
	x.granted = min(x.granted+n, mostGrants)
	x.mu.Unlock()
	select {
	case x.room <- struct{}{}:
	default:
	}
}

// await takes n bytes of what is granted, once it is. It returns false if the call has ended.
func (x *call) await(n int) bool {
	for {
		x.mu.Lock()
		enough := x.granted >= n
		if enough {
			x.granted -= n
		}
		x.mu.Unlock()
		if !x.link.there(x) {
			return false
		}
		if enough {
			return true
		}
		<-x.room
	}
}
