package process

import (
	"os"
	"slices"
	"time"
)

// A member is one process of this machine, as /proc shows it.
type member struct {
	pid, parent, group int
	zombie             bool
	started            uint64 // since boot, in ticks: tells it from a later one of the same number
	resident           int64  // bytes
	cpu                time.Duration
}

// kin are the processes that belong together: all of some groups, all that carry
// one of some marks in their environment, and the children of these.
type kin struct {
	groups []int
	marks  []string
}

// find returns who of all is kin and alive, but never ourselves.
func (k kin) find(all []member) []member {
	self := os.Getpid()
	in := map[int]bool{}
	for _, m := range all {
		if slices.Contains(k.groups, m.group) || carries(m.pid, k.marks) {
			in[m.pid] = true
		}
	}
	delete(in, self)
	// Children of kin are kin, in whatever session and with whatever environment.
	for grown := len(in) > 0; grown; {
		grown = false
		for _, m := range all {
			if !in[m.pid] && in[m.parent] && m.pid != self {
				in[m.pid] = true
				grown = true
			}
		}
	}
	var found []member
	for _, m := range all {
		if in[m.pid] && !m.zombie {
			found = append(found, m)
		}
	}
	return found
}

// end kills kin until there are none, and returns how many there still are when
// patience is over.
func end(k kin) int {
	if !canSurvey {
		for _, pgid := range k.groups {
			_ = killGroup(pgid, sigkill)
		}
		return 0
	}
	deadline := time.Now().Add(killPatience)
	for rest := time.Millisecond; ; rest = min(2*rest, 50*time.Millisecond) {
		found := k.find(survey())
		if len(found) == 0 || time.Now().After(deadline) {
			return len(found)
		}
		for _, m := range found {
			m.kill()
		}
		time.Sleep(rest) // they are not our children, so there is nothing to wait on
	}
}

// kill sends SIGKILL to the process, and never to another that got its number
// since: what is looked at again stands behind a handle by then.
func (m member) kill() {
	p, err := os.FindProcess(m.pid)
	if err != nil {
		return
	}
	defer func() { _ = p.Release() }()
	if now, ok := look(m.pid); ok && now.started == m.started {
		_ = p.Kill() // or it is gone
	}
}

// usage returns what a group takes of the machine.
func usage(all []member, group int) (resident int64, cpu time.Duration) {
	for _, m := range all {
		if m.group == group {
			resident += m.resident
			cpu += m.cpu
		}
	}
	return resident, cpu
}

// share returns the bytes of a group with each shared page counted once.
func share(all []member, group int) int64 {
	var sum int64
	for _, m := range all {
		if m.group == group && !m.zombie {
			sum += proportional(m)
		}
	}
	return sum
}
