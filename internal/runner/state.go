package runner

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mayfly-run/mayfly"
)

// A UnitState is what a unit looks like at one moment.
type UnitState struct {
	Unit mayfly.Unit // current

	Instances []InstanceState // starting, ready and stopping, oldest first
	Waiting   int             // calls

	// Serving is the revision that answers: the fallback while the current one fails
	// to start.
	Serving uint64
	Failing string    // why the last start or instance failed, in one line; "" if all is well, or it was one crash alone
	Rests   time.Time // nothing starts before; zero if starts are allowed
}

// An InstanceState is what one instance looks like.
type InstanceState struct {
	ID       string
	Revision uint64
	Phase    string    // starting, ready or stopping
	Started  time.Time // when its start began
	Calls    int       // in flight
	Usage    Usage
}

// Stats count what a unit has done since it was first added.
// A service has only instances, starts and crashes.
type Stats struct {
	Instances  int           // starting, ready and stopping now
	Requests   uint64        // admitted calls that have ended, whatever the outcome
	Errors     uint64        // of Requests: those with a status of 500 or more, or without a reply
	LastError  string        // one line
	Processing time.Duration // total of all Requests, from admission to the end of the reply, its stream included
	InFlight   int           // calls in instances now
	Waiting    int           // calls that wait for an instance now
	Rejected   uint64        // calls not admitted, because the queue was full
	Starts     uint64        // of instances
	Crashes    uint64        // starts that failed, and instances that ended by themselves
	Failing    bool          // the last one failed, and none has been ready since; one crash alone is forgiven
}

// add counts a call that has ended.
func (s *Stats) add(took time.Duration, failure string) {
	s.Requests++
	s.Processing += took
	if failure != "" {
		s.Errors++
		s.LastError = failure
	}
}

// Stats returns the counts of a unit.
func (r *Runner) Stats(name string) (Stats, bool) {
	u := r.find(mayfly.Name(name))
	if u == nil {
		return Stats{}, false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.count
	s.LastError = oneLine(s.LastError)
	for _, v := range u.revisions() {
		s.Instances += len(v.pool.slots)
	}
	s.Failing = u.now != nil && u.now.pool.failing(time.Now()) != nil
	return s, true
}

// State returns what a unit looks like now.
func (r *Runner) State(name string) (UnitState, bool) {
	u := r.find(mayfly.Name(name))
	if u == nil {
		return UnitState{}, false
	}
	state, lives := u.state()
	for i, instance := range lives { // it queries the system, so no lock is held
		if instance != nil {
			state.Instances[i].Usage = instance.Usage()
		}
	}
	return state, true
}

func (u *unit) state() (state UnitState, lives []Instance) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now == nil {
		return UnitState{}, nil
	}
	state = UnitState{Unit: u.now.value, Waiting: u.count.Waiting}
	if failure := u.now.pool.failing(time.Now()); failure != nil {
		state.Failing = oneLine(failure.Error())
		if rested := u.now.pool.rested; time.Now().Before(rested) {
			state.Rests = rested
		}
	}
	var slots []*slot
	for _, v := range u.revisions() {
		slots = append(slots, v.pool.slots...)
	}
	slices.SortFunc(slots, func(a, b *slot) int { return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.id, b.id)) })
	if u.kind == mayfly.KindFunction {
		state.Serving = u.now.value.Revision
		if len(u.before) > 0 && u.now.pool.crashes > 0 {
			state.Serving = u.before[0].value.Revision
		}
	}
	for _, s := range slots {
		if u.kind == mayfly.KindService && s.phase == ready {
			state.Serving = max(state.Serving, s.revision.value.Revision)
		}
		state.Instances = append(state.Instances, InstanceState{
			ID: s.id, Revision: s.revision.value.Revision, Phase: s.phase.String(), Started: s.began, Calls: s.calls,
		})
		lives = append(lives, s.instance)
	}
	return state, lives
}

// failing returns the error of the last crash, or nil if all is well. One crash in a row that
// is forgiven does not count once nothing rests or starts: without calls nothing would start
// to prove it over.
func (p *pool) failing(now time.Time) error {
	if p.proven && p.crashes <= p.forgiven && !now.Before(p.rested) && p.count(starting) == 0 {
		return nil
	}
	return p.failure
}

// revisions returns the revisions that have instances or may get some.
func (u *unit) revisions() []*revision { return slices.Concat(u.serving(), u.ready, u.leaving) }

// serving returns the revisions kept running: the current one and its fallbacks.
func (u *unit) serving() []*revision {
	if u.now == nil {
		return nil
	}
	return slices.Insert(slices.Clone(u.before), 0, u.now)
}

// String returns the phase's name.
func (p phase) String() string {
	return [...]string{starting: "starting", ready: "ready", retiring: "stopping", stopping: "stopping", gone: "gone"}[p]
}

// maxLine bounds an error in statistics: it travels in headers and tables.
const maxLine = 300

// oneLine returns the first line of a text, without control characters.
func oneLine(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// A Health says whether a unit can answer. It is cheap to ask for.
type Health struct {
	Starting, Ready int       // instances
	Began           time.Time // the last start of these; zero if there are none
	Failure         error     // of the last start or instance; nil once one has been ready since, or after one crash alone
}

// Health returns that of a unit; the zero value if there is none.
func (r *Runner) Health(name mayfly.Name) (h Health) {
	u := r.find(name)
	if u == nil {
		return h
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now != nil {
		h.Failure = u.now.pool.failing(time.Now())
	}
	for _, v := range u.serving() {
		h.Starting += v.pool.count(starting)
		h.Ready += v.pool.count(ready)
		for _, s := range v.pool.slots {
			if s.began.After(h.Began) {
				h.Began = s.began
			}
		}
	}
	return h
}
