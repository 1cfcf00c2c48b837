package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	atOnce    = 8       // requests to HackerNews, and items in work
	httpTries = 3       // per request
	maxBody   = 1 << 20 // bytes per response; an item has about one thousand
	maxIDs    = 1000    // per list; HackerNews sends 500
	maxAfter  = time.Minute
)

// A client queries HackerNews politely: at most atOnce requests at a time, and slower
// on request.
type client struct {
	base  string
	http  *http.Client
	slots chan struct{}
	pace  pace
}

func newClient(base string, p pace) (*client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("HN_BASE_URL %q is not a URL: write it like https://hacker-news.firebaseio.com/v0", base)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = atOnce
	return &client{
		base:  strings.TrimRight(base, "/"),
		http:  &http.Client{Transport: transport},
		slots: make(chan struct{}, atOnce),
		pace:  p,
	}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// topStories returns the ids of the top stories in order, without duplicates.
func (c *client) topStories(ctx context.Context) ([]int64, error) {
	var ids []int64
	err := c.get(ctx, "/topstories.json", func(body []byte) (err error) {
		ids, err = parseIDs(body)
		return err
	})
	return ids, err
}

func parseIDs(body []byte) ([]int64, error) {
	var list []int64
	if err := parse(body, &list); err != nil {
		return nil, err
	}
	var ids []int64
	seen := map[int64]bool{}
	for _, id := range list {
		if id <= 0 {
			return nil, faultf(http.StatusBadGateway, "HackerNews sent a list with id %d", id)
		}
		if !seen[id] && len(ids) < maxIDs {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, faultf(http.StatusBadGateway, "HackerNews sent an empty list")
	}
	return ids, nil
}

// post returns a story. The error has code 404 if there is no such item, 422 if
// it is not a story, 502 or 504 if HackerNews failed.
func (c *client) post(ctx context.Context, id int64) (post, error) {
	var found item
	err := c.get(ctx, "/item/"+strconv.FormatInt(id, 10)+".json", func(body []byte) (err error) {
		found, err = parseItem(id, body)
		return err
	})
	if err != nil {
		return post{}, err
	}
	return found.post()
}

// get tries up to httpTries times, until read accepts the response or the error is
// not worth a retry.
func (c *client) get(ctx context.Context, path string, read func(body []byte) error) error {
	for try := 1; ; try++ {
		body, err := c.try(ctx, path)
		if err == nil {
			err = read(body)
		}
		// 404 is an answer: the queue retries later, a caller is told.
		if err == nil || !isTemporary(err) || codeOf(err) == http.StatusNotFound || try == httpTries {
			return err
		}
		pause := max(backoff(c.pace.again, try), notBefore(err))
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause {
			return err
		}
		if !sleep(ctx, pause) {
			return err
		}
	}
}

func (c *client) try(ctx context.Context, path string) ([]byte, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, faultf(http.StatusGatewayTimeout, "too many requests are waiting for HackerNews").temporary()
	}
	ctx, cancel := context.WithTimeout(ctx, c.pace.try)
	defer cancel()

	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "hackernews-example/"+version)
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, unanswered(path, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, refused(path, answer)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, unanswered(path, err)
	case len(body) > maxBody:
		return nil, faultf(http.StatusBadGateway, "HackerNews sent more than %d bytes for %s", maxBody, path)
	}
	return body, nil
}

// unanswered returns the fault of a request with no response, or half of one.
func unanswered(path string, err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the URL: the message has the path
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return faultf(http.StatusGatewayTimeout, "HackerNews did not respond to %s in time", path).temporary()
	}
	return faultf(http.StatusBadGateway, "HackerNews did not respond to %s: %v", path, err).temporary()
}

// refused returns the fault of a response other than 200.
func refused(path string, answer *http.Response) error {
	f := faultf(http.StatusBadGateway, "HackerNews answered %s with %s", path, answer.Status)
	if code := answer.StatusCode; code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500 {
		f.again, f.after = true, retryAfter(answer.Header.Get("Retry-After"), time.Now())
	}
	return f
}

// retryAfter parses a Retry-After header: seconds or a date, 0 if malformed, at most
// maxAfter.
func retryAfter(value string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		wait = date.Sub(now)
	}
	return min(max(wait, 0), maxAfter)
}

// backoff returns how long to wait after the n-th try: first, twice that, ... up
// to a minute. Up to half of it is jitter, so that requests that failed together do
// not return together.
func backoff(first time.Duration, n int) time.Duration {
	wait := min(first<<min(n-1, 16), time.Minute)
	return wait/2 + rand.N(cmp.Or(wait/2, 1))
}

// sleep waits for d and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
