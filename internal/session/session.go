package session

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/project"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/telemetry"
	"github.com/mayfly-run/mayfly/internal/watch"
)

// A Runner keeps what a session builds running. In a node it is the runner.Runner.
type Runner interface {
	// Expect announces a build. If a call waits for it, wanted is called.
	Expect(u mayfly.Unit, wanted func())
	Fail(name mayfly.Name, err error)
	Prepare(ctx context.Context, u mayfly.Unit, folder runner.Folder) error
	Set(u mayfly.Unit, folder runner.Folder) error
	// Check is Prepare after Set, for what nobody has called since, and keeps nothing.
	Check(ctx context.Context, name mayfly.Name) error
	Remove(name mayfly.Name)
}

// Options say what a Session serves and where.
type Options struct {
	Projects []*project.Project
	Open     func(file string) (*project.Project, error) // reads a manifest that changed

	Runner    Runner
	SetRoutes func([]mayfly.Route) // gets the routes of all projects when they change

	// SecretsSet returns the names of secrets that have been set; may be nil. What failed
	// without them is built again.
	SecretsSet func(context.Context) <-chan map[mayfly.Name]struct{}

	Folder      string      // for builds; emptied at the start
	Development bool        // rebuild what changes; source maps, traces
	Tell        func(Event) // gets the results of builds, one call at a time; may be nil
	Log         *slog.Logger
}

// An Event is the end of a build, or a long step of one.
type Event struct {
	Name string        // of the function or service
	Kind string        // "function" or "service"
	Step string        // what is being done; empty at the end
	Took time.Duration // from the change, or the start, until it serves
	Err  error         // why it does not serve; the last good one still does
	Code string        // the file or folder
}

// A Session serves projects during development.
type Session struct {
	options Options
	watcher *watch.Watcher // nil if not in development

	mu       sync.Mutex
	projects []*project.Project
	units    map[key]*unit

	lacking map[string]string // files that a changed manifest names and that do not exist, by the manifest

	many     bool          // there were more than mostTried at the start
	untried  []*unit       // set without a start, because there were many
	starting int           // units that are first; guarded by mu
	started  chan struct{} // closed when there are none

	telling sync.Mutex
	work    sync.WaitGroup

	builders, starters *line // for builds and first starts
	installs           project.Installs

	following bool          // somebody is setting the watcher's targets
	due       bool          // they have changed since
	unwatched []*unit       // built since they were
	followed  time.Time     // when the targets were last set
	pause     time.Duration // until they may be again
}

type key struct {
	kind mayfly.Kind
	name mayfly.Name
}

// A unit is a function or service in development.
type unit struct {
	key    key
	source project.Source
	wanted atomic.Bool // a call has waited for a build

	dirty   time.Time // time of the change not built yet; zero if none
	busy    bool      // a goroutine builds it, or follows what it has built
	running bool      // a build is
	gone    bool      // left the manifest
	first   bool      // was there at the start, and its first build has not ended
	failed  bool      // the last build did
	inputs  []string  // files that the last build read, sorted; after a failure also those of the one before
	sought  []string  // where the last build looked in vain, sorted
	began   time.Time // of the last build
	python  string    // interpreter that the last build found
	lacks   []string  // folders of installed packages, one of which the last start may have lacked
	found   []string  // files of sought whose appearance last caused a build
	builds  int       // so far, for the names of folders
	serving string    // folder of the build in force
}

// New returns a Session that has built nothing yet. Its file watcher is released when Run
// returns, so Run must be called.
func New(o Options) (*Session, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	if err := os.RemoveAll(o.Folder); err != nil {
		return nil, mayfly.Errorf(mayfly.Unavailable, "cannot remove old builds: %w", err)
	}
	s := &Session{
		options: o, projects: slices.Clone(o.Projects), units: map[key]*unit{}, lacking: map[string]string{},
		started:  make(chan struct{}),
		builders: newLine(max(2, runtime.GOMAXPROCS(0))), starters: newLine(4 * max(2, runtime.GOMAXPROCS(0))),
	}
	if o.Development {
		var err error
		if s.watcher, err = watch.New(); err != nil {
			return nil, err
		}
	}
	for _, p := range s.projects {
		for _, source := range p.Sources() {
			s.announce(*source.Unit) // the node may have callers before Run
		}
	}
	return s, nil
}

