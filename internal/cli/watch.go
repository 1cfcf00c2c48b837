package cli

import (
	"bytes"
	"context"
	"io"
	"time"
)

// watchEvery is the interval of a watched command.
const watchEvery = time.Second

// A painter writes the current state.
type painter func(ctx context.Context, w io.Writer) error

// watching runs paint now and then every second until a signal, which is not an error.
func (p *process) watching(ctx context.Context, paint painter) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	return p.watchUntil(ctx, paint)
}

// watchUntil runs paint until ctx ends. On a terminal each picture replaces the last one;
// elsewhere an empty line separates them.
func (p *process) watchUntil(ctx context.Context, paint painter) error {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	terminal := isTerminal(p.stdout)
	for first := true; ; first = false {
		var picture bytes.Buffer
		if err := paint(ctx, &picture); err != nil && ctx.Err() == nil {
			return err
		}
		if ctx.Err() != nil {
			return nil // a signal interrupted it
		}
		if _, err := p.stdout.Write(frame(picture.Bytes(), terminal, first)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// frame returns the bytes that draw a picture on the screen. Lines are cleared as they are
// written; clearing all of them first would flicker.
func frame(picture []byte, terminal, first bool) []byte {
	const home, clearScreen, clearLine, clearBelow = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"
	switch {
	case !terminal && first:
		return picture
	case !terminal:
		return append([]byte("\n"), picture...)
	}
	lines := bytes.ReplaceAll(picture, []byte("\n"), []byte(clearLine+"\n"))
	start := home
	if first {
		start = clearScreen + home
	}
	return append(append([]byte(start), lines...), clearBelow...)
}
