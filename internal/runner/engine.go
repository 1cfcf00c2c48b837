package runner

import (
	"context"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
)

// An Engine makes instances. One engine serves all programs of its kind.
type Engine interface {
	// Traits returns what is special about the engine's instances. It never changes.
	Traits() Traits

	// Start returns an instance that is ready for its first call. When ctx ends it gives
	// up and leaves nothing behind. Errors: Crashed if the program exited or was not
	// ready in time, with its last lines of output.
	Start(ctx context.Context, s Spec) (Instance, error)
}

// Traits say how an engine's instances differ from the usual ones, which take several
// calls at once and have a process all the time.
type Traits struct {
	OneCall bool // at a time
	PerCall bool // no process between calls: starts and stops are not logged
}

// An Instance is one live copy of a revision.
type Instance interface {
	// Call passes one call to the instance and returns its reply. When ctx ends, the
	// work on the call stops, not only the wait. ctx also covers the reply's Stream.
	// Up to Concurrency goroutines may use it at once. If the instance dies in a call,
	// Done is closed before Call returns: the next call must not go to it.
	Call(ctx context.Context, c *mayfly.Call) (mayfly.Reply, error)

	// Done is closed when the instance has ended, by itself or by Stop. Then Err says
	// why: nil if it was stopped.
	Done() <-chan struct{}
	Err() error

	// Stop ends the instance and everything that it started, and waits: gracefully until
	// ctx ends, then by force.
	Stop(ctx context.Context)

	// Usage returns the resources that the instance uses now.
	Usage() Usage
}

// A Spec is what an engine makes an instance of.
type Spec struct {
	Name     string         // function or hosted service
	Revision uint64         // 0 while it is developed
	Program  mayfly.Program // Start, Env, Memory, Disk, CGI
	Limits   mayfly.Limits  // with defaults
	Folder   string         // the unpacked bundle; never written to
	Instance string         // id
	Trial    bool           // it gets no calls: it may start slowly, and not in the way of others

	Env    []string          // NAME=value: all that the instance gets, except what the engine adds
	Output func(mayfly.Line) // gets each line the instance writes; must not block; never nil
}

// Line returns a line about the instance; call is "" if it is about none. A trace of
// Python names the file as the user knows it, not the copy that runs.
func (s *Spec) Line(source mayfly.Source, call, text string) mayfly.Line {
	if s.Folder != "" && strings.Contains(text, s.Folder) {
		text = strings.ReplaceAll(text, `File "`+s.Folder+"/", `File "`)
	}
	return mayfly.Line{
		Time: time.Now(), Function: s.Name, Revision: s.Revision, Instance: s.Instance,
		Call: call, Source: source, Text: text,
	}
}

// Usage is the resources that an instance uses.
type Usage struct {
	PID    int           // 0 if there is no process between calls
	Memory int64         // bytes resident, children included
	CPU    time.Duration // used so far
}
