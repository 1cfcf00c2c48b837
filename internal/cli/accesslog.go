package cli

import (
	"context"
	"io"
	"sync"
	"time"
)

const (
	// accessRest is how long a line of the access log may wait for others: a write
	// for each line would cost more than the call it tells of.
	accessRest = 100 * time.Millisecond

	// accessMost bounds what waits, in bytes. Who is ahead of a slow reader by
	// that much waits for it.
	accessMost = 1 << 20
)

// An accessLog gathers lines and writes many at once. The zero value but for w
// works; Run must be running for the lines to come out.
type accessLog struct {
	w    io.Writer
	wake chan struct{} // there are lines; room for one

	mu    sync.Mutex // guards lines, and the order in which they are written
	lines []byte
	err   error // the first one; after it lines are dropped
}

func newAccessLog(w io.Writer) *accessLog { return &accessLog{w: w, wake: make(chan struct{}, 1)} }

// Write takes whole lines. It fails once the lines can no longer be written.
func (l *accessLog) Write(lines []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	l.lines = append(l.lines, lines...)
	if len(l.lines) >= accessMost {
		l.flush()
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return len(lines), nil
}

// Run writes the lines, the first of a batch 100 ms after it came, until ctx ends,
// and then the rest.
func (l *accessLog) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-l.wake:
			select {
			case <-ctx.Done():
			case <-time.After(accessRest):
			}
		}
		l.mu.Lock()
		l.flush()
		l.mu.Unlock()
	}
	return nil
}

// flush writes what waits. The caller holds the lock.
func (l *accessLog) flush() {
	if len(l.lines) == 0 || l.err != nil {
		return
	}
	_, l.err = l.w.Write(l.lines)
	l.lines = l.lines[:0]
}
