package runner

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

const (
	keepPrepared = time.Minute // an instance without a Set
	mostPrepared = 4           // revisions of one function
	fetchTimeout = time.Minute // of a bundle
)

var (
	errFull  = errors.New("full")
	errEnded = errors.New("it ended by itself")
)

// A function is what the runner knows of one name: the current revision, its fallbacks,
// and those that are prepared or leaving. It may also be a service.
type function struct {
	runner *Runner
	kind   mayfly.Kind
	name   mayfly.Name

	mu      sync.Mutex
	now     *revision   // that new calls go to; nil if there is none yet
	before  []*revision // fallbacks of now, newest first: a function has one, until now has started once
	ready   []*revision // prepared, for a later Set
	leaving []*revision // with calls in flight
	ended   error       // for calls: removed, or the node is stopping
	timer   *time.Timer // of tick; nil if never needed
	due     time.Time   // when it fires; zero if it is stopped
	count   Stats       // Instances and Failing are not kept
}

// A revision is one value that was Set or is prepared, and its instances.
type revision struct {
	value   mayfly.Unit   // as Set or Scale gave it
	limits  mayfly.Limits // with defaults
	folder  Folder
	asking  chan struct{} // holds one value while folder is asked
	pool    *pool
	taken   int       // of a service: places taken from earlier revisions
	expires time.Time // while it is prepared
}

// A life is what a slot stands for.
type life struct {
	id       string
	revision *revision
	began    time.Time // of the start
	instance Instance  // nil until it is ready
	stop     context.CancelFunc
}

func (f *function) newRevision(value mayfly.Unit, folder Folder) *revision {
	limits := value.WithDefaults()
	if f.runner.options.Engines[value.Engine].Traits().OneCall {
		limits.Concurrency = 1
	}
	v := &revision{value: value, limits: limits, folder: folder, asking: make(chan struct{}, 1), pool: newPool(limits)}
	if value.Kind == mayfly.KindService {
		v.pool.forgiven = 0 // no call waits for it
	}
	return v
}

func (f *function) set(value mayfly.Unit, folder Folder) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.claim(value)
	if v == nil && f.now != nil && sameCode(f.now.value, value) {
		f.now.value = value
		f.resize()
		return
	}
	if v == nil {
		v = f.newRevision(value, folder)
	}
	before := f.now
	f.now = v
	if before != nil {
		v.pool.adopt(before.pool)
		if before.pool.proven || len(f.before) == 0 && before.pool.crashes == 0 {
			f.before = slices.Insert(f.before, 0, before)
		} else {
			f.retire(before) // it never started; its fallback stays
		}
	}
	f.roll()
	f.settle(v)
	f.promote(v)
}

// claim takes the revision prepared for a value, or returns nil.
func (f *function) claim(value mayfly.Unit) *revision {
	i := slices.IndexFunc(f.ready, func(v *revision) bool { return reflect.DeepEqual(v.value, value) && v.pool.proven })
	if i < 0 {
		return nil
	}
	v := f.ready[i]
	f.ready = slices.Delete(f.ready, i, i+1)
	v.pool.instances = v.limits.Instances
	return v
}

// promote retires the fallback of the current revision, if v is current and has started.
// A service's revision rolls out one by one instead.
func (f *function) promote(v *revision) {
	if v != f.now || len(f.before) == 0 || !v.pool.proven || f.kind == mayfly.KindService {
		return
	}
	for _, old := range f.before {
		v.pool.adopt(old.pool)
		f.retire(old)
	}
	f.before = nil
	f.settle(v)
}

// roll advances a service's rollout. A ready instance of the current revision takes a
// place for good; one at a time may try. Until then older revisions keep the other
// places, and the oldest of them restarts crashed instances.
func (f *function) roll() {
	if f.kind != mayfly.KindService || f.now == nil {
		return
	}
	most, here := f.now.limits.Instances.Min, f.now.pool.count(ready)
	f.now.taken = min(most, max(f.now.taken, here))
	left := most - f.now.taken
	before := f.before
	f.before = nil
	for i, v := range before {
		keep := left
		if i < len(before)-1 {
			keep = min(left, v.pool.count(ready))
		}
		if left -= keep; keep == 0 {
			f.retire(v)
			continue
		}
		f.before = append(f.before, v)
		v.pool.instances = mayfly.Exactly(keep)
		f.settle(v)
	}
	if len(f.before) > 0 {
		most = min(most, here+1)
	}
	f.now.pool.instances = mayfly.Exactly(most)
	f.settle(f.now)
}

// retire stops a revision's instances as their calls end.
func (f *function) retire(v *revision) {
	v.pool.leaving = true
	f.leaving = append(f.leaving, v)
	f.settle(v)
}

