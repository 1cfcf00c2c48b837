package registry

import (
	"context"
	"time"
)

// CollectBefore is Collect with another idea of what is old.
func (r *Registry) CollectBefore(ctx context.Context, before time.Time, inUse ...string) (int, error) {
	return r.collect(ctx, before, inUse)
}
