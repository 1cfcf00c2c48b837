// Package news tells watchers what has changed since they last looked.
//
//	Tell("a")  Tell("b")  Tell("a") ──► {a, b} ──► a watcher that was busy meanwhile
//
// Nobody waits for a watcher, and nothing is lost: what changes while it is busy is
// its next value, each thing once. It says what changed, not how; the watcher looks
// for itself.
//
// Invariants, and the tests that guard them:
//   - every change reaches every watcher, and none blocks: TestChangesAreMerged
//   - a channel is closed with its context: TestFeedEndsWithItsContext
package news

import (
	"context"
	"sync"
)

// A Feed tells watchers which things changed. The zero value is ready to use.
type Feed[T comparable] struct {
	mu       sync.Mutex
	watchers map[chan map[T]struct{}]struct{}
}

// Watch returns a channel of sets of things that changed. The first value is there
// at once and holds the given things. The channel is closed when ctx ends.
func (f *Feed[T]) Watch(ctx context.Context, first ...T) <-chan map[T]struct{} {
	c := make(chan map[T]struct{}, 1)
	merge(c, first)
	f.mu.Lock()
	if f.watchers == nil {
		f.watchers = map[chan map[T]struct{}]struct{}{}
	}
	f.watchers[c] = struct{}{}
	f.mu.Unlock()
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, c)
		close(c)
	})
	return c
}

// Tell tells all watchers that these things changed. It holds the lock, so that no
// channel is closed meanwhile and only one sender at a time fills it.
func (f *Feed[T]) Tell(changed ...T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.watchers {
		merge(c, changed)
	}
}

// merge adds things to what the watcher has not taken yet.
func merge[T comparable](c chan map[T]struct{}, changed []T) {
	pending := map[T]struct{}{}
	select {
	case pending = <-c:
	default:
	}
	for _, thing := range changed {
		pending[thing] = struct{}{}
	}
	c <- pending
}
