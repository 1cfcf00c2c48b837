package deploy

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mayfly-run/mayfly"
)

// What each does after a failure.
const (
	toTheEnd      = false // run the others anyway
	untilOneFails = true  // start no others
)

// each calls f for each unit in order, at most so many at once. The error is that of the
// first unit in order that failed, and names the others.
func each(ctx context.Context, units []*unit, most int, stop bool, f func(ctx context.Context, u *unit) error) error {
	errs := make([]error, len(units))
	places := make(chan struct{}, most)
	var failed atomic.Bool
	var all sync.WaitGroup
	for i, u := range units {
		places <- struct{}{}
		if ctx.Err() != nil || stop && failed.Load() {
			break
		}
		all.Go(func() {
			if errs[i] = f(ctx, u); errs[i] != nil {
				failed.Store(true)
			}
			<-places
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return &mayfly.Error{Code: mayfly.CodeOf(err), Message: "deploy interrupted", Hint: "deploy again to finish, or run mayfly list to see what is deployed", Err: err}
	}
	var first error
	var others []string
	for i, err := range errs {
		switch {
		case err == nil:
		case first == nil:
			first = err
		default:
			others = append(others, units[i].source.Name)
		}
	}
	if len(others) == 0 {
		return first
	}
	return fmt.Errorf("%w (also failed: %s)", first, some(others))
}

// some lists names, but only as many as are readable.
func some(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// oneByOne makes tell, which may be nil, safe for concurrent use.
func oneByOne(tell func(Event)) func(Event) {
	if tell == nil {
		return func(Event) {}
	}
	var mu sync.Mutex
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		tell(e)
	}
}
