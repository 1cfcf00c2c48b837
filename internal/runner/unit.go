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
	mostPrepared = 4           // revisions of one unit
	fetchTimeout = time.Minute // of a bundle
	startHold    = 2 * time.Second
)

var (
	errFull  = errors.New("full")
	errEnded = errors.New("it ended by itself")
)

// A unit is what the runner knows of a function or a service: the current revision, its
// fallbacks, and those that are prepared or leaving.
type unit struct {
	runner *Runner
	kind   mayfly.Kind
	name   mayfly.Name

	mu      sync.Mutex
	now     *revision   // that new calls go to; nil if there is none yet
	before  []*revision // fallbacks of now, newest first: a function has one, until now has started once
	ready   []*revision // prepared, or about to be, for a later Set
	leaving []*revision // with calls in flight
	ended   error       // for calls: removed, or the node is stopping
	timer   *time.Timer // of tick; nil if never needed
	due     time.Time   // when it fires; zero if it is stopped
	count   Stats       // Instances and Failing are not kept
	trial   *trial      // under way; nil if none is

	deadlines deadlines     // of the calls in flight and waiting
	starting  chan struct{} // one entry for each of ready that has not started yet
}

// A revision is one value that was Set or is prepared, and its instances.
type revision struct {
	value   mayfly.Unit   // as Set or Scale gave it
	limits  mayfly.Limits // with defaults
	folder  Folder
	asking  chan struct{} // holds one value while folder is asked
	pool    *pool
	taken   int       // of a service: places taken from earlier revisions
	expires time.Time // if it is prepared; zero while it starts
}

// A life is what a slot stands for.
type life struct {
	id       string
	revision *revision
	began    time.Time // of the start
	instance Instance  // nil until it is ready
	stop     context.CancelFunc
	trial    bool            // the slot is of a trial
	after    <-chan struct{} // closed when the trial that gave way has ended; nil if none did
}

func (u *unit) newRevision(value mayfly.Unit, folder Folder) *revision {
	limits := value.WithDefaults()
	if u.runner.options.Engines[value.Engine].Traits().OneCall {
		limits.Concurrency = 1
	}
	v := &revision{value: value, limits: limits, folder: folder, asking: make(chan struct{}, 1), pool: newPool(limits)}
	if value.Kind == mayfly.KindService {
		v.pool.forgiven = 0 // no call waits for it
	}
	return v
}

func (u *unit) set(value mayfly.Unit, folder Folder) {
	u.mu.Lock()
	defer u.mu.Unlock()
	v := u.claim(value)
	if v == nil && u.now != nil && sameCode(u.now.value, value) {
		u.now.value = value
		u.resize()
		return
	}
	if v == nil {
		v = u.newRevision(value, folder)
	}
	before := u.now
	u.now = v
	u.trial.giveWay() // it is of the one before
	if before != nil {
		v.pool.adopt(before.pool)
		if before.pool.proven || len(u.before) == 0 && before.pool.crashes == 0 {
			u.before = slices.Insert(u.before, 0, before)
		} else {
			u.retire(before) // it never started; its fallback stays
		}
	}
	u.roll()
	u.settle(v)
	u.promote(v)
}

// claim takes the revision prepared for a value, or returns nil.
func (u *unit) claim(value mayfly.Unit) *revision {
	i := slices.IndexFunc(u.ready, func(v *revision) bool { return reflect.DeepEqual(v.value, value) && v.pool.proven })
	if i < 0 {
		return nil
	}
	v := u.ready[i]
	u.ready = slices.Delete(u.ready, i, i+1)
	v.pool.instances = v.limits.Instances
	return v
}

// promote retires the fallback of the current revision, if v is current and has started.
// A service's revision rolls out one by one instead.
func (u *unit) promote(v *revision) {
	if v != u.now || len(u.before) == 0 || !v.pool.proven || u.kind == mayfly.KindService {
		return
	}
	for _, old := range u.before {
		v.pool.adopt(old.pool)
		u.retire(old)
	}
	u.before = nil
	u.settle(v)
}

