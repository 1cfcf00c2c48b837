package process

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
)

const (
	watchEvery   = 100 * time.Millisecond // how often memory is looked at and strays are looked for
	surveyAge    = 20 * time.Millisecond  // how old the picture of all processes may be that Memory and CPU read
	killPatience = 5 * time.Second        // a process that SIGKILL did not end by then hangs in the kernel
)

// Options say how a Keeper keeps its promise. The zero value works, but for
// children of a node that is killed with SIGKILL: on Linux only the processes that
// it started itself die with it then, elsewhere none.
type Options struct {
	// Reaper is the command line of a program that calls Reap with its stdin. It is
	// started once, with an empty environment and in a session of its own.
	Reaper []string

	Log *slog.Logger // discards if nil
}

// A Keeper starts processes and sees to it that none of them, nor what they
// started, outlives it.
type Keeper struct {
	log    *slog.Logger
	reaper *reaper // nil if there is none
	tree   *tree   // of cgroups; nil if memory is watched instead

	forks   chan func()   // run by the one thread that starts processes
	wake    chan struct{} // there is something for watch to look at
	closing chan struct{}
	work    sync.WaitGroup // fork, watch
	starts  sync.WaitGroup // calls of Start

	sweeps sync.Mutex // one at a time; taken before mu

	mu       sync.Mutex
	closed   bool
	live     map[*Process]struct{}
	marks    map[string]int // how many live processes carry each mark
	strays   []string       // marks of processes that ended by themselves, not yet looked for
	sweeping []string       // those that are looked for now: no process may begin to carry one
	swept    *sync.Cond     // sweeping became empty

	surveyMu sync.Mutex
	surveyed time.Time
	picture  []member
}

// Open returns a Keeper that is ready to start processes.
func Open(_ context.Context, o Options) (*Keeper, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{
		log:     o.Log,
		forks:   make(chan func()),
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		live:    map[*Process]struct{}{},
		marks:   map[string]int{},
	}
	k.swept = sync.NewCond(&k.mu)
	// Before the reaper starts: a cgroup must be ours alone to be divided.
	k.tree = openTree(o.Log)
	if len(o.Reaper) > 0 && supported() == nil {
		r, err := openReaper(o.Reaper, o.Log)
		if err != nil {
			k.tree.close()
			return nil, err
		}
		k.reaper = r
	}
	k.work.Go(k.fork)
	k.work.Go(k.watch)
	return k, nil
}

// Limiter says how memory limits are enforced: "cgroup" by the kernel, "rss" by
// looking ten times a second, "none" not at all.
func (k *Keeper) Limiter() string {
	switch {
	case k.tree != nil:
		return "cgroup"
	case canSurvey:
		return "rss"
	default:
		return "none"
	}
}

// Close kills what is left and waits until it is gone.
func (k *Keeper) Close() error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return nil
	}
	k.closed = true
	k.mu.Unlock()
	k.starts.Wait()

	var kills sync.WaitGroup
	for _, p := range k.all() {
		kills.Go(func() {
			p.Kill()
			<-p.Done()
		})
	}
	kills.Wait()
	close(k.closing)
	close(k.forks)
	k.work.Wait()
	k.sweep()
	k.reaper.close()
	k.tree.close()
	return nil
}

// all returns the processes that live now.
func (k *Keeper) all() []*Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	live := make([]*Process, 0, len(k.live))
	for p := range k.live {
		live = append(live, p)
	}
	return live
}

// admit enters a process before it is started, with the reaper too: it may be gone
// again, or the node may, before anything else is known of it.
func (k *Keeper) admit(p *Process) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p.mark != "" && slices.Contains(k.sweeping, p.mark) {
		k.swept.Wait()
	}
	if k.closed {
		return mayfly.Errorf(mayfly.Unavailable, "cannot start a process: the node is shutting down")
	}
	k.starts.Add(1)
	k.live[p] = struct{}{}
	if p.mark != "" {
		if k.marks[p.mark]++; k.marks[p.mark] == 1 {
			k.reaper.hold(p.mark)
		}
		// What a new process carries is not a stray's.
		k.strays = slices.DeleteFunc(k.strays, func(mark string) bool { return mark == p.mark })
	}
	return nil
}

// dismiss forgets a process that is gone. If it ended by itself, what it may have
// started in sessions of their own is looked for a little later: for many at once,
// since looking costs as much as starting a process.
func (k *Keeper) dismiss(p *Process, swept bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.live, p)
	if p.mark == "" {
		return
	}
	if k.marks[p.mark]--; k.marks[p.mark] > 0 {
		return
	}
	delete(k.marks, p.mark)
	if swept || !canSurvey || k.tree != nil {
		k.reaper.release(p.mark)
		return
	}
	k.strays = append(k.strays, p.mark)
	k.nudge()
}

// alone reports whether p is the only live process with its mark, so that whoever
// carries the mark is p's.
func (k *Keeper) alone(p *Process) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return p.mark != "" && k.marks[p.mark] == 1
}

// fork runs what starts processes, all on one thread that lives as long as the
// Keeper: the kernel sends PDEATHSIG when the starting thread ends, not the
// process, and the runtime may end any other thread whenever it likes.
func (k *Keeper) fork() {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	for start := range k.forks {
		start()
	}
}

func (k *Keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// watch kills the groups that use more memory than they may, and strays. It sleeps
// while there are neither.
func (k *Keeper) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if !k.busy() {
			select {
			case <-k.wake:
			case <-k.closing:
				return
			}
		}
		select {
		case <-tick.C:
		case <-k.closing:
			return
		}
		k.sweep()
		k.weigh()
	}
}

// busy reports whether there is anything for watch to do.
func (k *Keeper) busy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.strays) > 0 {
		return true
	}
	for p := range k.live {
		if k.weighs(p) {
			return true
		}
	}
	return false
}

// weighs reports whether the memory of p is for us to watch.
func (k *Keeper) weighs(p *Process) bool { return p.memory > 0 && k.tree == nil && canSurvey }

// sweep kills the strays: what carries the mark of a process that has ended.
func (k *Keeper) sweep() {
	k.sweeps.Lock()
	defer k.sweeps.Unlock()
	k.mu.Lock()
	marks := k.strays
	k.sweeping, k.strays = marks, nil
	k.mu.Unlock()
	if len(marks) == 0 {
		return
	}
	if left := end(family{marks: marks}); left > 0 {
		k.log.Warn("processes did not exit", "count", left)
	}
	for _, mark := range marks {
		k.reaper.release(mark)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sweeping = nil
	k.swept.Broadcast()
}

// weigh kills the groups that are over their limit.
func (k *Keeper) weigh() {
	limited := slices.DeleteFunc(k.all(), func(p *Process) bool { return !k.weighs(p) || p.PID() == 0 })
	if len(limited) == 0 {
		return
	}
	all := k.survey(0)
	for _, p := range limited {
		// Resident pages that members share count once for each of them, so the
		// dearer, exact sum decides.
		if rss, _ := usage(all, p.PID()); rss > p.memory && share(all, p.PID()) > p.memory {
			p.outOfMemory()
		}
	}
}

// survey returns the processes of this machine as they were at most age ago.
func (k *Keeper) survey(age time.Duration) []member {
	k.surveyMu.Lock()
	defer k.surveyMu.Unlock()
	if age == 0 || time.Since(k.surveyed) > age {
		k.picture, k.surveyed = survey(), time.Now()
	}
	return k.picture
}
