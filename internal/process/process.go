package process

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly"
)

// outputGrace is how long the output of an exited program may stay open without a
// byte: a leftover process holds it.
const outputGrace = 250 * time.Millisecond

// A Process is a started program with its descendants.
type Process struct {
	keeper *Keeper
	mark   string // environment entry that descendants inherit; may be empty
	memory int64
	disk   int64
	cell   *cell // nil if there is none
	done   chan struct{}

	// Set by launch, before the Process is shared.
	handle *os.Process
	pid    atomic.Int64
	stdin  *os.File // our end; nil if there is none
	copies sync.WaitGroup
	exited chan struct{}  // closed when the program has exited
	weighs sync.WaitGroup // weighDisk
	output []*os.File     // our ends
	ended  atomic.Bool    // the program has exited; whatever still holds the output is a leftover

	mu      sync.Mutex
	over    bool // the group's number may be reused from now on
	killed  bool
	exceeds Limit // that it was killed for

	// Set before done is closed.
	err error
	cpu time.Duration
}

// Start starts a program. Errors have code Crashed when the program is missing or
// cannot be run, Invalid when Spec is invalid, and Unavailable when this machine
// cannot take another process or the Keeper cannot keep any.
func (k *Keeper) Start(s Spec) (*Process, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	program, err := s.Program()
	if err != nil {
		return nil, err
	}
	p := &Process{keeper: k, mark: s.mark(), memory: s.Memory, disk: s.Disk, done: make(chan struct{}), exited: make(chan struct{})}
	if err := k.admit(p); err != nil {
		return nil, err
	}
	defer k.starts.Done()
	if err := k.launch(p, s, program); err != nil {
		k.dismiss(p, true)
		return nil, err
	}
	return p, nil
}

// launch starts the process and the goroutines that copy its input and output.
func (k *Keeper) launch(p *Process, s Spec, program string) (err error) {
	p.cell, err = k.tree.cell(s.Memory)
	if err != nil {
		return err
	}
	ends := &pipes{}
	defer func() {
		ends.closeTheirs()
		if err != nil {
			ends.closeOurs()
			p.cell.remove()
		}
	}()
	if err := ends.connect(s); err != nil {
		return unavailable(err)
	}
	// The reaper learns of the cgroup before a process is in it.
	k.reaper.hold(p.cell.path())
	started := make(chan error, 1)
	k.forks <- func() { started <- p.exec(s, program, ends.given) }
	if err := <-started; err != nil {
		k.reaper.release(p.cell.path())
		return explain(err, s, program)
	}
	p.stdin = ends.stdin
	for _, out := range ends.outputs {
		p.output = append(p.output, out.from)
		p.copies.Go(func() { p.carry(out) })
	}
	if ends.stdin != nil {
		// Not waited for: a blocked Read ends only when the reader's owner ends it. The
		// process's exit ends the writes.
		go func() {
			_, _ = io.Copy(ends.stdin, s.Stdin) // the program may exit without reading
			ends.stdin.Close()
		}()
	}
	if k.weighs(p) {
		k.nudge()
	}
	if folder := s.value("TMPDIR"); p.disk > 0 && folder != "" {
		p.weighs.Go(func() { p.weighDisk(folder) })
	}
	go p.supervise()
	return nil
}

// exec starts the process, on the Keeper's thread.
func (p *Process) exec(s Spec, program string, files []*os.File) error {
	attr := &os.ProcAttr{
		Dir:   s.Folder,
		Env:   s.environment(),
		Files: files,
		Sys:   groupAttr(p.cell),
	}
	var err error
	// A program written a moment ago may still be open for writing in a child that
	// another goroutine is just forking.
	for try := 0; ; try++ {
		p.handle, err = os.StartProcess(program, s.Args, attr)
		if !errors.Is(err, errTextBusy) || try == 20 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	p.pid.Store(int64(p.handle.Pid))
	if s.Yields {
		yieldTime(p.handle.Pid)
	}
	p.keeper.reaper.hold(groupEntry(p.handle.Pid))
	return nil
}

// supervise waits for the program to exit, ends its leftovers and closes done.
func (p *Process) supervise() {
	awaitExit(p.PID())
	close(p.exited)
	flushed := make(chan struct{})
	go func() {
		p.copies.Wait()
		close(flushed)
	}()
	// Until the program is reaped, its number, which is also the group's, cannot be
	// reused: first kill the group, then Wait.
	swept := p.endLeftovers(flushed)
	p.releaseGroup()
	state, err := p.handle.Wait()
	if p.stdin != nil {
		p.stdin.Close()
	}
	// A process that left the group and cleared its mark may still hold the output.
	p.ended.Store(true)
	for _, f := range p.output {
		_ = f.SetReadDeadline(time.Now().Add(outputGrace))
	}
	<-flushed
	p.weighs.Wait()

	p.err = err
	if err == nil {
		p.cpu = state.UserTime() + state.SystemTime()
		exceeded, limit := p.exceeded()
		p.err = exitError(state, exceeded, limit)
	}
	p.cell.remove()
	p.keeper.reaper.release(p.cell.path())
	p.keeper.dismiss(p, swept)
	close(p.done)
}

// endLeftovers gives what the program left behind a moment for its last output, then
// ends it. It reports whether it looked beyond the group: after Kill and Stop, in a
// cgroup, or if a process still holds the output.
func (p *Process) endLeftovers(flushed <-chan struct{}) (swept bool) {
	select {
	case <-flushed:
	case <-time.After(outputGrace):
		swept = true
	}
	p.mu.Lock()
	swept = swept || p.killed || p.cell != nil
	p.mu.Unlock()
	if swept {
		p.end()
	}
	return swept
}

// releaseGroup sends the group its last signal; afterwards its number may be reused.
func (p *Process) releaseGroup() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = killGroup(p.PID(), syscall.SIGKILL) // usually the group is empty
	p.over = true
	p.keeper.reaper.release(groupEntry(p.PID()))
}

