package inventory

import "context"

// Keep is one round of Run.
func (i *Inventory) Keep(ctx context.Context) { i.keep(ctx) }
