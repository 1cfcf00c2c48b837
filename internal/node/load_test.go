//go:build unix

package node_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// An outcome is what became of one call.
type outcome struct {
	due    time.Duration // when it should have begun, since the load's start
	took   time.Duration // from then to the end of its answer
	status int           // 0 without an answer
	err    error
}

// A load makes calls in an open loop: at a constant rate, whatever becomes of
// them, as the world does.
type load struct {
	url    string
	rate   int // a second
	client *http.Client
	body   func(i int) []byte // of call i; a number of its own if nil
}

// newClient returns a client that keeps as many connections as it made.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{MaxIdleConnsPerHost: 10_000, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// run makes calls for d, or until stop is closed, and returns what became of each
// when all are over.
func (l load) run(t *testing.T, d time.Duration, stop <-chan struct{}) []outcome {
	t.Helper()
	var all sync.WaitGroup
	outcomes := make([]outcome, int(d.Seconds()*float64(l.rate)))
	interval := time.Second / time.Duration(l.rate)
	began := time.Now()
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	next := 0
loop:
	for next < len(outcomes) {
		for ; next < len(outcomes) && time.Duration(next)*interval <= time.Since(began); next++ {
			o := &outcomes[next]
			o.due = time.Duration(next) * interval
			body := []byte(fmt.Sprint(next))
			if l.body != nil {
				body = l.body(next)
			}
			all.Go(func() {
				o.status, o.err = call(l.client, l.url, body)
				o.took = time.Since(began) - o.due
			})
		}
		select {
		case <-stop:
			break loop
		case <-tick.C:
		}
	}
	all.Wait()
	return outcomes[:next]
}

// callTimeout is far above any limit of the gateway: who reaches it hung.
const callTimeout = 30 * time.Second

// call makes one call and reads its answer whole.
func call(c *http.Client, url string, body []byte) (status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	// A connection that the gateway closed as idle at this very moment is no failed
	// call. Empty, the header stays here: it only tells the client to try again.
	r.Header["Idempotency-Key"] = []string{}
	resp, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

// tally counts outcomes by status, for people.
func tally(outcomes []outcome) map[int]int {
	counts := map[int]int{}
	for _, o := range outcomes {
		counts[o.status]++
	}
	return counts
}

func count(outcomes []outcome, ok func(outcome) bool) (n int) {
	for _, o := range outcomes {
		if ok(o) {
			n++
		}
	}
	return n
}

func failed(o outcome) bool { return o.status != http.StatusOK }

func filter(outcomes []outcome, ok func(outcome) bool) []outcome {
	return slices.DeleteFunc(slices.Clone(outcomes), func(o outcome) bool { return !ok(o) })
}

// quantile returns how long the fraction q of the calls took at most.
func quantile(outcomes []outcome, q float64) time.Duration {
	if len(outcomes) == 0 {
		return 0
	}
	took := make([]time.Duration, len(outcomes))
	for i, o := range outcomes {
		took[i] = o.took
	}
	slices.Sort(took)
	return took[min(int(q*float64(len(took))), len(took)-1)]
}
