package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/deploy"
)

// A progress says what long work is at. On a terminal it is one line that moves and
// is gone at the end; elsewhere each step is a line of its own, once.
type progress struct {
	w        io.Writer
	terminal bool
	started  time.Time

	mu   sync.Mutex
	text string

	end     chan struct{}
	spinner sync.WaitGroup
}

// newProgress returns a progress that the caller must close before anything else is
// written to w.
func newProgress(w io.Writer) *progress {
	p := &progress{w: w, terminal: isTerminal(w), started: time.Now(), end: make(chan struct{})}
	if p.terminal {
		p.spinner.Go(p.spin)
	}
	return p
}

// say replaces what is shown.
func (p *progress) say(text string) {
	text = clip(plain(text))
	p.mu.Lock()
	defer p.mu.Unlock()
	if text == p.text {
		return
	}
	p.text = text
	if !p.terminal {
		fmt.Fprintln(p.w, text)
	}
}

// step says what a deploy is at. How much of a bundle is stored moves on a terminal
// only: elsewhere nobody watches.
func (p *progress) step(e deploy.Event) {
	text := e.Name + ": " + e.Step
	if e.Of > 0 && p.terminal {
		text += fmt.Sprintf(" %d of %d MiB", e.Bytes>>20, (e.Of+1<<20-1)>>20)
	}
	p.say(text)
}

const clearLine = "\r\x1b[K"

// spin shows the text until the end.
func (p *progress) spin() {
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	t := time.NewTicker(80 * time.Millisecond)
	defer t.Stop()
	for i := 0; ; i++ {
		select {
		case <-p.end:
			fmt.Fprint(p.w, clearLine)
			return
		case <-t.C:
		}
		p.mu.Lock()
		text := p.text
		p.mu.Unlock()
		if text != "" {
			fmt.Fprintf(p.w, "%s%c %s", clearLine, frames[i%len(frames)], text)
		}
	}
}

// close ends it. It may be called twice.
func (p *progress) close() {
	select {
	case <-p.end:
	default:
		close(p.end)
	}
	p.spinner.Wait()
}
