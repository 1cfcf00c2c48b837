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
	maxEntry      = 4 << 10     // bytes of an entry; a mark of the environment is far shorter
	reaperRest    = time.Second // between two starts of a reaper that dies
	reaperHearsIn = time.Second // a reaper that takes no line for so long is given up
)

// Reap is what the reaper process does: it reads from control what it must end if
// the node does not come to it, and ends that when control ends, which is when the
// node does. A line is a sign, + to hold and - to release, and an entry: the number
// of a process group, NAME=value of an environment, or the path of a cgroup.
//
// Reap ignores the signals by which terminals and init systems end whole groups, so
// it is for a process of its own.
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
	err := lines.Err() // of a node that writes nonsense, or a broken pipe: both are its end
	if left := reapAll(slices.Collect(maps.Keys(held))); left > 0 {
		err = errors.Join(err, mayfly.Errorf(mayfly.Internal, "%d processes did not exit", left))
	}
	return err
}

// reapAll ends what the entries name and returns how many processes are left.
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

// parseLine divides a line into its sign and its entry. What names no process that
// could be ours is refused: kill takes 0, 1 and negative numbers for far more than a
// group.
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

// start starts the process and tells it what is held.
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

// keep starts the process again if it dies before its time.
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

// restart reports whether there is a process again before close was called.
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

// hold has the process end what entry names if the node does not release it.
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

// write tells the process a line. One that does not listen is killed: keep makes
// another, which is told everything. The caller holds mu.
func (r *reaper) write(line string) {
	if r.control == nil {
		return
	}
	_ = r.control.SetWriteDeadline(time.Now().Add(reaperHearsIn))
	if _, err := r.control.WriteString(line + "\n"); err != nil {
		_ = r.process.Kill() // or it is dead already
		r.control.Close()
		r.control = nil
	}
}

// lose forgets a process that died.
func (r *reaper) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.control != nil {
		r.control.Close()
		r.control = nil
	}
}

// close lets the process end: nothing is held any more.
func (r *reaper) close() {
	if r == nil {
		return
	}
	close(r.stop)
	r.lose()
	r.work.Wait()
}
