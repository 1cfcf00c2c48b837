package telemetry

import (
	"context"
	"io"
	"sync"
	"time"
)

const (
	batchWait = 100 * time.Millisecond // for more lines: a write of each would cost more than its call
	batchSize = 1 << 20                // bytes that may wait; beyond them Write waits for the slow reader
)

// A Batch gathers lines and writes many at once. Run must be running to write them.
type Batch struct {
	w    io.Writer
	wake chan struct{} // there are lines; room for one

	mu    sync.Mutex // held briefly: calls wait for it
	lines []byte     // since the last batch
	err   error      // the first one; after it lines are dropped

	writing sync.Mutex // held while a batch is written
	spare   []byte     // the buffer of the last batch, for the next
}

// NewBatch returns one that writes to w.
func NewBatch(w io.Writer) *Batch { return &Batch{w: w, wake: make(chan struct{}, 1)} }

// Write takes whole lines. It fails once writing has failed.
func (l *Batch) Write(lines []byte) (int, error) {
	l.mu.Lock()
	first, err := len(l.lines) == 0, l.err
	if err == nil {
		l.lines = append(l.lines, lines...)
	}
	waiting := len(l.lines)
	l.mu.Unlock()
	switch {
	case err != nil:
		return 0, err
	case waiting >= batchSize:
		l.flush()
	case first:
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return len(lines), nil
}

// Run writes the lines, each batch 100 ms after its first, until ctx ends, and then the
// rest.
func (l *Batch) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-l.wake:
			select {
			case <-ctx.Done():
			case <-time.After(batchWait):
			}
		}
		l.flush()
	}
	return nil
}

// flush writes the waiting lines. Calls meanwhile fill the other buffer.
func (l *Batch) flush() {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	batch := l.lines
	if len(batch) == 0 { // the buffers stay where they are, or both would be the same one
		l.mu.Unlock()
		return
	}
	l.lines = l.spare[:0]
	l.mu.Unlock()
	_, err := l.w.Write(batch)
	l.spare = batch
	if err != nil {
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
	}
}
