package session

import (
	"testing"
	"time"
)

// A save during a build waits since the first one that is not built.
func TestTookCountsFromTheFirstSave(t *testing.T) {
	t.Parallel()
	s, u, first := &Session{}, &unit{busy: true}, time.Now()
	s.build(t.Context(), u, first)
	s.build(t.Context(), u, first.Add(time.Second))
	if !u.dirty.Equal(first) {
		t.Errorf("it waits since %v, want %v", u.dirty, first)
	}
}

func TestWhatIsNotWatchedIsNotCollected(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if s.missed(&unit{}); s.due || len(s.unwatched) > 0 {
		t.Errorf("%d units wait for a watcher that there is not", len(s.unwatched))
	}
}