// announce adds a unit that is not built yet. The caller holds mu.
func (s *Session) announce(listed mayfly.Unit) *unit {
	u := &unit{key: key{listed.Kind, listed.Name}}
	s.units[u.key] = u
	s.expect(u, listed)
	return u
}

// Run builds everything, then whatever changes, until ctx ends.
func (s *Session) Run(ctx context.Context) error {
	defer s.abandon()
	defer s.work.Wait()
	s.mu.Lock()
	s.adopt(ctx, time.Now())
	if s.starting = len(s.units); s.starting == 0 {
		close(s.started)
	}
	for _, u := range s.units {
		u.first = true
	}
	s.many = s.starting > mostTried
	s.mu.Unlock()
	s.work.Go(func() { s.check(ctx) })
	if s.options.SecretsSet != nil {
		set := s.options.SecretsSet(ctx)
		s.work.Go(func() { s.followSecrets(ctx, set) })
	}
	if s.watcher == nil {
		<-ctx.Done()
		return nil
	}
	return s.watcher.Run(ctx, func(paths []string, err error) {
		s.unwatchable(err)
		s.changed(ctx, paths)
	})
}

// adopt makes the units match the projects, and has new ones and those with changed
// settings built. The caller holds mu.
func (s *Session) adopt(ctx context.Context, now time.Time) {
	var sources []project.Source
	listed := map[key]bool{}
	for _, p := range s.projects {
		for _, source := range p.Sources() {
			sources = append(sources, source)
			listed[key{source.Unit.Kind, source.Unit.Name}] = true
		}
	}
	for k, u := range s.units {
		if !listed[k] {
			u.gone = true
			s.ended(u)
			delete(s.units, k)
			s.options.Runner.Remove(k.name)
		}
	}
	var called, others []*unit
	for _, source := range sources { // by name
		k := key{source.Unit.Kind, source.Unit.Name}
		u := s.units[k]
		if u != nil && reflect.DeepEqual(u.source, source) {
			continue
		}
		if u == nil {
			u = s.announce(*source.Unit)
		}
		u.source = source
		if u.wanted.Load() { // before the session runs
			called = append(called, u)
		} else {
			others = append(others, u)
		}
	}
	for _, u := range slices.Concat(called, others) { // in this order they come to stand in line
		s.build(ctx, u, now)
	}
	if s.watcher != nil {
		s.watch(s.targets()) // before the builds read what is there: they wait for mu
	}
}

// build has a unit built, now or after its running build. The caller holds mu.
func (s *Session) build(ctx context.Context, u *unit, changed time.Time) {
	if u.dirty.IsZero() { // Event.Took counts from the first change
		u.dirty = changed
	}
	if u.busy {
		return
	}
	u.busy = true
	s.work.Go(func() {
		for s.next(ctx, u) {
		}
	})
}

// next builds a unit once, unless it is up to date.
func (s *Session) next(ctx context.Context, u *unit) bool {
	s.mu.Lock()
	changed, source := u.dirty, u.source
	u.dirty = time.Time{}
	if changed.IsZero() || u.gone || ctx.Err() != nil {
		u.busy = false
		s.mu.Unlock()
		return false
	}
	u.builds++
	u.began, u.running = time.Now(), true
	folder := filepath.Join(s.options.Folder, u.key.kind.String()+"-"+string(u.key.name), strconv.Itoa(u.builds))
	s.mu.Unlock()

	s.expect(u, *source.Unit)
	err := s.make(ctx, u, source, folder)
	if ctx.Err() != nil {
		return true
	}
	if s.settle(u, err) {
		s.tell(Event{Name: string(u.key.name), Kind: u.key.kind.String(), Took: time.Since(changed), Err: err, Code: source.Code})
	}
	s.mu.Lock()
	s.ended(u)
	s.mu.Unlock()
	s.follow(ctx)
	return true
}

// settle records how a build has ended. If its unit has left the manifest meanwhile, nothing
// of it stays and settle returns false.
func (s *Session) settle(u *unit, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.running = false
	name := u.key.name
	if u.gone {
		if s.units[key{mayfly.KindFunction, name}] == nil && s.units[key{mayfly.KindService, name}] == nil {
			s.options.Runner.Remove(name) // the build has announced and prepared it since
		}
		return false
	}
	if u.failed = err != nil; u.failed {
		s.options.Runner.Fail(name, err)
	}
	return true
}

