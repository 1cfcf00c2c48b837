package runner

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mayfly-run/mayfly"
)

// A State is what a unit looks like at one moment.
type State struct {
	Unit mayfly.Unit // current

	Instances []InstanceState // starting, ready and stopping, oldest first
	Waiting   int             // calls

	// Serving is the revision that answers: the fallback while the current one fails
	// to start.
	Serving uint64
	Failing string    // why the last start or instance failed, in one line; "" if all is well
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
	Failing    bool          // the last one failed, and none has been ready since
}

// counters are a function's running Stats.
type counters struct {
	requests, errors, rejected, starts, crashes uint64

	processing        time.Duration
	inFlight, waiting int
	lastError         string
}

// add counts a call that has ended.
func (c *counters) add(took time.Duration, failure string) {
	c.requests++
	c.processing += took
	if failure != "" {
		c.errors++
		c.lastError = failure
	}
}

// Stats returns the counts of a unit.
func (r *Runner) Stats(name string) (Stats, bool) {
	if f := r.find(mayfly.Name(name)); f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		s := f.count.stats(f.instances())
		s.Failing = f.now != nil && f.now.pool.failure != nil
		return s, true
	}
	return Stats{}, false
}

func (c *counters) stats(instances int) Stats {
	return Stats{
		Instances: instances,
		Requests:  c.requests, Errors: c.errors, LastError: oneLine(c.lastError), Processing: c.processing,
		InFlight: c.inFlight, Waiting: c.waiting, Rejected: c.rejected,
		Starts: c.starts, Crashes: c.crashes,
	}
}

// State returns what a unit looks like now.
func (r *Runner) State(name string) (State, bool) {
	if f := r.find(mayfly.Name(name)); f != nil {
		state, lives := f.state()
		return state.with(lives), true
	}
	return State{}, false
}

// with adds the instances' usage. It queries the system, so it holds no lock.
func (s State) with(lives []Instance) State {
	for i, instance := range lives {
		if instance != nil {
			s.Instances[i].Usage = instance.Usage()
		}
	}
	return s
}

func (f *function) state() (state State, lives []Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil {
		return State{}, nil
	}
	state = State{Unit: f.now.value, Waiting: f.count.waiting}
	if p := f.now.pool; p.failure != nil {
		state.Failing = oneLine(p.failure.Error())
		if time.Now().Before(p.rested) {
			state.Rests = p.rested
		}
	}
	var slots []*slot
	for v := range f.revisions() {
		slots = append(slots, v.pool.slots...)
	}
	slices.SortFunc(slots, func(a, b *slot) int { return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.id, b.id)) })
	if f.kind == mayfly.KindFunction {
		state.Serving = f.now.value.Revision
		if len(f.before) > 0 && f.now.pool.crashes > 0 {
			state.Serving = f.before[0].value.Revision
		}
	}
	for _, s := range slots {
		if f.kind == mayfly.KindService && s.phase == ready {
			state.Serving = max(state.Serving, s.revision.value.Revision)
		}
		state.Instances = append(state.Instances, InstanceState{
			ID: s.id, Revision: s.revision.value.Revision, Phase: s.phase.String(), Started: s.began, Calls: s.calls,
		})
		lives = append(lives, s.instance)
	}
	return state, lives
}

// revisions yields the revisions that have instances or may get some.
func (f *function) revisions() iter.Seq[*revision] {
	return func(yield func(*revision) bool) {
		for _, all := range [][]*revision{{f.now}, f.before, f.ready, f.leaving} {
			for _, v := range all {
				if v != nil && !yield(v) {
					return
				}
			}
		}
	}
}

// serving returns the revisions kept running: the current one and its fallbacks.
func (f *function) serving() []*revision {
	if f.now == nil {
		return nil
	}
	return slices.Insert(slices.Clone(f.before), 0, f.now)
}

// instances returns how many there are.
func (f *function) instances() (n int) {
	for v := range f.revisions() {
		n += len(v.pool.slots)
	}
	return n
}

// String returns the phase's name.
func (p phase) String() string {
	return [...]string{starting: "starting", ready: "ready", stopping: "stopping", gone: "gone"}[p]
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
