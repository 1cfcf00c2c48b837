package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/deploy"
)

// A progress says what long work is at. On a terminal it is one line that moves and
// is gone at the end. Elsewhere a line a second says it, if there is something else to
// say: who deploys a thousand functions does not want to read five thousand steps.
type progress struct {
	w        io.Writer
	terminal bool

	mu   sync.Mutex
	text string

	end   chan struct{}
	shown sync.WaitGroup
}

// newProgress returns a progress that the caller must close before anything else is
// written to w.
func newProgress(w io.Writer) *progress {
	p := &progress{w: w, terminal: isTerminal(w), end: make(chan struct{})}
	p.shown.Go(p.show)
	return p
}

// say replaces what is shown.
func (p *progress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = clip(plain(text))
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

// show shows the text until the end.
func (p *progress) show() {
	if !p.terminal {
		last := ""
		p.each(time.Second, func(_ int, text string) {
			if text != last {
				fmt.Fprintln(p.w, text)
			}
			last = text
		})
		return
	}
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	p.each(80*time.Millisecond, func(i int, text string) {
		fmt.Fprintf(p.w, "%s%c %s", clearLine, frames[i%len(frames)], text)
	})
	fmt.Fprint(p.w, clearLine)
}

// each calls paint with what there is to say, again and again until the end.
func (p *progress) each(interval time.Duration, paint func(i int, text string)) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for i := 0; ; i++ {
		select {
		case <-p.end:
			return
		case <-t.C:
		}
		p.mu.Lock()
		text := p.text
		p.mu.Unlock()
		if text != "" {
			paint(i, text)
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
	p.shown.Wait()
}