// roll advances a service's rollout. A ready instance of the current revision takes a
// place for good; one at a time may try. Until then older revisions keep the other
// places, and the oldest of them restarts crashed instances.
func (u *unit) roll() {
	if u.kind != mayfly.KindService || u.now == nil {
		return
	}
	most, here := u.now.limits.Instances.Min, u.now.pool.count(ready)
	u.now.taken = min(most, max(u.now.taken, here))
	left := most - u.now.taken
	before := u.before
	u.before = nil
	for i, v := range before {
		keep := left
		if i < len(before)-1 {
			keep = min(left, v.pool.count(ready))
		}
		if left -= keep; keep == 0 {
			u.retire(v)
			continue
		}
		u.before = append(u.before, v)
		v.pool.instances = mayfly.Exactly(keep)
		u.settle(v)
	}
	if len(u.before) > 0 {
		most = min(most, here+1)
	}
	u.now.pool.instances = mayfly.Exactly(most)
	u.settle(u.now)
}

// retire stops a revision's instances as their calls end.
func (u *unit) retire(v *revision) {
	v.pool.leaving = true
	u.leaving = append(u.leaving, v)
	u.settle(v)
}

// resize applies the instances of the current value.
func (u *unit) resize() {
	n := u.now.value.WithDefaults().Instances
	u.now.limits.Instances = n
	if u.kind == mayfly.KindService {
		u.roll()
		return
	}
	for _, v := range u.serving() {
		v.limits.Instances, v.pool.instances = n, n
		u.settle(v)
	}
}

func (u *unit) scale(n mayfly.Instances) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now == nil {
		return // it ended meanwhile
	}
	u.now.value.Instances = n
	u.resize()
}

// renew has the instances of all revisions that take calls, or may, replaced.
func (u *unit) renew() (n int, all []*renewal) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for _, v := range slices.Concat(u.serving(), u.ready) {
		r, o := v.pool.renew(now)
		n += v.pool.stale()
		all = append(all, r)
		u.carry(v, o)
	}
	u.plan()
	return n, all
}

// get returns the current revision, if there is one.
func (u *unit) get() (mayfly.Unit, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now == nil {
		return mayfly.Unit{}, false
	}
	return u.now.value, true
}

func (u *unit) empty() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.now == nil && len(u.ready) == 0 && len(u.leaving) == 0
}

// end stops taking calls: they get err.
func (u *unit) end(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = err
	u.trial.giveWay()
	for _, v := range slices.Concat(u.ready, u.serving()) {
		v.pool.refuse(err)
		u.retire(v)
	}
	u.now, u.before, u.ready = nil, nil, nil
	if u.timer != nil {
		u.timer.Stop()
		u.due = time.Time{}
	}
}