// exceeded returns the limit that the program was killed for, and its bytes.
func (p *Process) exceeded() (Limit, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.exceeds == Disk:
		return Disk, p.disk
	case p.exceeds == Memory || p.cell.ranDry():
		return Memory, p.memory
	}
	return "", 0
}

// PID returns the number of the process and its group.
func (p *Process) PID() int { return int(p.pid.Load()) }

// Done is closed when the program has exited, all its output has been written to
// Spec.Stdout and Spec.Stderr, and its group has been killed. After Kill and Stop no
// descendant is left then; if the program exited by itself, descendants in other
// sessions are found within a moment.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the program ended: nil for exit status 0, else an *ExitError. It is
// valid once Done is closed.
func (p *Process) Err() error {
	if !p.gone() {
		return nil
	}
	return p.err
}

// Ending describes how the program ended, as a shell does.
func (p *Process) Ending() string {
	if err := p.Err(); err != nil {
		return err.Error()
	}
	return "exit status 0"
}

// Signal sends a signal to the whole group. It returns os.ErrProcessDone if the
// program has exited.
func (p *Process) Signal(s os.Signal) error {
	number, ok := s.(syscall.Signal)
	if !ok {
		return mayfly.Errorf(mayfly.Invalid, "signal %v is not supported on this system", s)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return os.ErrProcessDone
	}
	return killGroup(p.PID(), number)
}

// Kill sends SIGKILL to the program and all its descendants. Done is closed when they
// are gone.
func (p *Process) Kill() {
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return
	}
	p.killed = true
	p.mu.Unlock()
	p.killAll()
}

// Stop sends SIGTERM to the group, kills it when ctx ends, and waits.
func (p *Process) Stop(ctx context.Context) {
	p.mu.Lock()
	p.killed = true // its descendants must go, even if it exits politely
	p.mu.Unlock()
	_ = p.Signal(syscall.SIGTERM) // or it has already exited
	select {
	case <-p.done:
		return
	case <-ctx.Done():
	}
	p.Kill()
	<-p.done
}

// Memory returns the group's resident bytes, or 0 if that is unknown.
func (p *Process) Memory() int64 {
	if p.gone() {
		return 0
	}
	rss, _ := usage(p.keeper.survey(surveyAge), p.PID())
	return rss
}

// CPU returns the group's CPU time.
func (p *Process) CPU() time.Duration {
	if p.gone() {
		return p.cpu
	}
	_, cpu := usage(p.keeper.survey(surveyAge), p.PID())
	return cpu
}

func (p *Process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// exceed kills the program for a limit. One that has exited is over its disk limit too:
// its instance must end for TMPDIR to be emptied.
func (p *Process) exceed(l Limit) {
	p.mu.Lock()
	if !p.over || l == Disk {
		p.exceeds = l
	}
	p.mu.Unlock()
	p.Kill()
}

// family returns where to look for p's descendants.
func (p *Process) family() family {
	k := family{groups: []int{p.PID()}}
	if p.keeper.alone(p) {
		k.marks = []string{p.mark}
	}
	return k
}

// killAll sends SIGKILL to p and its descendants, once. It finds them all before the
// first dies: orphans lose their parents.
func (p *Process) killAll() {
	if p.cell.kill() {
		return
	}
	found := p.family().find(survey())
	p.mu.Lock()
	if !p.over {
		_ = killGroup(p.PID(), syscall.SIGKILL) // ESRCH: the group is empty
	}
	p.mu.Unlock()
	for _, m := range found {
		m.kill()
	}
}

// end kills what is left of p and waits until it is gone.
func (p *Process) end() {
	if p.cell.end() {
		return
	}
	if left := end(p.family()); left > 0 {
		p.keeper.log.Warn("processes did not exit", "count", left)
	}
}
