package runner

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// A hosted is a service that is kept alive. It has a place for each instance, and
// each place a goroutine.
type hosted struct {
	runner *Runner

	// turn is held by the place that changes to a new revision, until the new
	// instance is ready: so one that does not start costs no more than it.
	turn chan struct{}

	mu      sync.Mutex
	value   mayfly.Unit
	wanted  *edition
	places  []context.CancelFunc
	lives   []*resident // of all places, and of those that were given up until they stop
	count   counters
	failure error     // of the last start or instance; nil after one was ready
	rested  time.Time // when the place of that tries again
}

// An edition is a revision that Host was given.
type edition struct {
	value  mayfly.Unit
	bundle bundle
	newer  chan struct{} // closed when there is a newer one
}

// A resident is one instance of a hosted service.
type resident struct {
	id       string
	edition  *edition
	phase    phase
	began    time.Time // of the start
	readied  time.Time
	instance Instance
}

func newHosted(r *Runner) *hosted { return &hosted{runner: r, turn: make(chan struct{}, 1)} }

func (h *hosted) get() mayfly.Unit {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.value
}

func (h *hosted) want() *edition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wanted
}

func (h *hosted) set(value mayfly.Unit, folder Folder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wanted == nil || h.value.Revision != value.Revision || !reflect.DeepEqual(h.value.Program, value.Program) {
		if h.wanted != nil {
			close(h.wanted.newer)
		}
		h.wanted = &edition{value: value, bundle: newBundle(folder), newer: make(chan struct{})}
	}
	h.value = value
	h.resize(value.Instances.Min)
}

// resize makes as many places as there must be.
func (h *hosted) resize(n int) {
	for len(h.places) > n {
		last := len(h.places) - 1
		h.places[last]()
		h.places = h.places[:last]
	}
	for len(h.places) < n {
		ctx, leave := context.WithCancel(context.Background())
		h.places = append(h.places, leave)
		h.runner.places.Go(func() { h.keep(ctx) })
	}
}

func (h *hosted) scale(n mayfly.Instances) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.value.Instances = n
	h.resize(n.Min)
}

func (h *hosted) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.resize(0)
}

// keep keeps one place taken until ctx ends: by an instance of the revision that is
// wanted, or by the one before until that has started.
func (h *hosted) keep(ctx context.Context) {
	var here *resident // nil if nobody is
	var tried *edition // by the last start
	crashes, myTurn := 0, false
	defer func() {
		if here != nil {
			h.stop(here)
		}
		if myTurn {
			<-h.turn
		}
	}()
	for ctx.Err() == nil {
		want := h.want()
		switch {
		case here != nil && here.dead():
			if time.Since(here.readied) >= healthyAfter {
				crashes = 0
			}
			crashes++
			h.died(here, rest(crashes))
			here = nil
			pause(ctx, rest(crashes), want.newer)
		case here != nil && here.edition == want:
			if myTurn {
				<-h.turn
				myTurn = false
			}
			select {
			case <-here.instance.Done():
			case <-want.newer:
			case <-ctx.Done():
			}
		case here != nil && !myTurn:
			select {
			case h.turn <- struct{}{}:
				myTurn = true
			case <-here.instance.Done():
			case <-ctx.Done():
			}
		default:
			if want != tried {
				tried, crashes = want, 0
			}
			next, err := h.start(ctx, want, rest(crashes+1))
			if err != nil {
				crashes++
				pause(ctx, rest(crashes), want.newer)
				continue
			}
			if here != nil {
				h.stop(here)
			}
			here = next
		}
	}
}

// pause rests, unless something is news earlier.
func pause(ctx context.Context, d time.Duration, news <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-news:
	case <-ctx.Done():
	}
}

// start starts an instance. After an error nothing is left of it, and the place
// rests.
func (h *hosted) start(ctx context.Context, e *edition, rests time.Duration) (*resident, error) {
	in := &resident{id: newID(), edition: e, began: time.Now()}
	h.mu.Lock()
	h.lives = append(h.lives, in)
	h.count.starts++
	h.mu.Unlock()
	instance, err := h.make(ctx, in)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.drop(in)
		if ctx.Err() == nil {
			h.crashed(in, "did not start", err, rests)
		}
		return nil, err
	}
	in.instance, in.phase, in.readied = instance, ready, time.Now()
	h.failure, h.rested = nil, time.Time{}
	h.say(in, "started in "+round(time.Since(in.began)))
	return in, nil
}

func (h *hosted) make(ctx context.Context, in *resident) (Instance, error) {
	folder, err := in.edition.bundle.fetch(ctx)
	if err != nil {
		return nil, err
	}
	v := in.edition.value
	return h.runner.start(ctx, Spec{
		Name: string(v.Name), Revision: v.Revision, Program: v.Program, Limits: mayfly.Limits{}.WithDefaults(),
		Folder: folder, Instance: in.id,
	})
}

// died says that an instance ended by itself.
func (h *hosted) died(in *resident, rests time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(in)
	err := in.instance.Err()
	if err == nil {
		err = errEnded
	}
	h.crashed(in, "crashed", err, rests)
}

func (h *hosted) crashed(in *resident, how string, err error, rests time.Duration) {
	h.count.crashes++
	h.failure, h.rested = err, time.Now().Add(rests)
	h.say(in, how+": "+err.Error()+"; rests "+round(rests))
}

func (h *hosted) stop(in *resident) {
	h.mu.Lock()
	in.phase = stopping
	h.mu.Unlock()
	h.runner.stop(in.instance)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(in)
	h.say(in, "stopped")
}

func (h *hosted) drop(in *resident) {
	h.lives = slices.DeleteFunc(h.lives, func(other *resident) bool { return other == in })
}

func (h *hosted) say(in *resident, text string) {
	v := in.edition.value
	h.runner.options.Log.Debug("instance changed", telemetry.KeyService, v.String(), telemetry.KeyInstance, in.id, "state", text)
	h.runner.options.Output(mayfly.Line{
		Time: time.Now(), Function: string(v.Name), Revision: v.Revision, Instance: in.id, Source: mayfly.System, Text: text,
	})
}

func (h *hosted) state() (state State, lives []Instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	state = State{Unit: h.value}
	for _, in := range h.lives {
		if in.phase == ready {
			state.Serving = max(state.Serving, in.edition.value.Revision)
		}
		state.Instances = append(state.Instances, InstanceState{
			ID: in.id, Revision: in.edition.value.Revision, Phase: in.phase.String(), Started: in.began,
		})
		lives = append(lives, in.instance)
	}
	if h.failure != nil {
		state.Failing, state.Rests = oneLine(h.failure.Error()), h.rested
	}
	return state, lives
}

func (in *resident) dead() bool { return closed(in.instance.Done()) }
