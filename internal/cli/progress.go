package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/deploy"
)

// A progress reports long work. On a terminal it is one changing line that disappears at
// the end. Elsewhere it prints a changed text once a second, not each of the thousands of
// steps of a large deploy.
type progress struct {
	w        io.Writer
	terminal bool

	mu       sync.Mutex
	text     string
	warnings []string // to be printed at the end

	end    chan struct{}
	ending sync.Once
	shown  sync.WaitGroup
}

// newProgress returns a progress that must be closed before anything else is written
// to w.
func newProgress(w io.Writer) *progress {
	p := &progress{w: w, terminal: isTerminal(w), end: make(chan struct{})}
	p.shown.Go(p.show)
	return p
}

// say replaces the text.
func (p *progress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = mayfly.Clip(plain(text))
}

// step shows a step of a deploy. The progress of an upload is for terminals only.
func (p *progress) step(e deploy.Event) {
	text := e.Name + ": " + e.Step
	if e.Of > 0 && p.terminal {
		text += fmt.Sprintf(" %d of %d MiB", e.Bytes>>20, (e.Of+1<<20-1)>>20)
	}
	p.say(text)
}

// warn keeps a warning for the end.
func (p *progress) warn(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warnings = append(p.warnings, text)
}

const clearLine = "\r\x1b[K"

// show displays the text until the end.
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

// each calls paint with the text, again and again until the end.
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

// close ends it and prints the warnings. It may be called twice.
func (p *progress) close() {
	p.ending.Do(func() {
		close(p.end)
		p.shown.Wait()
		for _, text := range p.warnings {
			fmt.Fprintln(p.w, "warning: "+plain(text))
		}
	})
}
