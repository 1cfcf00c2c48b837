package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// An upstream is a small HackerNews of made-up stories.
type upstream struct {
	*httptest.Server

	mu     sync.Mutex
	top    string           // what topstories.json answers
	items  map[int64]string // what an item answers; null if it is not here
	asked  map[int64]int    // how often an item was asked for
	fail   func(id int64, n int) http.HandlerFunc
	inHand int
	most   int
}

// newUpstream returns a HackerNews with n stories, whose numbers begin with 1001
// and whose points grow with them.
func newUpstream(t *testing.T, n int) *upstream {
	t.Helper()
	u := &upstream{items: map[int64]string{}, asked: map[int64]int{}}
	var ids []int64
	for i := range n {
		id := int64(1001 + i)
		ids = append(ids, id)
		u.items[id] = storyJSON(id, time.Now().Add(-time.Hour))
	}
	list, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	u.top = string(list)
	u.Server = httptest.NewServer(u)
	t.Cleanup(u.Close)
	return u
}

func storyJSON(id int64, at time.Time) string {
	return fmt.Sprintf(`{"id":%d,"type":"story","by":"ada","title":"Story %d","url":"https://example.com/%d","score":%d,"descendants":%d,"time":%d,"kids":[1,2]}`,
		id, id, id, id-1000, id%7, at.Unix())
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.inHand++
	u.most = max(u.most, u.inHand)
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.inHand--
	}()

	var id int64
	if _, err := fmt.Sscanf(r.URL.Path, "/v0/item/%d.json", &id); err != nil {
		u.answer(w, r, 0, u.top)
		return
	}
	u.mu.Lock()
	item, ok := u.items[id]
	u.mu.Unlock()
	if !ok {
		item = "null"
	}
	u.answer(w, r, id, item)
}

func (u *upstream) answer(w http.ResponseWriter, r *http.Request, id int64, text string) {
	u.mu.Lock()
	u.asked[id]++
	n, fail := u.asked[id], u.fail
	u.mu.Unlock()
	if fail != nil {
		if h := fail(id, n); h != nil {
			h(w, r)
			return
		}
	}
	fmt.Fprint(w, text)
}

// requests returns how often items were asked for.
func (u *upstream) requests() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	total := 0
	for id, n := range u.asked {
		if id != 0 {
			total += n
		}
	}
	return total
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"error":"made to fail"}`, code) }
}

// silence never answers.
func silence(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// A gate lets some items through and holds the others until it is opened.
type gate struct {
	mu      sync.Mutex
	through int
	held    chan struct{} // gets one for each that waits
	open    chan struct{}
}

func newGate(through int) *gate {
	return &gate{through: through, held: make(chan struct{}, 1000), open: make(chan struct{})}
}

func (g *gate) fail(id int64, _ int) http.HandlerFunc {
	if id == 0 {
		return nil
	}
	g.mu.Lock()
	g.through--
	wait := g.through < 0
	g.mu.Unlock()
	if wait {
		g.held <- struct{}{}
		<-g.open
	}
	return nil
}

// waitHeld returns when n items wait.
func (g *gate) waitHeld(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-g.held:
		case <-time.After(30 * time.Second):
			t.Fatal("nobody came to the gate")
		}
	}
}
