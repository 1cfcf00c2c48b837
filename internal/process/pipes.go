package process

import (
	"io"
	"os"
	"time"
)

// pipes are a process's files and our ends of them.
type pipes struct {
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

func (p *pipes) connect(s Spec) error {
	if err := p.input(s.Stdin); err != nil {
		return err
	}
	if err := p.outputTo(s.Stdout); err != nil {
		return err
	}
	if err := p.outputTo(s.Stderr); err != nil {
		return err
	}
	p.given = append(p.given, s.Files...)
	return nil
}

func (p *pipes) input(from io.Reader) error {
	if f, ok := from.(*os.File); ok && f != nil {
		p.given = append(p.given, f)
		return nil
	}
	if from == nil {
		return p.null()
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	p.stdin = ours
	p.give(theirs)
	return nil
}

func (p *pipes) outputTo(to io.Writer) error {
	if f, ok := to.(*os.File); ok && f != nil {
		p.given = append(p.given, f)
		return nil
	}
	if to == nil {
		return p.null()
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	p.outputs = append(p.outputs, output{from: ours, to: to})
	p.give(theirs)
	return nil
}

func (p *pipes) null() error {
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	p.give(f)
	return nil
}

func (p *pipes) give(f *os.File) {
	p.given = append(p.given, f)
	p.close = append(p.close, f)
}

// closeTheirs closes our copies of the process's files.
func (p *pipes) closeTheirs() {
	for _, f := range p.close {
		f.Close()
	}
}

func (p *pipes) closeOurs() {
	if p.stdin != nil {
		p.stdin.Close()
	}
	for _, out := range p.outputs {
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
