package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
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

func TestEchoesOfEveryLengthAndFramingAreRight(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if len(body)%2 == 1 {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		for part := range slices.Chunk(body, 20_000) {
			w.Write(part)
			http.NewResponseController(w).Flush()
		}
	})
	for _, size := range []int{1, 2, 9_999, 100_000, 100_001, 1 << 20} {
		s, err := closedLoop(t.Context(), c, strings.Repeat("0123456789", size/10+1)[:size], 1, 20*time.Millisecond)
		if err != nil || s.calls == 0 || s.failed > 0 {
			t.Errorf("%d bytes: %d of %d calls failed, %v", size, s.failed, s.calls, err)
		}
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
		"other chunks": func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("hel"))
			http.NewResponseController(w).Flush()
			w.Write([]byte("l0"))
		},
		"more chunks": func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("hello"))
			http.NewResponseController(w).Flush()
			w.Write([]byte("!"))
		},
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
	got, ok := r.compare("load", "a", "b", rate)
	if want := (ratio{Median: 2, Min: 1, Max: 3}); !ok || got != want {
		t.Errorf("ratio %+v, want %+v", got, want)
	}
	if _, ok := r.compare("load", "a", "nobody", rate); ok {
		t.Error("a ratio to nobody")
	}
}

// Events count from their sending, only while somebody listens.
func TestStreamsCountEventsFromTheirSending(t *testing.T) {
	t.Parallel()
	listening := make(chan struct{})
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		event := func(at time.Time) {
			fmt.Fprintf(w, "data: %d\n\n", at.UnixNano())
			http.NewResponseController(w).Flush()
		}
		event(time.Now()) // the first is not counted
		<-listening
		for range 3 {
			event(time.Now().Add(-time.Hour))
		}
		<-r.Context().Done()
	})
	c.events = "/"
	s, err := openStreams(t.Context(), c, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	time.AfterFunc(100*time.Millisecond, func() { close(listening) })
	got, err := s.listen(t.Context(), 2*time.Second)
	if err != nil || got.calls != 12 || got.quantile(0) < time.Hour {
		t.Errorf("%d events, the first %s late, %v; want 12, an hour", got.calls, got.quantile(0), err)
	}
}

func TestStreamsThatEndAreAnError(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		fmt.Fprintf(w, "data: %d\n\n", time.Now().UnixNano())
	})
	c.events = "/"
	s, err := openStreams(t.Context(), c, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.readers.Wait()
	if _, err := s.listen(t.Context(), time.Millisecond); err == nil {
		t.Error("a stream that ended was measured")
	}
}

// A group that names a contestant that does not exist would only fail when it is run.
func TestGroupsHaveContestants(t *testing.T) {
	t.Parallel()
	names := groups([]string{"gateway", "functions", "peers", "goals"})
	for i, name := range names {
		if makers[name] == nil {
			t.Errorf("nobody makes %s", name)
		}
		if slices.Contains(names[:i], name) {
			t.Errorf("%s is there twice", name)
		}
	}
	for _, name := range beside {
		if makers[name] == nil {
			t.Errorf("nobody makes %s", name)
		}
	}
}

func TestGoalsAreReachedInTheirDirection(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		by         metric
		least, aim float64
		x          float64
		want       string
	}{
		{rate, 1, 2, 0.9, "missed"},
		{rate, 1, 2, 1, "reached"},
		{rate, 1, 2, 2, "aim reached"},
		{p50, 2, 1, 2.1, "missed"},
		{p50, 2, 1, 1.5, "reached"},
		{p50, 2, 1, 0.5, "aim reached"},
	} {
		if got := (goal{by: tt.by, least: tt.least, aim: tt.aim}).reached(tt.x); got != tt.want {
			t.Errorf("%s %.1f: %s, want %s", tt.by.name, tt.x, got, tt.want)
		}
	}
}