// expect announces a build, for which callers wait. One that they wait for goes first.
func (s *Session) expect(u *unit, listed mayfly.Unit) {
	s.options.Runner.Expect(listed, func() {
		u.wanted.Store(true)
		s.builders.hurry(u)
		s.starters.hurry(u)
	})
}

// abandon ends the builds that the end of the session has prevented.
func (s *Session) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.units {
		s.options.Runner.Fail(k.name, mayfly.Errorf(mayfly.Unavailable, "mayfly up has ended"))
	}
}

// ended records that a unit's first build has ended, or never will. The caller holds mu.
func (s *Session) ended(u *unit) {
	if !u.first {
		return
	}
	u.first = false
	if s.starting--; s.starting == 0 {
		close(s.started)
	}
}

// Started is closed when every unit present at the start has been built, has failed to build
// or has left the manifest.
func (s *Session) Started() <-chan struct{} { return s.started }

// make builds a source into folder and puts it in force.
func (s *Session) make(ctx context.Context, u *unit, source project.Source, folder string) error {
	if err := s.builders.enter(ctx, u); err != nil {
		return err
	}
	placed := true
	idle := func(wait func()) {
		s.builders.leave()
		wait()
		placed = s.builders.enter(ctx, u) == nil
	}
	s.mu.Lock()
	python := u.python
	s.mu.Unlock()
	built, err := project.Build(ctx, source, project.BuildOptions{
		Folder: folder, Cache: filepath.Join(filepath.Dir(s.options.Folder), "cache"), Installs: &s.installs, Idle: idle,
		Development: s.options.Development, Python: python,
		Progress: func(step string) { s.tell(Event{Name: string(u.key.name), Kind: u.key.kind.String(), Step: step}) },
	})
	if placed {
		s.builders.leave()
	}
	s.mu.Lock()
	if err != nil { // it may not have come to the files that are to be changed
		built.Inputs = slices.Compact(slices.Sorted(slices.Values(slices.Concat(built.Inputs, u.inputs))))
	}
	if !slices.Equal(u.inputs, built.Inputs) || !slices.Equal(u.sought, built.Sought) {
		u.inputs, u.sought = built.Inputs, built.Sought
		s.missed(u)
	}
	if u.dirty.IsZero() { // else what names its version may have changed since
		u.python = cmp.Or(built.Python, u.python)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	here := func(context.Context) (string, error) { return built.Folder, nil }
	if err := s.try(ctx, u, built.Unit, here); err != nil {
		s.lack(u, project.PackageFolders(ctx, built.Python))
		return err
	}
	s.lack(u, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.gone {
		return nil
	}
	if err := s.options.Runner.Set(built.Unit, here); err != nil {
		return err
	}
	// The one in force until now may still have calls; the one before it has none.
	if old := u.serving; old != "" {
		s.discard(filepath.Dir(old), old, folder)
	}
	u.serving = folder
	return nil
}

// lack notes the folders in which the unit may find what its start lacked.
func (s *Session) lack(u *unit, folders []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(u.lacks, folders) {
		u.lacks = folders
		s.missed(u)
	}
}

// mostTried is how many units are started before they are set when the session begins. A
// thousand would keep the first calls waiting: those start with their calls, or at leisure.
const mostTried = 64

// try starts an instance of what was built, unless it is one of very many first builds
// that no call waits for.
func (s *Session) try(ctx context.Context, u *unit, built mayfly.Unit, here runner.Folder) error {
	s.mu.Lock()
	gone, later := u.gone, s.many && u.first && !u.wanted.Load()
	if later {
		s.untried = append(s.untried, u)
	}
	s.mu.Unlock()
	if gone || later {
		return nil
	}
	// A unit that starts slowly does not delay other builds.
	if err := s.starters.enter(ctx, u); err != nil {
		return err
	}
	defer s.starters.leave()
	return s.options.Runner.Prepare(ctx, built, here)
}

// check starts, after all first builds, what was not tried and has not been called, few at
// a time, to tell what does not start.
func (s *Session) check(ctx context.Context) {
	select {
	case <-s.started:
	case <-ctx.Done():
		return
	}
	var checks sync.WaitGroup
	defer checks.Wait()
	places := make(chan struct{}, 2*runtime.GOMAXPROCS(0)) // some wait for a disk or a timer
	for _, u := range s.untried {                          // complete: nothing is built for the first time anymore
		places <- struct{}{}
		if ctx.Err() != nil {
			return
		}
		checks.Go(func() {
			defer func() { <-places }()
			s.checkOne(ctx, u)
		})
	}
}

func (s *Session) checkOne(ctx context.Context, u *unit) {
	began := time.Now()
	s.mu.Lock()
	builds, changes := u.builds, u.changes()
	s.mu.Unlock()
	if changes {
		return
	}
	err := s.options.Runner.Check(ctx, u.key.name)
	if err == nil || ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	if u.builds != builds || u.changes() {
		s.mu.Unlock()
		return
	}
	u.failed = true
	code, python := u.source.Code, u.python
	s.mu.Unlock()
	s.tell(Event{Name: string(u.key.name), Kind: u.key.kind.String(), Took: time.Since(began), Err: err, Code: code})
	s.lack(u, project.PackageFolders(ctx, python))
	s.follow(ctx)
}

// changes reports whether the last good build of the unit is not the last word: it has failed
// since, is built again or has left the manifest. The caller holds mu.
func (u *unit) changes() bool {
	return u.gone || u.failed || u.running || !u.dirty.IsZero()
}

// discard removes all but two builds of a unit.
func (s *Session) discard(parent string, keep ...string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(parent, e.Name())
		if slices.Contains(keep, path) {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			s.options.Log.Debug("old build not removed", telemetry.KeyErr, err)
		}
	}
}

// tell passes an event on, one at a time.
func (s *Session) tell(e Event) {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.options.Tell(e)
}

// followShare is how many times longer the targets are left alone than setting them took:
// among 1,000 units that are being built, it stays a small part of the work.
const followShare = 10

// missed notes that the watcher does not know what a unit consists of. The caller holds mu.
func (s *Session) missed(u *unit) {
	if s.watcher != nil {
		s.due, s.unwatched = true, append(s.unwatched, u)
	}
}

// follow watches the files that the sources consist of now, at once or soon, if they have
// changed. What has changed before it was watched is built again.
func (s *Session) follow(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.following {
		return
	}
	s.following = true
	defer func() { s.following = false }()
	for s.due && ctx.Err() == nil {
		s.due = false
		s.mu.Unlock()
		wait(ctx, time.Until(s.followed.Add(s.pause)))
		s.mu.Lock()
		began := time.Now()
		built, targets := s.unwatched, s.targets()
		s.unwatched = nil
		s.mu.Unlock()
		s.watch(targets)
		s.mu.Lock()
		s.followed = time.Now()
		s.pause = followShare * s.followed.Sub(began)
		s.catchUp(ctx, built)
	}
}

// watch replaces the watcher's targets.
func (s *Session) watch(targets []watch.Target) {
	s.unwatchable(s.watcher.Set(targets))
}

// unwatchable logs why something is not watched, if err is not nil.
func (s *Session) unwatchable(err error) {
	if err != nil {
		s.options.Log.Warn("some changes will go unnoticed", telemetry.KeyErr, err)
	}
}

// catchUp builds what has changed before it was watched. The caller holds mu.
func (s *Session) catchUp(ctx context.Context, built []*unit) {
	for _, u := range built {
		if u.stale() {
			u.python = "" // what names its version may be what has changed
			s.build(ctx, u, time.Now())
		}
	}
	for _, path := range s.lacking {
		if _, err := os.Stat(path); err == nil {
			s.apply(ctx, []string{path})
			return // it has changed what is lacking
		}
	}
}

// wait waits for a while, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// targets returns what to watch. The caller holds mu.
func (s *Session) targets() []watch.Target {
	var targets []watch.Target
	for _, p := range s.projects {
		targets = append(targets, watch.Target{Files: s.filesOf(p)})
	}
	for _, u := range s.units {
		targets = append(targets, u.targets()...)
	}
	return targets
}

// targets are the paths whose changes affect the unit.
func (u *unit) targets() []watch.Target {
	targets := []watch.Target{{Files: u.inputs}, {Files: u.sought}}
	for _, folder := range u.lacks {
		targets = append(targets, watch.Target{Tree: folder, Flat: true})
	}
	for _, path := range u.source.Watch {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			targets = append(targets, watch.Target{Tree: path, Ignore: u.source.Ignores})
			continue
		}
		targets = append(targets, watch.Target{Files: []string{path}})
	}
	return targets
}

