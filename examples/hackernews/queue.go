package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// enqueueAll queues items and returns how many of them were not queued already.
// Without an error, NATS has stored all of them. Items without an ack are sent again
// until ctx ends: the stream rejects duplicates.
func (s *state) enqueueAll(ctx context.Context, ids []int64) (queued int, err error) {
	for try := 1; ; try++ {
		var missing []int64
		futures := make([]jetstream.PubAckFuture, len(ids))
		for n, id := range ids {
			// Unlike the subject, the id also rejects an item that was queued and
			// finished a moment ago.
			text := strconv.FormatInt(id, 10)
			futures[n], err = s.js.PublishMsgAsync(&nats.Msg{Subject: queueSubject + text}, jetstream.WithMsgID(text))
			if err != nil {
				return queued, fmt.Errorf("queue item %d: %w", id, err)
			}
		}
		for n, id := range ids {
			select {
			case ack := <-futures[n].Ok():
				if !ack.Duplicate {
					queued++
				}
			case failed := <-futures[n].Err():
				if !isQueued(failed) {
					missing, err = append(missing, id), failed
				}
			case <-ctx.Done():
				return queued, fmt.Errorf("queue item %d: %w", id, ctx.Err())
			}
		}
		if len(missing) == 0 {
			return queued, nil
		}
		if isFull(err) || !sleep(ctx, backoff(100*time.Millisecond, try)) {
			return queued, fmt.Errorf("queue item %d: %w", missing[0], err)
		}
		ids = missing
	}
}

// enqueue queues one item, even one that was finished a moment ago. The error has
// code 409 if it is still queued.
func (s *state) enqueue(ctx context.Context, id int64) error {
	_, err := s.js.PublishMsg(ctx, &nats.Msg{Subject: queueSubject + strconv.FormatInt(id, 10)})
	switch {
	case isQueued(err):
		return faultf(http.StatusConflict, "item %d is already queued", id)
	case err != nil:
		return fmt.Errorf("queue item %d: %w", id, err)
	}
	return nil
}

// isQueued reports whether the stream rejected an item that it already holds. A full
// stream has the same code with another text.
func isQueued(err error) bool {
	return isFull(err) && strings.Contains(err.Error(), "per subject")
}

func isFull(err error) bool {
	const storeFailed = 10077 // JSStreamStoreFailedF of the server
	var refused *jetstream.APIError
	return errors.As(err, &refused) && refused.ErrorCode == storeFailed
}

// next returns the next item of the queue, or nats.ErrTimeout after the wait.
func (s *state) next(ctx context.Context, wait time.Duration) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	m, err := s.items.Next(jetstream.FetchContext(ctx))
	if err != nil && ctx.Err() != nil {
		return nil, nats.ErrTimeout
	}
	return m, err
}

// queueLength returns how many items are queued or in work.
func (s *state) queueLength(ctx context.Context) (uint64, error) {
	info, err := s.queue.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("query the queue: %w", err)
	}
	return info.State.Msgs, nil
}

// A deadLetter records an item that was given up.
type deadLetter struct {
	ID     int64     `json:"id"`
	Reason string    `json:"reason"`
	Tries  uint64    `json:"tries"`
	At     time.Time `json:"at"`
}

// bury stores a dead letter. The item must not leave the queue before that.
func (s *state) bury(ctx context.Context, l deadLetter) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if _, err := s.js.Publish(ctx, deadSubject+strconv.FormatInt(l.ID, 10), data); err != nil {
		return fmt.Errorf("bury item %d: %w", l.ID, err)
	}
	return nil
}
