package runner

import (
	"context"
	"time"

	"github.com/mayfly-run/mayfly"
)

// An Engine makes instances. One engine serves all programs of its kind.
type Engine interface {
	// Traits returns what is special about the engine's instances. It never changes.
	Traits() Traits

	// Start returns an instance that is ready for its first call. It gives up when
	// ctx ends, and leaves nothing behind then. Errors: Crashed when the program
	// ended or was not ready in time, with the last lines that it wrote.
	Start(ctx context.Context, s Spec) (Instance, error)
}

// Traits say how an engine's instances differ from the usual ones, which are called,
// take several calls at once, and have a process all the time.
type Traits struct {
	Uncalled bool // they answer on the bus themselves; Call fails
	OneCall  bool // at a time
	PerCall  bool // no process between calls: their coming and going is not logged
}

// An Instance is one live copy of a revision.
type Instance interface {
	// Call gives the instance one call and returns its reply. When ctx ends, the
	// work on the call is stopped, not only the waiting for it. Where the reply has
	// a Stream, ctx governs that too. It may be used by as many goroutines at once
	// as the function's Concurrency says. When the instance dies in a call, Done is
	// closed before Call returns: the next call must not go to it.
	Call(ctx context.Context, c *mayfly.Call) (mayfly.Reply, error)

	// Done is closed when the instance has gone, by itself or by Stop. Err says
	// afterwards why: nil if it was stopped.
	Done() <-chan struct{}
	Err() error

	// Stop ends the instance and everything that it started, and waits for that:
	// politely until ctx ends, by force then.
	Stop(ctx context.Context)

	// Usage returns what the instance takes of the machine now.
	Usage() Usage
}

// A Spec is what an engine makes an instance of.
type Spec struct {
	Name     string         // function or hosted service
	Revision uint64         // 0 while it is developed
	Program  mayfly.Program // Start, Env, Memory, CGI
	Limits   mayfly.Limits  // with defaults
	Folder   string         // the unpacked bundle; never written to
	Instance string         // id

	Env    []string          // NAME=value: all that the instance gets, but what the engine itself adds
	Output func(mayfly.Line) // gets each line the instance writes; must not block; never nil
}

// Usage is what an instance takes of the machine.
type Usage struct {
	PID    int           // 0 if there is no process between calls
	Memory int64         // bytes resident, children included
	CPU    time.Duration // used so far
}
