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
	watchEvery   = 100 * time.Millisecond // between checks of memory and leftovers
	surveyAge    = 20 * time.Millisecond  // the oldest process survey that Memory and CPU use
	killPatience = 5 * time.Second        // a process that survives SIGKILL for so long hangs in the kernel
)

// Options configure a Keeper. The zero value works, but if the node is killed with
// SIGKILL, only the processes that it started itself die with it on Linux, and none
// elsewhere.
type Options struct {
	// Reaper is the command line of a program that calls Reap with its stdin. It is
	// started once, with an empty environment and in a new session.
	Reaper []string

	Log *slog.Logger // discards if nil
}

// A Keeper starts processes and makes sure that none of them or their descendants
// outlives it.
type Keeper struct {
	log    *slog.Logger
	reaper *reaper // nil if there is none
	tree   *tree   // of cgroups; nil if memory is watched instead

	forks   chan func()   // run by the only thread that starts processes
	wake    chan struct{} // wakes watch
	closing chan struct{}
	work    sync.WaitGroup // fork, watch
	starts  sync.WaitGroup // calls of Start

	sweeps sync.Mutex // one at a time; taken before mu

	mu        sync.Mutex
	closed    bool
	live      map[*Process]struct{}
	marks     map[string]int // number of live processes with each mark
	leftovers []string       // marks of processes that exited by themselves, not yet looked for
	sweeping  []string       // those being looked for now: no new process may carry one
	swept     *sync.Cond     // signals that sweeping is empty

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
	// Before the reaper starts: only a cgroup without other processes can be divided.
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
// polling ten times a second, "none" not at all.
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

// all returns the live processes.
func (k *Keeper) all() []*Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	live := make([]*Process, 0, len(k.live))
	for p := range k.live {
		live = append(live, p)
	}
	return live
}

// admit registers a process before it starts, also with the reaper: the process or
// the node may be gone before anything else is known of it.
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
		// A mark that a new process carries is not a leftover's.
		k.leftovers = slices.DeleteFunc(k.leftovers, func(mark string) bool { return mark == p.mark })
	}
	return nil
}

// dismiss forgets a process that is gone. If it exited by itself, its descendants in
// other sessions are looked for a little later, together with those of others: a
// survey costs as much as starting a process.
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
	k.leftovers = append(k.leftovers, p.mark)
	k.nudge()
}

// alone reports whether p is the only live process with its mark, so that every
// carrier of the mark is p's.
func (k *Keeper) alone(p *Process) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return p.mark != "" && k.marks[p.mark] == 1
}

// fork runs everything that starts processes on one thread that lives as long as the
// Keeper: the kernel sends PDEATHSIG when the starting thread ends, not the process,
// and the runtime may end any other thread at any time.
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

// watch kills leftovers and groups that exceed their memory limit. It sleeps while there
// is nothing to watch.
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

// busy reports whether watch has anything to do.
func (k *Keeper) busy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.leftovers) > 0 {
		return true
	}
	for p := range k.live {
		if k.weighs(p) {
			return true
		}
	}
	return false
}

// weighs reports whether watch must check p's memory.
func (k *Keeper) weighs(p *Process) bool { return p.memory > 0 && k.tree == nil && canSurvey }

// sweep kills the leftovers: carriers of a mark whose process has exited.
func (k *Keeper) sweep() {
	k.sweeps.Lock()
	defer k.sweeps.Unlock()
	k.mu.Lock()
	marks := k.leftovers
	k.sweeping, k.leftovers = marks, nil
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

// weigh kills the groups over their limit.
func (k *Keeper) weigh() {
	limited := slices.DeleteFunc(k.all(), func(p *Process) bool { return !k.weighs(p) || p.PID() == 0 })
	if len(limited) == 0 {
		return
	}
	all := k.survey(0)
	for _, p := range limited {
		// RSS counts a page once for each member that shares it, so the slower, exact sum
		// decides.
		if rss, _ := usage(all, p.PID()); rss > p.memory && share(all, p.PID()) > p.memory {
			p.exceed(Memory)
		}
	}
}

// survey returns this machine's processes from a snapshot at most age old.
func (k *Keeper) survey(age time.Duration) []member {
	k.surveyMu.Lock()
	defer k.surveyMu.Unlock()
	if age == 0 || time.Since(k.surveyed) > age {
		k.picture, k.surveyed = survey(), time.Now()
	}
	return k.picture
}
