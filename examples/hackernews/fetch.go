package main

import (
	"context"

	"github.com/nats-io/nats.go/micro"
)

// fetched is the reply of fetch.
type fetched struct {
	IDs        int `json:"ids"`
	Queued     int `json:"queued"`
	Duplicates int `json:"duplicates"` // queued a moment ago, or still queued
}

// fetch queues the top stories and replies when all of them are stored. Processors
// do the rest.
func (s *service) fetch(ctx context.Context, _ micro.Request) (answer, error) {
	ids, err := s.hn.topStories(ctx)
	if err != nil {
		return answer{}, err
	}
	if err := s.state.putIDs(ctx, ids); err != nil {
		return answer{}, err
	}
	queued, err := s.state.enqueueAll(ctx, ids)
	if err != nil {
		return answer{}, err
	}
	s.log.Info("top stories fetched", "ids", len(ids), "queued", queued)
	return jsonAnswer(fetched{IDs: len(ids), Queued: queued, Duplicates: len(ids) - queued})
}

// list returns the ids of the last fetch.
func (s *service) list(ctx context.Context, _ micro.Request) (answer, error) {
	ids, err := s.state.ids(ctx)
	return answer{body: ids, contentType: contentJSON}, err
}
