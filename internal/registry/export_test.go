package registry

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go/jetstream"
)

// CollectBefore is Collect with another idea of what is old.
func (r *Registry) CollectBefore(ctx context.Context, before time.Time, inUse ...string) (int, error) {
	return r.collect(ctx, before, inUse)
}

// UploadWithin is one try of Upload with another idea of patience.
func (r *Registry) UploadWithin(ctx context.Context, packed io.Reader, digest string, patience time.Duration) error {
	return r.upload(ctx, packed, digest, patience)
}

// SweepBefore is Sweep with another idea of what is old.
func (r *Registry) SweepBefore(ctx context.Context, before time.Time, inUse ...string) error {
	return r.sweep(ctx, before, inUse)
}

// ReadWithin is Open of a store that is there, with another idea of patience.
func ReadWithin(ctx context.Context, b *bus.Bus, patience time.Duration) (*Registry, error) {
	r := &Registry{bus: b, log: slog.New(slog.DiscardHandler), picture: newPicture()}
	return r, r.begin(ctx, patience)
}

// Salvage fills a new picture by salvage alone.
func (r *Registry) Salvage(ctx context.Context, js jetstream.JetStream) (damage, err error) {
	r.mu.Lock()
	r.next = newPicture()
	r.mu.Unlock()
	return r.salvage(ctx, js)
}
