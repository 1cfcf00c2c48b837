package process

import (
	"io"
	"os"
	"time"
)

// A wiring holds a process's files and our ends of its pipes.
type wiring struct {
	given   []*os.File // for the process, in order
	close   []*os.File // those of given that we close
	stdin   *os.File   // our end, or nil
	outputs []output
}

// An output is a stream from a process to its destination.
type output struct {
	from *os.File
	to   io.Writer
}

func (w *wiring) connect(s Spec) error {
	if err := w.input(s.Stdin); err != nil {
		return err
	}
	if err := w.outputTo(s.Stdout); err != nil {
		return err
	}
	if err := w.outputTo(s.Stderr); err != nil {
		return err
	}
	w.given = append(w.given, s.Files...)
	return nil
}

func (w *wiring) input(from io.Reader) error {
	if f, ok := from.(*os.File); ok && f != nil {
		w.given = append(w.given, f)
		return nil
	}
	if from == nil {
		return w.null()
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	w.stdin = ours
	w.give(theirs)
	return nil
}

func (w *wiring) outputTo(to io.Writer) error {
	if f, ok := to.(*os.File); ok && f != nil {
		w.given = append(w.given, f)
		return nil
	}
	if to == nil {
		return w.null()
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	w.outputs = append(w.outputs, output{from: ours, to: to})
	w.give(theirs)
	return nil
}

func (w *wiring) null() error {
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	w.give(f)
	return nil
}

func (w *wiring) give(f *os.File) {
	w.given = append(w.given, f)
	w.close = append(w.close, f)
}

func (w *wiring) theirs() []*os.File { return w.given }

// closeTheirs closes our copies of the process's files.
func (w *wiring) closeTheirs() {
	for _, f := range w.close {
		f.Close()
	}
}

func (w *wiring) closeOurs() {
	if w.stdin != nil {
		w.stdin.Close()
	}
	for _, out := range w.outputs {
		out.from.Close()
	}
}

// carry copies until every holder of the other end has closed it, or, once the
// program has exited, until it stays silent for a while.
func (p *Process) carry(out output) {
	defer out.from.Close()
	if c, ok := out.to.(io.Closer); ok {
		defer c.Close()
	}
	buf := make([]byte, 32<<10)
	for {
		if p.ended.Load() {
			_ = out.from.SetReadDeadline(time.Now().Add(outputGrace))
		}
		n, err := out.from.Read(buf)
		if n > 0 {
			if _, err := out.to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
