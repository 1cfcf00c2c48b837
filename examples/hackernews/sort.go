package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
)

const (
	window   = 24 * time.Hour
	sortTime = 15 * time.Second // more than enough
	maxPosts = 1000             // per report: about 300 kB; a message holds 1 MiB
)

// A report is the stories of the last 24 hours, most points first.
type report struct {
	GeneratedAt time.Time `json:"generated_at"`
	Window      string    `json:"window"`
	Count       int       `json:"count"`   // of posts
	Pending     uint64    `json:"pending"` // items that were still queued
	Complete    bool      `json:"complete"`
	Posts       []post    `json:"posts"`
}

// sort makes a report of the current posts and stores it under today's date. The
// error has code 409 if another instance is sorting.
func (s *state) sort(ctx context.Context) (report, error) {
	ctx, cancel := context.WithTimeout(ctx, sortTime)
	defer cancel()
	end, err := s.turn(ctx)
	if err != nil {
		return report{}, err
	}
	defer end()

	// The queue first: if it was empty before the posts were read, they are complete.
	pending, err := s.queueLength(ctx)
	if err != nil {
		return report{}, err
	}
	now := time.Now().UTC()
	var posts []post
	err = s.eachPost(ctx, func(p post) { posts = append(posts, p) })
	if err != nil {
		return report{}, err
	}
	r := rank(posts, now)
	r.Pending, r.Complete = pending, pending == 0
	return r, s.putReport(ctx, r)
}

// rank returns the report of the window before now: by points, then newest first, then
// by id, so that the same posts always make the same report.
func rank(posts []post, now time.Time) report {
	recent := make([]post, 0, len(posts)) // an empty report has an empty list, not null
	for _, p := range posts {
		if p.Time.time().After(now.Add(-window)) {
			recent = append(recent, p)
		}
	}
	slices.SortFunc(recent, func(a, b post) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(b.Time, a.Time), cmp.Compare(b.ID, a.ID))
	})
	recent = recent[:min(len(recent), maxPosts)]
	return report{GeneratedAt: now, Window: "24h", Count: len(recent), Posts: recent}
}

// sort makes a report now. It waits a moment if a processor is sorting.
func (s *service) sort(ctx context.Context, _ micro.Request) (answer, error) {
	r, err := s.state.sort(ctx)
	for try := 1; codeOf(err) == http.StatusConflict && try < 5 && sleep(ctx, backoff(s.pace.again, try)); try++ {
		r, err = s.state.sort(ctx)
	}
	if err != nil {
		return answer{}, err
	}
	return jsonAnswer(r)
}

// putReport stores a report under its date. NATS expires old ones.
func (s *state) putReport(ctx context.Context, r report) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	day := jetstream.ObjectMeta{Name: r.GeneratedAt.Format(time.DateOnly)}
	kept, err := s.reports.Put(ctx, day, bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("store report: %w", err)
	}
	// The link's new revision tells readers about a new report, so it is written after
	// the report.
	if _, err := s.reports.AddLink(ctx, latestReport, kept); err != nil {
		return fmt.Errorf("store report: %w", err)
	}
	return nil
}
