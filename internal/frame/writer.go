package frame

import (
	"io"
	"runtime"
	"sync"
)

const (
	mostAhead  = 256 << 10 // bytes that wait to be written before senders of bodies wait too
	keepBuffer = 1 << 20   // a larger one is not kept
	patience   = 4         // writes for others before a goroutine of its own takes over
)

// A Writer writes frames of many goroutines. Whoever finds it idle writes at once; what others
// send meanwhile goes with the next write. No sender waits for the other side to read, except
// those of bodies: what many calls may send ahead would not fit into any cache.
type Writer struct {
	to  io.Writer
	try func(b []byte) int // writes what there is room for now; nil if that is not possible

	mu          sync.Mutex
	buf, spare  []byte
	busy, ended bool
	room        sync.Cond      // wakes one sender of a body
	work        sync.WaitGroup // one while busy
}

// NewWriter returns a Writer that sends the preface first.
func NewWriter(to io.Writer) *Writer {
	w := &Writer{to: to, try: tryWrite(to), buf: []byte(Preface)}
	w.room.L = &w.mu
	return w
}

// Begin locks the writer and returns the buffer to append frames to, for Flush.
func (w *Writer) Begin() []byte {
	w.mu.Lock()
	return w.buf
}

// BeginBody is Begin for a piece of a body: it first waits until there is room. Who reads for
// others must not call it.
func (w *Writer) BeginBody() []byte {
	w.mu.Lock()
	for w.busy && !w.ended && len(w.buf) >= mostAhead {
		w.room.Wait()
	}
	return w.buf
}

// Flush unlocks the writer and has the buffer written. Errors show on the side that reads.
func (w *Writer) Flush(b []byte) {
	w.buf = b
	if w.ended {
		w.buf = nil
	}
	if len(w.buf) < mostAhead {
		w.room.Signal() // the next after this one
	}
	first := !w.busy && len(w.buf) > 0
	if first {
		w.busy = true
		w.work.Add(1)
	}
	w.mu.Unlock()
	if !first {
		return
	}
	runtime.Gosched() // others that are about to send do so now
	for i := 0; i < patience; i++ {
		out := w.take()
		if out == nil {
			return
		}
		n := 0
		if w.try != nil {
			n = w.try(out)
		}
		if n < len(out) { // nobody reads, or the connection is broken
			go w.carryOn(out, n)
			return
		}
		w.reuse(out)
	}
	go w.carryOn(nil, 0)
}

// carryOn writes until there is nothing left, and waits for the other side to read.
func (w *Writer) carryOn(out []byte, done int) {
	for {
		if out == nil {
			if out = w.take(); out == nil {
				return
			}
		}
		if _, err := w.to.Write(out[done:]); err != nil {
			w.mu.Lock()
			w.ended, w.buf, w.spare = true, nil, nil
			w.room.Broadcast()
			w.mu.Unlock()
			w.work.Done()
			return
		}
		w.reuse(out)
		out, done = nil, 0
	}
}

// take returns what is to be written, or nil, and then the writer is idle.
func (w *Writer) take() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.buf
	if len(out) == 0 {
		w.busy = false
		w.work.Done()
		return nil
	}
	w.buf, w.spare = w.spare, nil
	w.room.Signal()
	return out
}

// reuse keeps a buffer that was written.
func (w *Writer) reuse(b []byte) {
	if cap(b) > keepBuffer {
		return
	}
	w.mu.Lock()
	w.spare = b[:0]
	w.mu.Unlock()
}

// Drain returns when all that was flushed is written, or cannot be.
func (w *Writer) Drain() { w.work.Wait() }

// Close returns when nothing is written anymore. What it writes to must be closed before.
func (w *Writer) Close() {
	w.mu.Lock()
	w.ended, w.buf = true, nil
	w.room.Broadcast()
	w.mu.Unlock()
	w.work.Wait()
}
