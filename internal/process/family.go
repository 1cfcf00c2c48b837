package process

import (
	"os"
	"slices"
	"time"
)

// A member is a process of this machine, as /proc shows it.
type member struct {
	pid, parent, group int
	zombie             bool
	started            uint64 // ticks since boot: tells it from a later process with the same pid
	resident           int64  // bytes
	cpu                time.Duration
}

// A family is a set of related processes: the members of some process groups, those
// with one of some marks in their environment, and the descendants of both.
type family struct {
	groups []int
	marks  []string
}

// find returns the live members of the family among all, but never this process.
func (k family) find(all []member) []member {
	self := os.Getpid()
	in := map[int]bool{}
	for _, m := range all {
		if slices.Contains(k.groups, m.group) || carries(m.pid, k.marks) {
			in[m.pid] = true
		}
	}
	delete(in, self)
	// Children belong to the family whatever their session and environment.
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

// end kills the family until it is gone, and returns how many remain after
// killPatience.
func end(k family) int {
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
		time.Sleep(rest) // they are not our children, so we cannot wait on them
	}
}

// kill sends SIGKILL to the process, never to one that has reused its pid: it checks
// after a handle pins the process.
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

// usage returns the memory and CPU time of a group.
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
