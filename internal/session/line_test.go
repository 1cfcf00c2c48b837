package session

import (
	"context"
	"slices"
	"testing"
)

// lined returns units that wait in a line, in this order, and the order in which they get
// its places.
func lined(t *testing.T, l *line, units ...*unit) <-chan *unit {
	t.Helper()
	came := make(chan *unit, len(units))
	for i, u := range units {
		go func() {
			if l.enter(t.Context(), u) == nil {
				came <- u
			}
		}()
		for waiting := 0; waiting <= i; {
			l.mu.Lock()
			waiting = len(l.first) + len(l.rest)
			l.mu.Unlock()
		}
	}
	return came
}

func TestLineServesWhatIsWantedFirst(t *testing.T) {
	t.Parallel()
	l := newLine(1)
	a, b, c, d, e := &unit{}, &unit{}, &unit{}, &unit{}, &unit{}
	if err := l.enter(t.Context(), &unit{}); err != nil {
		t.Fatal(err)
	}
	e.wanted.Store(true)
	came := lined(t, l, a, b, c, d, e)
	l.hurry(c)
	l.hurry(b)
	l.hurry(c)         // already first
	l.hurry(new(unit)) // not in the line
	var order []*unit
	for range 5 {
		l.leave()
		order = append(order, <-came)
	}
	if !slices.Equal(order, []*unit{e, c, b, a, d}) {
		t.Error("what is wanted does not go first")
	}
	l.leave()
	if l.free != 1 {
		t.Errorf("%d places are free", l.free)
	}
}

func TestWhoLeavesALineTakesNoPlace(t *testing.T) {
	t.Parallel()
	l := newLine(1)
	if err := l.enter(t.Context(), &unit{}); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := l.enter(ended, &unit{}); err == nil {
		t.Error("a unit that gave up has a place")
	}
	late := &turn{come: make(chan struct{})} // got the place, and gave up at once
	l.rest = append(l.rest, late)
	l.leave()
	<-late.come
	l.quit(late)
	if l.free != 1 || len(l.first)+len(l.rest) != 0 {
		t.Errorf("%d places are free", l.free)
	}
}
