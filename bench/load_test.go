package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve returns a contestant without a process.
func serve(t *testing.T, h http.HandlerFunc) *contestant {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &contestant{name: "test", addr: strings.TrimPrefix(s.URL, "http://"), path: "/"}
}

func TestClosedLoopCountsEveryCall(t *testing.T) {
	t.Parallel()
	c := serve(t, echo)
	s, err := closedLoop(t.Context(), c, "hello", 4, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if s.calls == 0 || s.calls != len(s.latency) || s.failed != 0 || s.rate() <= 0 {
		t.Errorf("%d calls, %d latencies, %d failed, %.0f/s", s.calls, len(s.latency), s.failed, s.rate())
	}
	if s.quantile(0.5) > s.quantile(0.99) || s.quantile(1) != s.latency[len(s.latency)-1] {
		t.Errorf("p50 %s, p99 %s, greatest %s", s.quantile(0.5), s.quantile(0.99), s.quantile(1))
	}
}

// The last of 20 calls is due when 19 intervals are over, and calls that a stall
// holds back count from when they were due.
func TestOpenLoopKeepsItsRate(t *testing.T) {
	t.Parallel()
	c := serve(t, echo)
	s, err := openLoop(t.Context(), c, "hello", 4, 100, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if s.calls != 20 || s.took < 190*time.Millisecond {
		t.Errorf("%d calls in %s, want 20 in 190 ms and more", s.calls, s.took)
	}
}

func TestOpenLoopCountsFromWhenACallWasDue(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		echo(w, r)
	})
	time.AfterFunc(200*time.Millisecond, func() { close(release) })
	s, err := openLoop(t.Context(), c, "hello", 1, 100, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	// One connection, ten calls, all held back by the first: the tenth was due
	// after 90 ms and came after 200.
	if s.calls != 10 || s.latency[0] < 100*time.Millisecond {
		t.Errorf("%d calls, the fastest %s: waiting was not counted", s.calls, s.latency[0])
	}
}

func TestWrongAnswersAreFailures(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"other bytes":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("HELLO")) },
		"other length": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hell")) },
		"other status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			w.Write([]byte("hello"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := closedLoop(t.Context(), serve(t, h), "hello", 1, 20*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if s.calls == 0 || s.failed != s.calls {
				t.Errorf("%d of %d calls failed, want all", s.failed, s.calls)
			}
		})
	}
}

func TestRatiosArePairedByRound(t *testing.T) {
	t.Parallel()
	r := newResult(plan{}, nil)
	for _, rates := range [][2]float64{{100, 50}, {10, 10}, {300, 100}} { // a machine of changing speed
		r.add("a", "load", measurement{Rate: rates[0]})
		r.add("b", "load", measurement{Rate: rates[1]})
	}
	got, ok := r.compare("load", "a", "b", byRate)
	if want := (ratio{Median: 2, Min: 1, Max: 3}); !ok || got != want {
		t.Errorf("ratio %+v, want %+v", got, want)
	}
	if _, ok := r.compare("load", "a", "nobody", byRate); ok {
		t.Error("a ratio to nobody")
	}
}
