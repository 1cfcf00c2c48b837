package httpengine

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/head"
	"github.com/mayfly-run/mayfly/internal/link"
)

// An upload sends a request's body while the reply is read. It holds at most one
// buffer of the body: when the function does not read, nothing is read from the
// caller.
type upload struct {
	timeout  time.Duration // from the upload's end to the reply's head; 0 if the call has a deadline
	deadline time.Time     // of both; zero if none

	mu       sync.Mutex
	complete bool
	answered bool
	err      error // of the caller's stream
}

// startUpload sends the call's body from a goroutine that the owner waits for. It
// ends with the body or the conn; a blocked Read of the caller's stream is for the
// caller to end when the call is over.
func (c *conn) startUpload(call *mayfly.Call, deadline time.Time) {
	u := &upload{deadline: deadline}
	if call.Deadline.IsZero() {
		u.timeout = c.owner.timeout
	}
	body, length := call.Stream, head.BodyLength(call)
	if body == nil {
		body = bytes.NewReader(call.Body)
	}
	c.upload = u
	if !c.owner.goUpload(func() { u.run(c, body, length) }) {
		_ = c.Close()
	}
}

// run sends the body. A failed write is not an error: the reply, or its absence,
// says why.
func (u *upload) run(c *conn, body io.Reader, length int64) {
	fault := func(err error) { // the function must see that the body is incomplete
		u.mu.Lock()
		u.err = link.BodyFault(err)
		u.mu.Unlock()
		_ = c.Close()
	}
	if length >= 0 {
		body = io.LimitReader(body, length)
	}
	const sizeLine = 8 // room for a chunk's size before its data
	buf := make([]byte, sizeLine+32<<10+2)
	for left := length; left != 0; {
		n, err := body.Read(buf[sizeLine : len(buf)-2])
		part := buf[sizeLine : sizeLine+n]
		if length >= 0 {
			left -= int64(n)
		} else if n > 0 {
			part = chunk(buf, sizeLine, n)
		}
		_ = c.SetWriteDeadline(time.Now().Add(c.owner.idleTimeout))
		if _, err := c.Write(part); err != nil {
			return
		}
		if errors.Is(err, io.EOF) && left <= 0 {
			break
		}
		if err != nil {
			fault(cutShort(err))
			return
		}
	}
	if length < 0 {
		if _, err := io.WriteString(c, "0\r\n\r\n"); err != nil {
			return
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.complete = true
	if end := time.Now().Add(u.timeout); u.timeout > 0 && !u.answered && (u.deadline.IsZero() || end.Before(u.deadline)) {
		_ = c.SetReadDeadline(end)
	}
}

// chunk frames the n bytes in buf that follow the room for their size.
func chunk(buf []byte, room, n int) []byte {
	buf[room+n], buf[room+n+1] = '\r', '\n'
	var line [16]byte
	size := append(strconv.AppendInt(line[:0], int64(n), 16), '\r', '\n')
	start := room - len(size)
	copy(buf[start:room], size)
	return buf[start : room+n+2]
}

// answer records that the reply's head has arrived, or never will.
func (u *upload) answer() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answered = true
}

// done reports whether the whole body was sent.
func (u *upload) done() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.complete
}

// fault returns the error of the caller's stream, if any.
func (u *upload) fault() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}
