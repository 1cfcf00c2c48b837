package node

import (
	"context"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/micro"
)

// A Change is a service that appeared or disappeared.
type Change struct {
	Service mayfly.Service
	Gone    bool
}

// A watcher reports services that appear and disappear.
type watcher struct {
	directory *micro.Directory
	tell      func(Change)
}

// Run reports until ctx ends.
func (w watcher) Run(ctx context.Context) error {
	type key struct{ name, id string }
	known := map[key]mayfly.Service{}
	for range w.directory.Watch(ctx) {
		now := map[key]mayfly.Service{}
		for _, s := range w.directory.Services() {
			k := key{s.Name, s.ID}
			now[k] = s
			if _, ok := known[k]; !ok {
				w.tell(Change{Service: s})
			}
		}
		for k, s := range known {
			if _, ok := now[k]; !ok {
				w.tell(Change{Service: s, Gone: true})
			}
		}
		known = now
	}
	return nil
}
