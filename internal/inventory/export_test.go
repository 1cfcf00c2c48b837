package inventory

import "context"

// Keep is one round of Run.
func (i *Inventory) Keep(ctx context.Context) { i.keep(ctx) }

// Held is what the last look found in a stream, to be compared: it is another one once the
// stream was read again.
func (i *Inventory) Held(stream string) any { return i.last.Streams[stream] }
