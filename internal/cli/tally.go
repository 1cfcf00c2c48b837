package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/session"
)

const (
	mostTold   = 20               // first builds that are told one by one
	tallyEvery = 10 * time.Second // between two lines that are not on a terminal
)

// A tally stands for the results of very many first builds, until it ends: on a terminal it is
// one changing line, elsewhere a line now and then. A failure is still told by itself.
type tally struct {
	p        *process
	status   *status                // nil if not on a terminal
	deployed func(mayfly.Name) bool // whether a unit is also deployed

	mu          sync.Mutex
	all         int             // first builds; 0 if each is told
	live        map[string]bool // by kind and name: whether it is, or has failed
	functions   int             // of those that are live
	also        []string        // of those that are live: what is deployed, too
	began, said time.Time
}

// newTally returns one for the first builds of so many units.
func newTally(say aside, units int, deployed func(mayfly.Name) bool) *tally {
	t := &tally{p: say.p, status: say.status, deployed: deployed, live: map[string]bool{}, began: time.Now(), said: time.Now()}
	if say.person && units > mostTold {
		t.all = units
	}
	return t
}

// takes reports whether it stands for an event: whoever asks need not tell it.
func (t *tally) takes(e session.Event) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == 0 || e.Kind == "project" {
		return false
	}
	if e.Step != "" {
		return true
	}
	before, now := t.live[e.Kind+e.Name], e.Err == nil
	t.live[e.Kind+e.Name] = now
	text := fmt.Sprintf("built %d of %d…", len(t.live), max(t.all, len(t.live)))
	switch {
	case t.status != nil:
		t.status.show(text)
	case time.Since(t.said) >= tallyEvery:
		t.said = time.Now()
		t.p.note("%s", text)
	}
	if now && !before && t.deployed(mayfly.Name(e.Name)) {
		t.also = append(t.also, e.Name)
	}
	if e.Kind == mayfly.KindFunction.String() && now != before {
		t.functions += map[bool]int{true: 1, false: -1}[now]
	}
	return now
}

// end prints the sum, if the first builds are done. From then on each build is told.
func (t *tally) end(done bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == 0 {
		return
	}
	t.all = 0
	if t.status != nil {
		t.status.show("")
	}
	if !done {
		return
	}
	services, failed := -t.functions, 0
	for _, live := range t.live {
		if live {
			services++
		} else {
			failed++
		}
	}
	text := plural(t.functions, "function")
	if services > 0 {
		text += " and " + plural(services, "service")
	}
	text += map[bool]string{true: " is live", false: " are live"}[t.functions+services == 1]
	if failed > 0 {
		text += fmt.Sprintf(", %d failed", failed)
	}
	t.p.note("%s (%s)", text, took(time.Since(t.began)))
	if len(t.also) > 0 {
		t.p.note("note: also deployed: %s; NATS clients and other nodes keep calling those revisions", someOf(t.also))
	}
}

// A status is a changing line at the bottom of a terminal. What is written through its
// writers, in whole lines, goes above it.
type status struct {
	w io.Writer

	mu   sync.Mutex
	text string
}

// show replaces the line.
func (s *status) show(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
	fmt.Fprint(s.w, clearLine+text)
}

// beside returns the process with writers that go above the line.
func (s *status) beside(p *process) *process {
	q := *p
	q.stderr = aboveStatus{s, p.stderr}
	if isTerminal(p.stdout) {
		q.stdout = aboveStatus{s, p.stdout}
	}
	return &q
}

type aboveStatus struct {
	s *status
	w io.Writer
}

// Write is called with whole lines.
func (a aboveStatus) Write(lines []byte) (int, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.text == "" {
		return a.w.Write(lines)
	}
	fmt.Fprint(a.s.w, clearLine)
	n, err := a.w.Write(lines)
	fmt.Fprint(a.s.w, a.s.text)
	return n, err
}