// stale reports whether the unit's files have changed since its last build began, which
// nobody may have seen: only now is it known which they are.
func (u *unit) stale() bool {
	now := time.Now()
	for _, file := range slices.Concat(u.inputs, u.lacks) { // a folder changes with what is in it
		if info, err := os.Stat(file); err == nil && info.ModTime().After(u.began) && !info.ModTime().After(now) {
			return true
		}
	}
	var found []string
	for _, file := range u.sought {
		if info, err := os.Lstat(file); err == nil && info.ModTime().After(u.began) {
			found = append(found, file)
		}
	}
	if slices.Equal(found, u.found) { // what did not help once does not help twice
		return false
	}
	u.found = found
	return len(found) > 0
}

// changed rebuilds what the paths belong to.
func (s *Session) changed(ctx context.Context, paths []string) {
	s.mu.Lock()
	s.apply(ctx, paths)
	s.mu.Unlock()
	s.follow(ctx)
}

// apply is changed. The caller holds mu, and follows.
func (s *Session) apply(ctx context.Context, paths []string) {
	now := time.Now()
	if s.reread(paths) {
		s.adopt(ctx, now)
		s.options.SetRoutes(project.Routes(s.projects))
	}
	for _, u := range s.units {
		if slices.ContainsFunc(paths, u.seeks) {
			u.python = ""
		}
		if slices.ContainsFunc(paths, u.has) {
			s.build(ctx, u, now)
		}
	}
}