// resize applies the instances of the current value.
func (f *function) resize() {
	n := f.now.value.WithDefaults().Instances
	f.now.limits.Instances = n
	if f.kind == mayfly.KindService {
		f.roll()
		return
	}
	for _, v := range f.serving() {
		v.limits.Instances, v.pool.instances = n, n
		f.settle(v)
	}
}

func (f *function) scale(n mayfly.Instances) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil {
		return // it ended meanwhile
	}
	f.now.value.Instances = n
	f.resize()
}

// get returns the current revision, if there is one.
func (f *function) get() (mayfly.Unit, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil {
		return mayfly.Unit{}, false
	}
	return f.now.value, true
}

func (f *function) empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now == nil && len(f.ready) == 0 && len(f.leaving) == 0
}

// end stops taking calls: they get err.
func (f *function) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = err
	for _, v := range slices.Concat(f.ready, f.serving()) {
		v.pool.refuse(err)
		f.retire(v)
	}
	f.now, f.before, f.ready = nil, nil, nil
	if f.timer != nil {
		f.timer.Stop()
	}
}

// prepare starts an instance of a revision that may become current. Like a call, it uses
// a ticket.
func (f *function) prepare(value mayfly.Unit, folder Folder) (*revision, *ticket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.newRevision(value, folder)
	v.expires = time.Now().Add(keepPrepared)
	v.pool.instances.Min = 0 // until it is current, one is enough
	if len(f.ready) == mostPrepared {
		f.discard(f.ready[0])
	}
	f.ready = append(f.ready, v)
	t, o, _ := v.pool.join(time.Now()) // a new pool has room for one
	f.carry(v, o)
	return v, t
}

// prepared waits for the instance.
func (f *function) prepared(ctx context.Context, v *revision, t *ticket) error {
	select {
	case <-t.done:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case t.slot != nil:
		f.carry(v, v.pool.leave(t.slot, time.Now()))
		f.plan()
		return nil
	case t.err == nil:
		t.pool.quit(t)
		t.err = mayfly.Errorf(mayfly.Timeout, "prepare %s: %w", v.value, context.Cause(ctx))
	}
	f.discard(v)
	return t.err
}

// discard drops a prepared, unclaimed revision.
func (f *function) discard(v *revision) {
	i := slices.Index(f.ready, v)
	if i < 0 {
		return
	}
	f.ready = slices.Delete(f.ready, i, i+1)
	v.pool.refuse(mayfly.Errorf(mayfly.Conflict, "newer revisions than %s are prepared", v.value).WithHint("deploy again"))
	f.retire(v)
}

// tick does what is due.
func (f *function) tick() {
	f.mu.Lock()
	f.due = time.Time{}
	now := time.Now()
	for _, v := range slices.Clone(f.ready) {
		if !now.Before(v.expires) {
			f.discard(v)
		}
	}
	for _, v := range f.serving() {
		f.settle(v)
	}
	f.plan()
	f.mu.Unlock()
	f.runner.forget(f)
}

// settle updates a revision after a change.
func (f *function) settle(v *revision) {
	f.carry(v, v.pool.settle(time.Now()))
	f.plan()
}

