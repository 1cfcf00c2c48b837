package process

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"time"
)

// canSurvey says whether this system lists its processes.
const canSurvey = true

// tick is the unit of CPU times in /proc: 1/USER_HZ, in practice always 1/100 s.
const tick = 10 * time.Millisecond

// survey returns all processes.
func survey() []member {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1) // a partial list is still useful
	all := make([]member, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if m, ok := look(pid); ok {
				all = append(all, m)
			}
		}
	}
	return all
}

// look returns one process, if it exists.
func look(pid int) (member, bool) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return member{}, false
	}
	return parseStat(data)
}

// parseStat parses /proc/<pid>/stat, see proc_pid_stat(5). The second field is the
// program's name in parentheses, and may itself contain spaces and parentheses.
func parseStat(data []byte) (m member, ok bool) {
	open, closed := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || closed < open {
		return m, false
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(data[:open])))
	fields := bytes.Fields(data[closed+1:])
	if err != nil || len(fields) < 22 {
		return m, false
	}
	number := func(field int) int64 { // numbered as in the man page
		n, numberErr := strconv.ParseInt(string(fields[field-3]), 10, 64)
		if numberErr != nil {
			err = numberErr
		}
		return n
	}
	m = member{
		pid:      pid,
		zombie:   fields[0][0] == 'Z' || fields[0][0] == 'X',
		parent:   int(number(4)),
		group:    int(number(5)),
		cpu:      time.Duration(number(14)+number(15)+number(16)+number(17)) * tick,
		started:  uint64(number(22)),
		resident: number(24) * int64(os.Getpagesize()),
	}
	return m, err == nil
}

// carries reports whether a process started with one of the marks in its environment.
func carries(pid int, marks []string) bool {
	if len(marks) == 0 {
		return false
	}
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false // gone, or another user's
	}
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		if slices.Contains(marks, string(entry)) {
			return true
		}
	}
	return false
}

// proportional returns a process's bytes with each shared page divided among its users.
func proportional(m member) int64 {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(m.pid) + "/smaps_rollup")
	if err != nil {
		return m.resident
	}
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte("Pss:")); ok {
			if fields := bytes.Fields(rest); len(fields) > 0 {
				if kib, err := strconv.ParseInt(string(fields[0]), 10, 64); err == nil {
					return kib << 10
				}
			}
		}
	}
	return m.resident
}