// followSecrets builds what failed and uses a secret that has been set.
func (s *Session) followSecrets(ctx context.Context, set <-chan map[mayfly.Name]struct{}) {
	for names := range set {
		s.mu.Lock()
		for _, u := range s.units {
			for name := range names {
				if u.failed && u.source.Unit.Uses(name) {
					s.build(ctx, u, time.Now())
				}
			}
		}
		s.mu.Unlock()
	}
}

// seeks reports whether the last build looked for a path in vain.
func (u *unit) seeks(path string) bool {
	_, found := slices.BinarySearch(u.sought, path)
	return found
}

// has reports whether a path is part of the unit.
func (u *unit) has(path string) bool {
	if _, found := slices.BinarySearch(u.inputs, path); found || u.seeks(path) {
		return true
	}
	if slices.Contains(u.lacks, path) || slices.Contains(u.lacks, filepath.Dir(path)) {
		return true
	}
	for _, watched := range u.source.Watch {
		if path == watched {
			return true
		}
		rest, inside := strings.CutPrefix(path, watched+string(filepath.Separator))
		if inside && !u.source.Ignores(filepath.ToSlash(rest), false) {
			return true
		}
	}
	return false
}

// reread reopens the projects whose manifest is among the paths, or a file that it named
// in vain. It reports whether one has changed. The caller holds mu.
func (s *Session) reread(paths []string) (anew bool) {
	for i, p := range s.projects {
		if !slices.ContainsFunc(s.filesOf(p), func(file string) bool { return slices.Contains(paths, file) }) {
			continue
		}
		s.due = true
		next, err := s.options.Open(p.File)
		delete(s.lacking, p.File)
		if err != nil {
			if path := project.Missing(err); path != "" {
				s.lacking[p.File] = path
			}
			s.tell(Event{Name: string(p.Name), Kind: "project", Err: err, Code: p.File})
			continue
		}
		s.projects[i] = next
		anew = true
	}
	return anew
}

// filesOf returns the files that define a project, if it has a manifest, with one that it
// lacks. The caller holds mu.
func (s *Session) filesOf(p *project.Project) []string {
	if path := s.lacking[p.File]; path != "" {
		return append(slices.Clone(p.Files), path)
	}
	return p.Files
}
