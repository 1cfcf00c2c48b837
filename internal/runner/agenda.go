package runner

import (
	"sync"
	"time"
)

// An agenda holds which functions need a tick, and when. Functions without instances are
// not on it, and a call usually does not change it: a function that is ticked too early
// enters a later time.
type agenda struct {
	mu      sync.Mutex
	at      map[*function]time.Time
	next    time.Time     // the earliest; zero if none
	changed chan struct{} // gets a value when next is earlier than it was; of length one
}

// enter makes f due at a time, instead of any it had.
func (a *agenda) enter(f *function, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = map[*function]time.Time{}
	}
	a.at[f] = at
	if !a.next.IsZero() && !at.Before(a.next) {
		return
	}
	a.next = at
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// take removes the functions that are due and returns them, and when the next is.
func (a *agenda) take(now time.Time) (due []*function, next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for f, at := range a.at {
		switch {
		case !now.Before(at):
			due = append(due, f)
			delete(a.at, f)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	a.next = next
	return due, next
}
