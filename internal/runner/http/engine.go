package httpengine

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/process"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/shim"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// Options configure an Engine. Keeper and Folder are required.
type Options struct {
	// Keeper starts the processes.
	Keeper *process.Keeper

	// Folder holds only the instances' sockets. New creates it, for its owner
	// alone. Keep its path short: systems limit a socket's path to about a
	// hundred bytes.
	Folder string

	Log *slog.Logger // discards if nil
}

// An Engine makes instances that answer HTTP. It implements runner.Engine.
type Engine struct {
	keeper *process.Keeper
	folder string
	log    *slog.Logger
}

// A socket's path holds 104 bytes on the BSDs and 108 on Linux, with a final zero.
const (
	maxSocket  = 103
	socketName = len("/0123456789abc.sock")
)

// New returns an Engine. Errors have code Invalid when the folder's path is too
// long, and Internal when the folder cannot be made.
func New(o Options) (*Engine, error) {
	folder, err := filepath.Abs(o.Folder)
	if err != nil || o.Folder == "" || o.Keeper == nil {
		return nil, mayfly.Errorf(mayfly.Internal, "engine http needs a process keeper and a socket folder")
	}
	if len(folder)+socketName > maxSocket {
		return nil, mayfly.Errorf(mayfly.Invalid, "the path of the socket folder has %d bytes, at most %d are possible: %s", len(folder), maxSocket-socketName, folder).
			WithHint("choose a shorter path, such as one under /run or /tmp")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "create the socket folder: %w", err)
	}
	if err := os.Chmod(folder, 0o700); err != nil { // it may have existed
		return nil, mayfly.Errorf(mayfly.Internal, "restrict access to the socket folder: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{keeper: o.Keeper, folder: folder, log: o.Log}, nil
}

// Traits implements runner.Engine.
func (*Engine) Traits() runner.Traits { return runner.Traits{} }

// Start implements runner.Engine.
func (e *Engine) Start(ctx context.Context, s runner.Spec) (runner.Instance, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	socket := filepath.Join(e.folder, strconv.FormatUint(rand.Uint64()>>1, 36)+".sock")
	i := newInstance(s, socket)
	linkPath := strings.TrimSuffix(socket, ".sock") + ".link"
	if err := i.await(linkPath); err != nil {
		return nil, err
	}
	i.process, err = e.keeper.Start(process.Spec{
		Args:   s.Program.Start,
		Folder: s.Folder,
		Env:    append(s.Env[:len(s.Env):len(s.Env)], mayfly.EnvLink+"="+linkPath, mayfly.EnvSocket+"="+socket, "PORT="+port),
		Stdout: process.Lines(func(text string) { i.say(mayfly.Stdout, text) }),
		Stderr: process.Lines(func(text string) { i.say(mayfly.Stderr, text) }),
		Memory: s.Program.Memory,
		Disk:   s.Program.Disk,
		Yields: s.Trial,
	})
	if err != nil {
		i.listener.Close()
		return nil, err
	}
	go i.attend() // ends before watch
	go i.watch()  // ends with the process; Stop waits for it
	err = i.connect(ctx, []address{{"unix", socket}, {"tcp", net.JoinHostPort("127.0.0.1", port)}})
	if err != nil {
		stopped, cancel := context.WithCancel(context.Background())
		cancel() // it has had its time
		i.Stop(stopped)
		return nil, i.startError(ctx, err, time.Since(begun))
	}
	e.log.Debug("instance ready", "function", s.Name, "revision", s.Revision, "instance", s.Instance, telemetry.KeyTook, time.Since(begun))
	return i, nil
}

// freePort returns a free port. Another program may be given the same one before
// the function listens; the function then exits and says why.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", mayfly.Errorf(mayfly.Unavailable, "this machine has no free port: %w", err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// An address is where a program may listen.
type address struct{ network, address string }

// connect waits until the program accepts on one of the addresses, and keeps that
// connection for the first call. Nothing signals that a program listens, so it
// polls, every millisecond while an interpreter may be starting: a try costs
// microseconds and a caller is waiting, unless it is a trial.
func (i *instance) connect(ctx context.Context, addresses []address) error {
	const hasty, pace, calm, leisure = 250 * time.Millisecond, time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond
	begun := time.Now()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	slow := i.spec.Trial
	if slow {
		tick.Reset(leisure)
	}
	for {
		for _, a := range addresses {
			raw, err := net.DialTimeout(a.network, a.address, time.Second)
			if err != nil {
				continue
			}
			i.client.open(a, raw)
			return nil
		}
		if !slow && time.Since(begun) > hasty {
			slow = true
			tick.Reset(calm)
		}
		select {
		case <-i.arrived:
			return nil
		case <-i.done:
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

var errEnded = errors.New("ended")

// startError explains why the instance did not start, with its last lines of output.
func (i *instance) startError(ctx context.Context, err error, took time.Duration) error {
	switch fault := i.fault.Load(); {
	case fault != nil:
		return i.condemned(*fault)
	case errors.Is(err, errEnded):
		return i.crashed("exited before it listened: "+i.process.Ending(), i.tail.Trace(), i.process.Err()).
			WithHint("%s", i.exitHint())
	case !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return mayfly.Errorf(mayfly.Timeout, "the start was canceled: %w", err)
	}
	if limit := time.Duration(i.spec.Limits.Instances.Start); limit > 0 {
		took = limit
	}
	return i.crashed("was not ready in "+took.Round(time.Millisecond).String(), i.tail.Trace(), err).
		WithHint("%s", i.silenceHint())
}

// exitHint says what to do about a program that ended too early.
func (i *instance) exitHint() string {
	switch silent := i.tail.Trace() == nil; {
	case shim.IsHandler(i.spec.Program.Start) && silent:
		return "it printed nothing: look for an exit in the code that runs while " + i.spec.Name + " loads"
	case shim.IsHandler(i.spec.Program.Start):
		return "fix what its output says; it happened while " + i.spec.Name + " was loading"
	case silent:
		return "it printed nothing; a web program must keep running and listen on $PORT or $MAYFLY_SOCKET"
	case i.process.Err() == nil:
		return "a web program must keep running and listen on $PORT or $MAYFLY_SOCKET; see its output"
	default:
		return "fix what its output says; a web program must keep running and listen on $PORT or $MAYFLY_SOCKET"
	}
}

// silenceHint says what to do about a program that did not listen in time.
func (i *instance) silenceHint() string {
	if shim.IsHandler(i.spec.Program.Start) {
		return "the code that runs while it loads takes too long: do slow work in the handler, or raise instances: {start: 30s}"
	}
	return "it must answer HTTP on the unix socket $MAYFLY_SOCKET or on 127.0.0.1:$PORT"
}
