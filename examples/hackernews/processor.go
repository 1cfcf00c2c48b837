package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxTries is how often an item is delivered before it is given up. With the client's
// retries that makes 18 requests within a minute or two.
const maxTries = 6

// A processor takes items from the queue, atOnce at a time, and stores the stories.
// All instances share one queue.
type processor struct {
	hn    *client
	state *state
	pace  pace
	log   *slog.Logger

	changed atomic.Bool // since the posts were last sorted
	counts  counts
}

// counts are totals since the start.
type counts struct {
	kept, retried, refused, dead atomic.Int64
	lastError                    atomic.Pointer[string]
}

// run works until ctx is done, then finishes the items it holds.
func (p *processor) run(ctx context.Context) {
	var held sync.WaitGroup
	defer held.Wait()
	// A previous instance may have died between the last post and the report.
	if there, err := p.state.hasPosts(ctx); err == nil && there {
		p.changed.Store(true)
	}
	slots := make(chan struct{}, atOnce)
	for ctx.Err() == nil {
		// The slot comes first: an item's ack timeout runs from its delivery.
		slots <- struct{}{}
		msg, err := p.state.next(ctx, p.pace.idle)
		if err != nil {
			<-slots
			p.idle(ctx, err)
			continue
		}
		held.Go(func() {
			defer func() { <-slots }()
			p.work(ctx, msg)
		})
	}
}

// idle runs while there is no item to take: all are done, or wait for a retry.
func (p *processor) idle(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case !errors.Is(err, nats.ErrTimeout):
		// NATS is down, or lost its data.
		p.log.Warn("queue unavailable", "err", err)
		if sleep(ctx, p.pace.idle) {
			if err := p.state.remake(ctx, p.pace); err != nil {
				p.log.Warn("cannot create state", "err", err)
				return
			}
			p.log.Info("state created again")
		}
	case p.changed.Swap(false):
		r, err := p.state.sort(ctx)
		if err != nil {
			p.changed.Store(true) // retry when idle again
			if codeOf(err) != http.StatusConflict {
				p.log.Warn("cannot sort posts", "err", err)
			}
			return
		}
		p.log.Info("posts sorted", "count", r.Count, "pending", r.Pending)
	}
}

// work does one item. The item leaves the queue only after its outcome is stored: after
// a crash at any point it is done again.
func (p *processor) work(ctx context.Context, msg jetstream.Msg) {
	// A stop lets it finish. The limit ends before the item would be redelivered.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.pace.ack*3/4)
	defer cancel()
	tries := uint64(1)
	if meta, err := msg.Metadata(); err == nil {
		tries = meta.NumDelivered
	}
	id, err := parseNumber([]byte(strings.TrimPrefix(msg.Subject(), queueSubject)), "id")
	if err == nil && tries > maxTries { // no worker survived to report an error
		err = faultf(http.StatusInternalServerError, "given up after %d crashes or outages", tries-1)
	}
	if err == nil {
		_, err = p.keep(ctx, id)
	}

	log := p.log.With("item", id, "try", tries)
	defer p.changed.Store(true) // after the ack: the report has the queue's length
	switch {
	case err == nil:
		p.counts.kept.Add(1)
		err = msg.DoubleAck(ctx)
	case codeOf(err) == http.StatusUnprocessableEntity || id == 0:
		p.counts.failed(&p.counts.refused, err)
		log.Info("item rejected", "reason", err)
		err = msg.TermWithReason(err.Error())
	case tries < maxTries && isTemporary(err):
		p.counts.failed(&p.counts.retried, err)
		log.Debug("item failed", "err", err)
		err = msg.NakWithDelay(max(backoff(p.pace.retry, int(tries)), notBefore(err)))
	default:
		p.counts.failed(&p.counts.dead, err)
		log.Warn("item given up", "err", err)
		reason := err.Error()
		err = p.state.bury(ctx, deadLetter{ID: id, Reason: reason, Tries: tries, At: time.Now().UTC()})
		if err == nil {
			err = msg.TermWithReason(reason)
		}
	}
	if err != nil { // redelivered after pace.ack
		log.Warn("item not finished", "err", err)
	}
}

// keep fetches an item and stores it if it is a story. A stored item that is no longer a
// story is deleted.
func (p *processor) keep(ctx context.Context, id int64) (post, error) {
	asking, stop := context.WithTimeout(ctx, p.pace.ack/2) // the rest is for storing
	found, err := p.hn.post(asking, id)
	stop()
	if codeOf(err) == http.StatusUnprocessableEntity {
		if gone := p.state.dropPost(ctx, id); gone != nil {
			return post{}, fmt.Errorf("drop post %d: %w", id, gone)
		}
		return post{}, err
	}
	if err == nil {
		err = p.state.putPost(ctx, found)
	}
	return found, err
}

func (c *counts) failed(which *atomic.Int64, err error) {
	which.Add(1)
	text := err.Error()
	c.lastError.Store(&text)
}

// processed is a processor's part of `nats micro stats`: the endpoint's own numbers
// count queued items, these their outcomes.
type processed struct {
	Kept      int64  `json:"kept"`
	Retried   int64  `json:"retried"`
	Refused   int64  `json:"refused"` // not stories
	Dead      int64  `json:"dead"`    // given up
	LastError string `json:"last_error,omitempty"`
}

func (c *counts) processed() processed {
	p := processed{Kept: c.kept.Load(), Retried: c.retried.Load(), Refused: c.refused.Load(), Dead: c.dead.Load()}
	if text := c.lastError.Load(); text != nil {
		p.LastError = *text
	}
	return p
}