// plan sets the timer to the next tick. Calls usually change nothing: a tick that is too
// early plans a later one.
func (f *function) plan() {
	now := time.Now()
	var due time.Time
	sooner := func(at time.Time) {
		if !at.IsZero() && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	for _, v := range f.serving() {
		sooner(v.pool.due(now))
	}
	for _, v := range f.ready {
		sooner(v.expires)
	}
	if !due.IsZero() && (f.due.IsZero() || due.Before(f.due)) {
		f.due = due
		if f.timer == nil {
			f.timer = time.AfterFunc(due.Sub(now), f.tick)
		} else {
			f.timer.Reset(due.Sub(now))
		}
	}
}

// carry executes a pool's orders.
func (f *function) carry(v *revision, o orders) {
	for _, s := range o.start {
		ctx, stop := context.WithCancel(context.Background())
		s.life = life{id: newID(), revision: v, began: time.Now(), stop: stop}
		f.count.Starts++
		f.runner.lives[f.kind].Go(func() { f.live(ctx, s) })
	}
	for _, s := range o.stop {
		s.stop()
	}
	if len(v.pool.slots) == 0 {
		if i := slices.Index(f.leaving, v); i >= 0 {
			f.leaving = slices.Delete(f.leaving, i, i+1)
		}
	}
}

// newID returns an instance's id: a token of a subject, short enough to read out.
func newID() string { return strings.ToLower(rand.Text()[:8]) }

// live is the life of an instance: it starts, works until it dies or ctx ends, and
// stops.
func (f *function) live(ctx context.Context, s *slot) {
	defer f.runner.forget(f)
	defer s.stop()
	instance, err := f.start(ctx, s)
	if err != nil {
		f.failed(s, err)
		return
	}
	if f.started(s, instance) {
		forced := f.runner.forced
		if f.kind == mayfly.KindService {
			forced = nil // functions may need it until they have ended
		}
		select {
		case <-instance.Done():
			f.mu.Lock()
			f.bury(s)
			f.mu.Unlock()
			return
		case <-ctx.Done():
		case <-forced:
		}
	}
	f.runner.stop(instance)
	f.stopped(s)
}

// start makes an instance. Its time limit starts when the bundle is available.
func (f *function) start(ctx context.Context, s *slot) (instance Instance, err error) {
	v, o := s.revision, f.runner.options
	defer func() {
		if p := recover(); p != nil {
			o.Log.Error("engine panicked", telemetry.KeyFunction, f.name, telemetry.KeyErr, p, "stack", string(debug.Stack()))
			instance, err = nil, mayfly.Errorf(mayfly.Internal, "start %s: the engine %s panicked", f.name, v.value.Engine)
		}
	}()
	folder, err := v.fetch(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(v.limits.Instances.Start))
	defer cancel()
	env, err := o.Env(v.value.Program, string(f.name), v.value.Revision, s.id)
	if err != nil {
		return nil, err
	}
	return o.Engines[v.value.Engine].Start(ctx, Spec{
		Name: string(f.name), Revision: v.value.Revision, Program: v.value.Program, Limits: v.limits,
		Folder: folder, Instance: s.id, Env: env, Output: o.Output,
	})
}

// fetch returns the folder of the revision's bundle.
func (v *revision) fetch(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	select {
	case v.asking <- struct{}{}:
		defer func() { <-v.asking }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return v.folder(ctx)
}

// stop stops an instance gracefully, for at most Grace.
func (r *Runner) stop(instance Instance) {
	ctx, cancel := context.WithTimeout(context.Background(), r.options.Grace)
	defer cancel()
	instance.Stop(ctx)
}

// started marks an instance ready, unless it was told to stop meanwhile.
func (f *function) started(s *slot, instance Instance) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.instance = instance
	o, ok := s.revision.pool.started(s, time.Now())
	if !ok {
		return false
	}
	f.say(s, "started in "+round(time.Since(s.began)))
	f.carry(s.revision, o)
	f.promote(s.revision)
	f.roll()
	f.plan()
	return true
}

func (f *function) failed(s *slot, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := s.revision
	if s.phase == stopping { // the start was canceled
		f.carry(v, v.pool.stopped(s, time.Now()))
		return
	}
	f.count.Crashes++
	if v == f.now && len(f.before) > 0 {
		f.before[0].pool.adopt(v.pool)
	}
	f.carry(v, v.pool.failed(s, err, time.Now()))
	f.say(s, "did not start: "+err.Error()+v.pool.resting(time.Now()))
	for _, old := range f.before {
		f.settle(old)
	}
	f.plan()
}

// bury removes a slot from its pool after its instance ended by itself, when a call or
// the watcher first notices.
func (f *function) bury(s *slot) {
	v := s.revision
	switch s.phase {
	case gone:
		return
	case stopping:
		f.carry(v, v.pool.stopped(s, time.Now()))
		return
	}
	err := s.instance.Err()
	if err == nil {
		err = errEnded
	}
	f.count.Crashes++
	text := "crashed: " + err.Error()
	if mayfly.CodeOf(err) != mayfly.Crashed { // calls get it while the pool rests
		err = mayfly.Errorf(mayfly.Crashed, "%s crashed: %w", v.value, err)
	}
	f.carry(v, v.pool.died(s, err, time.Now()))
	f.say(s, text+v.pool.resting(time.Now()))
	f.roll()
	f.plan()
}

func (f *function) stopped(s *slot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.phase == gone {
		return
	}
	f.say(s, "stopped")
	f.carry(s.revision, s.revision.pool.stopped(s, time.Now()))
}

// say writes a line about an instance, unless its starts and stops are not logged.
func (f *function) say(s *slot, text string) {
	v := s.revision
	key := [...]string{mayfly.KindFunction: telemetry.KeyFunction, mayfly.KindService: telemetry.KeyService}[f.kind]
	f.runner.options.Log.Debug("instance changed", key, v.value.String(), telemetry.KeyInstance, s.id, "state", text)
	if f.runner.options.Engines[v.value.Engine].Traits().PerCall {
		return
	}
	f.runner.options.Output(mayfly.Line{
		Time: time.Now(), Function: string(f.name), Revision: v.value.Revision,
		Instance: s.id, Source: mayfly.System, Text: text,
	})
}

func round(d time.Duration) string {
	if d > time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// resting returns what is said of the rest after a crash.
func (p *pool) resting(now time.Time) string {
	if left := p.rested.Sub(now); left > 0 {
		return fmt.Sprintf("; rests %s", round(left))
	}
	return ""
}
