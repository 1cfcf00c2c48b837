package main

import (
	"context"

	"github.com/nats-io/nats.go/micro"
)

// queued is the answer of process.
type queued struct {
	ID     int64 `json:"id"`
	Queued bool  `json:"queued"`
}

// process queues an item. It works the same for a request, which is answered, and
// for a message that was only published.
func (s *service) process(ctx context.Context, r micro.Request) (answer, error) {
	id, err := parseNumber(r.Data(), "id")
	if err != nil {
		return answer{}, err
	}
	if err := s.state.enqueue(ctx, id); err != nil {
		return answer{}, err
	}
	return jsonAnswer(queued{ID: id, Queued: true})
}

// processReply does the work of a processor for one item, at once.
func (s *service) processReply(ctx context.Context, r micro.Request) (answer, error) {
	id, err := parseNumber(r.Data(), "id")
	if err != nil {
		return answer{}, err
	}
	found, err := s.keep(ctx, id)
	if err != nil {
		return answer{}, err
	}
	s.changed.Store(true)
	return jsonAnswer(found)
}
