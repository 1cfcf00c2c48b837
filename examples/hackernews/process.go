package main

import (
	"context"

	"github.com/nats-io/nats.go/micro"
)

// queued is the reply of process.
type queued struct {
	ID     int64 `json:"id"`
	Queued bool  `json:"queued"`
}

// process queues an item, for a request or for a message that was only published.
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

// processReply processes one item at once.
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
