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

func (p *pipes) connect(s Spec) (err error) {
	if p.stdin, err = p.join(s.Stdin, true); err != nil {
		return err
	}
	for _, to := range []io.Writer{s.Stdout, s.Stderr} {
		from, err := p.join(to, false)
		if err != nil {
			return err
		}
		if from != nil {
			p.outputs = append(p.outputs, output{from: from, to: to})
		}
	}
	p.given = append(p.given, s.Files...)
	return nil
}

// join gives the process one of its standard files: stream if that is a file, the null
// device if it is nil, else the end of a pipe, whose other end it returns.
func (p *pipes) join(stream any, input bool) (ours *os.File, err error) {
	if f, ok := stream.(*os.File); ok && f != nil {
		p.given = append(p.given, f)
		return nil, nil
	}
	if stream == nil {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err == nil {
			p.give(null)
		}
		return nil, err
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if !input {
		theirs, ours = ours, theirs
	}
	p.give(theirs)
	return ours, nil
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
