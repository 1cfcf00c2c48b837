package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly"
)

const (
	maxEntry      = 4 << 10     // bytes of an entry; marks are far shorter
	reaperRest    = time.Second // between restarts of a reaper that dies
	reaperHearsIn = time.Second // a reaper that accepts no line for so long is replaced
)

// Reap is the reaper process's main function: it reads from control what to end if
// the node does not, and ends it when control closes, which is when the node dies.
// A line is a sign, + to hold or - to release, and an entry: the number of a process
// group, NAME=value of an environment, or the path of a cgroup.
//
// Reap ignores the signals with which terminals and init systems end whole groups,
// so it needs a process to itself.
func Reap(control io.Reader) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	held := map[string]bool{}
	lines := bufio.NewScanner(control)
	lines.Buffer(nil, 2*maxEntry)
	for lines.Scan() {
		sign, entry, ok := parseLine(lines.Text())
		switch {
		case !ok:
		case sign == '+':
			held[entry] = true
		default:
			delete(held, entry)
		}
	}
	err := lines.Err() // invalid input or a broken pipe: both mean that the node is gone
	if left := reapAll(slices.Collect(maps.Keys(held))); left > 0 {
		err = errors.Join(err, mayfly.Errorf(mayfly.Internal, "%d processes did not exit", left))
	}
	return err
}

// reapAll ends what the entries name and returns how many processes remain.
func reapAll(entries []string) int {
	var k family
	for _, entry := range entries {
		switch pgid, err := strconv.Atoi(entry); {
		case err == nil:
			k.groups = append(k.groups, pgid)
		case entry[0] == '/':
			(&cell{folder: entry}).end()
			(&cell{folder: entry}).remove()
		default:
			k.marks = append(k.marks, entry)
		}
	}
	if len(k.groups)+len(k.marks) == 0 {
		return 0
	}
	return end(k)
}

// parseLine splits a line into its sign and entry. It rejects entries that cannot be
// ours: kill understands 0, 1 and negative numbers as far more than one group.
func parseLine(line string) (sign byte, entry string, ok bool) {
	if len(line) < 2 || len(line) > maxEntry || line[0] != '+' && line[0] != '-' {
		return 0, "", false
	}
	sign, entry = line[0], line[1:]
	if entry[0] == '/' {
		return sign, entry, strings.HasPrefix(entry, cgroupRoot)
	}
	if name, value, isMark := strings.Cut(entry, "="); isMark {
		return sign, entry, name != "" && value != "" && !strings.Contains(entry, "\x00")
	}
	pgid, err := strconv.Atoi(entry)
	return sign, entry, err == nil && pgid > 1 && strconv.Itoa(pgid) == entry
}

func groupEntry(pgid int) string { return strconv.Itoa(pgid) }

// A reaper is the node's side of the process that runs Reap. Nil is none.
type reaper struct {
	args []string
	log  *slog.Logger
	work sync.WaitGroup
	stop chan struct{}

	mu      sync.Mutex
	held    map[string]struct{}
	control *os.File // nil while there is no process
	process *os.Process
}

func openReaper(args []string, log *slog.Logger) (*reaper, error) {
	r := &reaper{args: args, log: log, stop: make(chan struct{}), held: map[string]struct{}{}}
	if err := r.start(); err != nil {
		return nil, fmt.Errorf("start the reaper: %w", err)
	}
	r.work.Go(r.keep)
	return r, nil
}

// start starts the process and sends it all entries held.
func (r *reaper) start() error {
	program, err := Spec{Args: r.args}.Program()
	if err != nil {
		return err
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return unavailable(err)
	}
	defer theirs.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		ours.Close()
		return unavailable(err)
	}
	defer null.Close()
	p, err := os.StartProcess(program, r.args, &os.ProcAttr{
		Env: []string{}, Files: []*os.File{theirs, null, null}, Sys: sessionAttr(),
	})
	if err != nil {
		ours.Close()
		return explain(err, Spec{Args: r.args}, program)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process, r.control = p, ours
	for entry := range r.held {
		r.write("+" + entry)
	}
	return nil
}

// keep restarts the process if it dies early.
func (r *reaper) keep() {
	for {
		state, err := r.process.Wait()
		select {
		case <-r.stop:
			return
		default:
		}
		r.log.Warn("reaper died", "state", state.String(), "err", err)
		r.lose()
		if !r.restart() {
			return
		}
		r.log.Info("reaper restarted")
	}
}

// restart reports whether the process runs again; false after close.
func (r *reaper) restart() bool {
	for {
		select {
		case <-r.stop:
			return false
		case <-time.After(reaperRest):
		}
		if err := r.start(); err == nil {
			return true
		}
	}
}

// hold has the process end what entry names unless the node releases it.
func (r *reaper) hold(entry string) {
	if r == nil || entry == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[entry] = struct{}{}
	r.write("+" + entry)
}

func (r *reaper) release(entry string) {
	if r == nil || entry == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, entry)
	r.write("-" + entry)
}

// write sends the process a line. A process that does not read is killed: keep starts
// another, which gets all entries. The caller holds mu.
func (r *reaper) write(line string) {
	if r.control == nil {
		return
	}
	_ = r.control.SetWriteDeadline(time.Now().Add(reaperHearsIn))
	if _, err := r.control.WriteString(line + "\n"); err != nil {
		_ = r.process.Kill() // or it is already dead
		r.control.Close()
		r.control = nil
	}
}

// lose forgets a dead process.
func (r *reaper) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.control != nil {
		r.control.Close()
		r.control = nil
	}
}

// close lets the process exit: nothing is held any more.
func (r *reaper) close() {
	if r == nil {
		return
	}
	close(r.stop)
	r.lose()
	r.work.Wait()
}
