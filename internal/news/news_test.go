package news_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/mayfly-run/mayfly/internal/news"
)

func TestChangesAreMerged(t *testing.T) {
	t.Parallel()
	var f news.Feed[string]
	f.Tell("lost") // nobody watches
	busy, quick := f.Watch(t.Context()), f.Watch(t.Context(), "a", "b")
	take := func(c <-chan map[string]struct{}, want ...string) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(<-c)); !slices.Equal(got, want) {
			t.Errorf("changed: %q, want %q", got, want)
		}
		select {
		case got := <-c:
			t.Errorf("%q was told twice", got)
		default:
		}
	}
	take(quick, "a", "b")
	f.Tell("c")
	take(quick, "c")
	f.Tell("a", "c")
	f.Tell("a")
	take(quick, "a", "c")
	take(busy, "a", "c")
}

func TestFeedEndsWithItsContext(t *testing.T) {
	t.Parallel()
	var f news.Feed[int]
	ctx, cancel := context.WithCancel(t.Context())
	c := f.Watch(ctx, 1)
	cancel()
	for range c { // ends
	}
	f.Tell(2)
}
