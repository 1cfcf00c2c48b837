package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Names of everything stored.
const (
	queueStream   = "HACKER_NEWS"      // work queue: hn.queue.<id> is an item to fetch
	queueSubject  = "hn.queue."        //
	queueConsumer = "process"          // shared by all instances
	deadStream    = "HACKER_NEWS_DEAD" // hn.dead.<id> is an item that was given up
	deadSubject   = "hn.dead."         //
	postsBucket   = "hacker_news"      // KV
	postKey       = "item."            // item.<id> is a post
	idsKey        = "ids"              // the list of the last fetch
	turnKey       = "sorting"          // exists while an instance sorts
	reportsBucket = "hacker_news_top"  // Object Store: one report per day, 2026-11-22
	latestReport  = "latest"           // a link to the last of them
)

const (
	keepPosts   = 26 * time.Hour // a post may enter the report for 24 h after its last fetch
	keepReports = 30 * 24 * time.Hour
	keepDead    = 7 * 24 * time.Hour
	oncePer     = time.Minute // a fetch does not requeue items queued within it
	maxQueue    = 100_000
)

// state is the service's only state, all of it in NATS.
type state struct {
	js      jetstream.JetStream
	queue   jetstream.Stream
	items   jetstream.Consumer // of the queue
	posts   jetstream.KeyValue
	reports jetstream.ObjectStore
}

// openState creates or updates the state, and waits for NATS as long as that takes.
func openState(ctx context.Context, nc *nats.Conn, p pace, log *slog.Logger) (*state, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncTimeout(5*time.Second))
	if err != nil {
		return nil, err
	}
	s := &state{js: js}
	for said := ""; ; {
		err := s.create(ctx, p)
		if err == nil {
			return s, nil
		}
		if said != err.Error() {
			said = err.Error()
			log.Warn("waiting for jetstream", "err", err)
		}
		if !sleep(ctx, 500*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

// remake recreates what NATS lost. The handles in state stay valid: they are names.
func (s *state) remake(ctx context.Context, p pace) error {
	again := &state{js: s.js}
	return again.create(ctx, p)
}

// create is idempotent.
func (s *state) create(ctx context.Context, p pace) (err error) {
	// One message per subject, and a second one is rejected instead of replacing the
	// first: an item is queued once, however often it is requested.
	s.queue, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:                 queueStream,
		Description:          "HackerNews items to fetch",
		Subjects:             []string{queueSubject + "*"},
		Retention:            jetstream.WorkQueuePolicy,
		Discard:              jetstream.DiscardNew,
		MaxMsgsPerSubject:    1,
		DiscardNewPerSubject: true,
		MaxMsgs:              maxQueue,
		Duplicates:           oncePer,
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", queueStream, err)
	}
	// The consumer never gives up; processor.work does, with a reason. BackOff is
	// empty because it would replace AckWait.
	s.items, err = s.queue.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       queueConsumer,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       p.ack,
		MaxDeliver:    -1,
		MaxAckPending: -1, // items waiting for a retry count, and must not block the rest
	})
	if err != nil {
		return fmt.Errorf("consumer %s: %w", queueConsumer, err)
	}
	_, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              deadStream,
		Description:       "HackerNews items that were given up, with the reason",
		Subjects:          []string{deadSubject + "*"},
		MaxMsgsPerSubject: 1,
		MaxMsgs:           maxQueue,
		MaxAge:            keepDead,
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", deadStream, err)
	}
	s.posts, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:         postsBucket,
		Description:    "HackerNews stories",
		TTL:            keepPosts,
		LimitMarkerTTL: time.Minute, // allows a TTL per key, see turn
	})
	if err != nil {
		return fmt.Errorf("bucket %s: %w", postsBucket, err)
	}
	s.reports, err = s.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
		Bucket:      reportsBucket,
		Description: "The stories of each day, sorted by points",
		TTL:         keepReports,
	})
	if err != nil {
		return fmt.Errorf("object store %s: %w", reportsBucket, err)
	}
	return nil
}

// putPost stores a post, replacing an older version.
func (s *state) putPost(ctx context.Context, p post) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if _, err := s.posts.Put(ctx, postKey+strconv.FormatInt(p.ID, 10), data); err != nil {
		return fmt.Errorf("store post %d: %w", p.ID, err)
	}
	return nil
}

// dropPost deletes a post that is no longer a story.
func (s *state) dropPost(ctx context.Context, id int64) error {
	_, err := s.posts.Get(ctx, postKey+strconv.FormatInt(id, 10))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	return s.posts.Delete(ctx, postKey+strconv.FormatInt(id, 10))
}

// eachPost calls do with every post, in no particular order, in one pass.
func (s *state) eachPost(ctx context.Context, do func(post)) error {
	watch, err := s.posts.Watch(ctx, postKey+"*", jetstream.IgnoreDeletes())
	if err != nil {
		return fmt.Errorf("read posts: %w", err)
	}
	defer watch.Stop()
	for {
		select {
		case entry := <-watch.Updates():
			if entry == nil { // that was all
				return ctx.Err()
			}
			var p post
			if json.Unmarshal(entry.Value(), &p) == nil && entry.Key() == postKey+strconv.FormatInt(p.ID, 10) {
				do(p) // others are not ours
			}
		case <-ctx.Done():
			return fmt.Errorf("read posts: %w", ctx.Err())
		}
	}
}

// hasPosts reports whether there may be posts.
func (s *state) hasPosts(ctx context.Context) (bool, error) {
	status, err := s.posts.Status(ctx)
	if err != nil {
		return false, err
	}
	return status.Values() > 0, nil
}

// putIDs stores the list of a fetch.
func (s *state) putIDs(ctx context.Context, ids []int64) error {
	data, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	if _, err := s.posts.Put(ctx, idsKey, data); err != nil {
		return fmt.Errorf("store list: %w", err)
	}
	return nil
}

// ids returns the list of the last fetch, as JSON. The error has code 404 if there
// was none.
func (s *state) ids(ctx context.Context) ([]byte, error) {
	entry, err := s.posts.Get(ctx, idsKey)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return nil, faultf(http.StatusNotFound, "nothing was fetched yet: call fetch")
	case err != nil:
		return nil, fmt.Errorf("read list: %w", err)
	}
	return entry.Value(), nil
}

// turn takes the lock to sort. The error has code 409 if another instance has it. It
// expires if its owner dies.
func (s *state) turn(ctx context.Context) (end func(), err error) {
	_, err = s.posts.Create(ctx, turnKey, nil, jetstream.KeyTTL(2*sortTime))
	switch {
	case errors.Is(err, jetstream.ErrKeyExists):
		return nil, faultf(http.StatusConflict, "another sort is running: call top, or retry").temporary()
	case err != nil:
		return nil, fmt.Errorf("lock the sort: %w", err)
	}
	return func() { s.posts.Purge(context.WithoutCancel(ctx), turnKey) }, nil // or it expires
}
