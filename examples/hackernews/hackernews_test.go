package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// carrier is a network without wires, so that time in it costs nothing.
type carrier func(*http.Request) (*http.Response, error)

func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) { return c(r) }

func says(code int, body string, header ...string) (*http.Response, error) {
	a := &http.Response{StatusCode: code, Status: http.StatusText(code), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	if len(header) == 2 {
		a.Header.Set(header[0], header[1])
	}
	return a, nil
}

func newTestClient(t *testing.T, c carrier) *client {
	t.Helper()
	hn, err := newClient("http://hn.example/v0/", normalPace())
	if err != nil {
		t.Fatal(err)
	}
	hn.http.Transport = c
	return hn
}

func TestClientTriesAgainWhatMaySucceed(t *testing.T) {
	t.Parallel()
	const good = `{"id":7,"type":"story","title":"A","time":1}`
	for _, tt := range []struct {
		name     string
		answer   carrier // to the first tries; the third is good
		tries    int
		code     int
		from, to time.Duration // how long it takes
	}{
		{"an error", func(*http.Request) (*http.Response, error) { return says(503, "") }, 3, 0, 300 * time.Millisecond, 800 * time.Millisecond},
		{"half an answer", func(*http.Request) (*http.Response, error) { return says(200, `{"id":`) }, 3, 0, 300 * time.Millisecond, 800 * time.Millisecond},
		{"a broken connection", func(*http.Request) (*http.Response, error) { return nil, errors.New("reset") }, 3, 0, 300 * time.Millisecond, 800 * time.Millisecond},
		{"as late as it is asked to", func(*http.Request) (*http.Response, error) { return says(429, "", "Retry-After", "5") }, 3, 0, 10 * time.Second, 11 * time.Second},
		{"silence", func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, 3, 0, 6 * time.Second, 7 * time.Second},
		{"not what is not there", func(*http.Request) (*http.Response, error) { return says(200, `null`) }, 1, 404, 0, 0},
		{"not what is no story", func(*http.Request) (*http.Response, error) { return says(200, `{"id":7,"type":"job"}`) }, 1, 422, 0, 0},
		{"not what is wrong", func(*http.Request) (*http.Response, error) { return says(200, `[]`) }, 1, 502, 0, 0},
		{"not a wrong address", func(*http.Request) (*http.Response, error) { return says(404, `no such page`) }, 1, 502, 0, 0},
		{"not what is too large", func(*http.Request) (*http.Response, error) { return says(200, strings.Repeat(" ", maxBody+1)) }, 1, 502, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				hn := newTestClient(t, func(r *http.Request) (*http.Response, error) {
					if r.URL.String() != "http://hn.example/v0/item/7.json" {
						t.Errorf("GET %s", r.URL)
					}
					if tries++; tries == httpTries {
						return says(200, good)
					}
					return tt.answer(r)
				})
				start := time.Now()
				_, err := hn.post(t.Context(), 7)
				wantFault(t, err, tt.code)
				if took := time.Since(start); tries != tt.tries || took < tt.from || took > tt.to {
					t.Errorf("%d tries in %s, want %d in %s to %s", tries, took, tt.tries, tt.from, tt.to)
				}
			})
		})
	}
}

func TestClientGivesUp(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer carrier
		code   int
		after  time.Duration
	}{
		{"with 502 on errors", func(*http.Request) (*http.Response, error) { return says(500, "") }, 502, 0},
		{"with 504 on silence", func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, 504, 0},
		{"at once if it is to wait for longer than it may", func(*http.Request) (*http.Response, error) { return says(429, "", "Retry-After", "3600") }, 502, maxAfter},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), asks)
				defer cancel()
				_, err := newTestClient(t, tt.answer).post(ctx, 7)
				wantFault(t, err, tt.code)
				if got := notBefore(err); got != tt.after {
					t.Errorf("not before %s, want %s", got, tt.after)
				}
				if !isTemporary(err) {
					t.Error("the queue would not try it again")
				}
			})
		})
	}
}

func TestClientAsksNoMoreThanEightAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		hn := newTestClient(t, func(*http.Request) (*http.Response, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(time.Second)
			return says(200, `null`)
		})
		var all sync.WaitGroup
		for id := range int64(5 * atOnce) {
			all.Go(func() { hn.post(t.Context(), id+1) })
		}
		start := time.Now()
		all.Wait()
		if took := time.Since(start); most.Load() != atOnce || took != 5*time.Second {
			t.Errorf("%d at once, %s", most.Load(), took)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "0": 0, "-3": 0, "soon": 0, "3.5": 0, "99999999999999999999": 0, "4294967295": maxAfter,
		"Sun, 22 Nov 2026 12:00:30 GMT": 30 * time.Second, "Sun, 22 Nov 2026 11:00:00 GMT": 0, "Sun, 22 Nov 2099 11:00:00 GMT": maxAfter,
	} {
		if got := retryAfter(in, now); got != want {
			t.Errorf("retryAfter(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestBackoffGrowsToAMinute(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 7: time.Minute, 1000: time.Minute} {
		for range 100 {
			if got := backoff(time.Second, n); got < want/2 || got > want {
				t.Fatalf("backoff(1s, %d) = %s, want %s to %s", n, got, want/2, want)
			}
		}
	}
}

func TestClientRefusesABadAddress(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "hn.example", "ftp://hn.example", "http://", "http://a b", "/v0"} {
		if _, err := newClient(base, normalPace()); err == nil || !strings.Contains(err.Error(), "HN_BASE_URL") {
			t.Errorf("newClient(%q): %v", base, err)
		}
	}
}