// prepare starts an instance of a revision that may become current. Like a call, it uses
// a ticket. It returns nil while as many others start as may be prepared: none of them is
// given up for it, only one that has started already.
func (u *unit) prepare(value mayfly.Unit, folder Folder) (*revision, *ticket) {
	select {
	case u.starting <- struct{}{}:
	default:
		return nil, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	v := u.newRevision(value, folder)
	v.pool.instances.Min = 0 // until it is current, one is enough
	if len(u.ready) == mostPrepared {
		u.discard(u.ready[slices.IndexFunc(u.ready, (*revision).prepared)])
	}
	u.ready = append(u.ready, v)
	t, o, _ := v.pool.join(time.Now()) // a new pool has room for one
	u.carry(v, o)
	return v, t
}

func (v *revision) prepared() bool { return !v.expires.IsZero() }

// awaitTurn returns when another start has ended. A timeout here says nothing about the
// value, so the error has code Conflict.
func (u *unit) awaitTurn(ctx context.Context, value mayfly.Unit) error {
	select {
	case u.starting <- struct{}{}:
		<-u.starting
		return nil
	case <-ctx.Done():
		return mayfly.Errorf(mayfly.Conflict, "%s waited for %d other revisions to start: %w", value, mostPrepared, context.Cause(ctx)).WithHint("deploy again")
	}
}

// prepared waits for the instance.
func (u *unit) prepared(ctx context.Context, v *revision, t *ticket) error {
	defer func() { <-u.starting }()
	select {
	case <-t.done:
	case <-ctx.Done():
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case t.slot != nil:
		v.expires = time.Now().Add(keepPrepared)
		u.carry(v, v.pool.leave(t.slot, time.Now()))
		u.plan()
		return nil
	case t.err == nil:
		t.pool.quit(t)
		t.err = mayfly.Errorf(mayfly.Timeout, "prepare %s: %w", v.value, context.Cause(ctx))
	}
	u.discard(v)
	return t.err
}

// discard drops a prepared, unclaimed revision.
func (u *unit) discard(v *revision) {
	i := slices.Index(u.ready, v)
	if i < 0 {
		return
	}
	u.ready = slices.Delete(u.ready, i, i+1)
	v.pool.refuse(mayfly.Errorf(mayfly.Conflict, "newer revisions than %s are prepared", v.value).WithHint("deploy again"))
	u.retire(v)
}

// tick does what is due.
func (u *unit) tick() {
	u.mu.Lock()
	u.due = time.Time{}
	now := time.Now()
	for _, v := range slices.Clone(u.ready) {
		if v.prepared() && !now.Before(v.expires) {
			u.discard(v)
		}
	}
	for _, v := range u.serving() {
		u.settle(v)
	}
	u.plan()
	u.mu.Unlock()
	u.runner.forget(u)
}

// settle updates a revision after a change.
func (u *unit) settle(v *revision) {
	u.carry(v, v.pool.settle(time.Now()))
	u.plan()
}

// plan sets the timer to the next tick. Calls usually change nothing: a tick that is too
// early plans a later one.
func (u *unit) plan() {
	now := time.Now()
	var due time.Time
	sooner := func(at time.Time) {
		if !at.IsZero() && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	for _, v := range u.serving() {
		sooner(v.pool.due(now))
	}
	for _, v := range u.ready {
		sooner(v.expires)
	}
	if !due.IsZero() && (u.due.IsZero() || due.Before(u.due)) {
		u.due = due
		if u.timer == nil {
			u.timer = time.AfterFunc(due.Sub(now), u.tick)
		} else {
			u.timer.Reset(due.Sub(now))
		}
	}
}

// carry executes a pool's orders.
func (u *unit) carry(v *revision, o orders) {
	for _, s := range o.start {
		ctx, stop := context.WithCancel(context.Background())
		s.life = life{id: newID(), revision: v, began: time.Now(), stop: stop, after: u.trial.giveWay()}
		u.count.Starts++
		u.runner.lives[u.kind].Go(func() { u.live(ctx, s) })
	}
	for _, s := range o.stop {
		s.stop()
	}
	if len(v.pool.slots) == 0 {
		if i := slices.Index(u.leaving, v); i >= 0 {
			u.leaving = slices.Delete(u.leaving, i, i+1)
		}
	}
}

// newID returns an instance's id: a token of a subject, short enough to read out.
func newID() string { return strings.ToLower(rand.Text()[:8]) }

// live is the life of an instance: it starts, works until it dies or ctx ends, and
// stops.
func (u *unit) live(ctx context.Context, s *slot) {
	defer u.runner.forget(u)
	defer u.runner.options.Ended(string(u.name), s.id)
	defer s.stop()
	instance, err := u.start(ctx, s)
	if err != nil {
		u.failed(s, err)
		return
	}
	if u.started(s, instance) {
		forced := u.runner.forced
		if u.kind == mayfly.KindService {
			forced = nil // functions may need it until they have ended
		}
		select {
		case <-instance.Done():
			u.mu.Lock()
			u.bury(s)
			u.mu.Unlock()
			return
		case <-ctx.Done():
		case <-forced:
		}
	}
	u.runner.stop(instance)
	u.stopped(s)
}

// start makes an instance. Its time limit begins when the bundle, the environment and a
// place are there: none is the program's to wait for.
func (u *unit) start(ctx context.Context, s *slot) (instance Instance, err error) {
	v, o := s.revision, u.runner.options
	defer func() {
		if p := recover(); p != nil {
			o.Log.Error("engine panicked", telemetry.KeyFunction, u.name, telemetry.KeyErr, p, "stack", string(debug.Stack()))
			instance, err = nil, mayfly.Errorf(mayfly.Internal, "start %s: the engine %s panicked", u.name, v.value.Engine)
		}
	}()
	if s.after != nil {
		<-s.after
	}
	folder, err := v.fetch(ctx)
	if err != nil {
		return nil, err
	}
	env, err := o.Env(ctx, v.value.Program, string(u.name), v.value.Revision, s.id)
	if err != nil {
		return nil, err
	}
	if !s.trial {
		leave, err := u.runner.place(ctx)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(v.limits.Instances.Start))
	defer cancel()
	return o.Engines[v.value.Engine].Start(ctx, Spec{
		Name: string(u.name), Revision: v.value.Revision, Program: v.value.Program, Limits: v.limits,
		Folder: folder, Instance: s.id, Trial: s.trial, Env: env, Output: o.Output,
	})
}

// place waits until few enough instances are starting. A start holds its place for startHold
// at most: one that takes longer waits for something, and must not keep the others waiting.
func (r *Runner) place(ctx context.Context) (leave func(), err error) {
	select {
	case r.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	free := sync.OnceFunc(func() { <-r.places })
	timer := time.AfterFunc(startHold, free)
	return func() { timer.Stop(); free() }, nil
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
func (u *unit) started(s *slot, instance Instance) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	s.instance = instance
	o, ok := s.revision.pool.started(s, time.Now())
	if !ok {
		return false
	}
	u.say(s, "started in "+round(time.Since(s.began)))
	u.carry(s.revision, o)
	u.promote(s.revision)
	u.roll()
	u.plan()
	return true
}

func (u *unit) failed(s *slot, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	v := s.revision
	if s.phase == stopping { // the start was canceled
		u.carry(v, v.pool.stopped(s, time.Now()))
		return
	}
	u.count.Crashes++
	if v == u.now && len(u.before) > 0 {
		u.before[0].pool.adopt(v.pool)
	}
	u.carry(v, v.pool.failed(s, err, time.Now()))
	u.say(s, "did not start: "+err.Error()+v.pool.resting(time.Now()))
	for _, old := range u.before {
		u.settle(old)
	}
	u.plan()
}

// bury removes a slot from its pool after its instance ended by itself, when a call or
// the watcher first notices.
func (u *unit) bury(s *slot) {
	v := s.revision
	switch s.phase {
	case gone:
		return
	case stopping:
		u.carry(v, v.pool.stopped(s, time.Now()))
		return
	}
	err := s.instance.Err()
	if err == nil {
		err = errEnded
	}
	u.count.Crashes++
	text := "crashed: " + err.Error()
	if mayfly.CodeOf(err) != mayfly.Crashed { // calls get it while the pool rests
		err = mayfly.Errorf(mayfly.Crashed, "%s crashed: %w", v.value, err)
	}
	u.carry(v, v.pool.died(s, err, time.Now()))
	u.say(s, text+v.pool.resting(time.Now()))
	u.roll()
	u.plan()
}

func (u *unit) stopped(s *slot) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.phase == gone {
		return
	}
	u.say(s, "stopped")
	u.carry(s.revision, s.revision.pool.stopped(s, time.Now()))
}

// say writes a line about an instance, unless its starts and stops are not logged.
func (u *unit) say(s *slot, text string) {
	v := s.revision
	key := [...]string{mayfly.KindFunction: telemetry.KeyFunction, mayfly.KindService: telemetry.KeyService}[u.kind]
	u.runner.options.Log.Debug("instance changed", key, v.value.String(), telemetry.KeyInstance, s.id, "state", text)
	if u.runner.options.Engines[v.value.Engine].Traits().PerCall {
		return
	}
	u.runner.options.Output(mayfly.Line{
		Time: time.Now(), Function: string(u.name), Revision: v.value.Revision,
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
		return fmt.Sprintf("; next start in %s", round(left))
	}
	return ""
}
