package session

import (
	"context"
	"slices"
	"sync"
)

// A line gives out a few places: first come, first served, except that units with waiting
// callers go first.
type line struct {
	mu          sync.Mutex
	free        int
	first, rest []*turn
}

// A turn is a unit that waits for a place.
type turn struct {
	unit *unit
	come chan struct{} // closed when it has one
}

func newLine(places int) *line { return &line{free: places} }

// enter takes a place; on success the caller must leave.
func (l *line) enter(ctx context.Context, u *unit) error {
	l.mu.Lock()
	if l.free > 0 {
		l.free--
		l.mu.Unlock()
		return nil
	}
	t := &turn{unit: u, come: make(chan struct{})}
	if u.wanted.Load() {
		l.first = append(l.first, t)
	} else {
		l.rest = append(l.rest, t)
	}
	l.mu.Unlock()
	select {
	case <-t.come:
		return nil
	case <-ctx.Done():
		l.quit(t)
		return context.Cause(ctx)
	}
}

// quit takes a turn out of the line, or gives back the place that it has just got.
func (l *line) quit(t *turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, queue := range []*[]*turn{&l.first, &l.rest} {
		if i := slices.Index(*queue, t); i >= 0 {
			*queue = slices.Delete(*queue, i, i+1)
			return
		}
	}
	l.pass()
}

// leave gives a place back.
func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass()
}

// pass gives a free place to the next in line.
func (l *line) pass() {
	queue := &l.first
	if len(l.first) == 0 {
		queue = &l.rest
	}
	if len(*queue) == 0 {
		l.free++
		return
	}
	close((*queue)[0].come)
	*queue = (*queue)[1:]
}

// hurry has a unit go before all that nobody waits for.
func (l *line) hurry(u *unit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.rest, func(t *turn) bool { return t.unit == u })
	if i >= 0 {
		l.first = append(l.first, l.rest[i])
		l.rest = slices.Delete(l.rest, i, i+1)
	}
}
