package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
)

// A reader reads the latest report. It caches the last one, so that most reads only
// check for a newer one.
type reader struct {
	state *state

	mu       sync.Mutex
	revision string // of the link
	report   report
}

// latest returns the latest report. The error has code 404 if there is none yet.
func (r *reader) latest(ctx context.Context) (report, error) {
	link, err := r.state.reports.GetInfo(ctx, latestReport)
	switch {
	case errors.Is(err, jetstream.ErrObjectNotFound):
		return report{}, noReport()
	case err != nil:
		return report{}, fmt.Errorf("read report: %w", err)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if link.NUID == r.revision {
		return r.report, nil
	}
	read, err := r.state.report(ctx)
	if err != nil {
		return report{}, err
	}
	r.revision, r.report = link.NUID, read
	return read, nil
}

// report reads the latest report. A new report replaces the previous one of that day,
// maybe during a read: then it reads the new one.
func (s *state) report(ctx context.Context) (r report, err error) {
	for range 3 {
		try, cancel := context.WithTimeout(ctx, quick/3)
		var data []byte
		data, err = s.reports.GetBytes(try, latestReport)
		cancel()
		switch {
		case err == nil:
			err = json.Unmarshal(data, &r)
			return r, err
		case errors.Is(err, jetstream.ErrObjectNotFound): // the link outlived it
			return report{}, noReport()
		}
	}
	return report{}, fmt.Errorf("read report: %w", err)
}

func noReport() error {
	return faultf(http.StatusNotFound, "there is no report yet: call fetch and wait for the stories")
}

// A ranking is the first posts of a report.
type ranking struct {
	Count int    `json:"count"` // of posts
	Posts []post `json:"posts"`
}

// top returns the first n posts, or all if there are fewer.
func (r report) top(n int64) ranking {
	posts := r.Posts[:min(n, int64(len(r.Posts)))]
	return ranking{len(posts), posts}
}

// top returns the first posts of the latest report.
func (s *service) top(ctx context.Context, r micro.Request) (answer, error) {
	n, err := parseNumber(r.Data(), "n")
	if err != nil {
		return answer{}, err
	}
	latest, err := s.reader.latest(ctx)
	if err != nil {
		return answer{}, err
	}
	a, err := jsonAnswer(latest.top(n))
	a.header = micro.Headers{"ETag": {etag(a.body)}, "Cache-Control": {"no-cache"}}
	return a, err
}

// etag identifies content for caches.
func etag(body []byte) string {
	sum := sha256.Sum256(body)
	return strconv.Quote(hex.EncodeToString(sum[:8]))
}
