package responder

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/micro"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// A Roster knows which functions the bus may see. In a node it is the roster.Roster.
type Roster interface {
	// Public returns the function of a name, or nil.
	Public(name mayfly.Name) *mayfly.Unit
	// Watch returns a channel with the names that changed, at first all, until ctx
	// ends.
	Watch(ctx context.Context) <-chan map[mayfly.Name]struct{}
}

// A Runner has functions answer. In a node it is the runner.Runner.
type Runner interface {
	Call(ctx context.Context, name mayfly.Name, c *mayfly.Call) (mayfly.Reply, error)
	Stats(name string) (runner.Stats, bool)
}

// Options say how a Responder answers.
type Options struct {
	Node         string        // id of the node: part of each service's id
	Name         string        // of the node, for people
	DrainTimeout time.Duration // for calls in hand at the end; 30 s if zero
	Development  bool          // put stack traces into the body of a crash
	Log          *slog.Logger  // discards if nil
}

// A Responder answers for the functions of one node. New makes one that listens;
// Run answers.
type Responder struct {
	roster   Roster
	runner   Runner
	options  Options
	listener *bus.Listener

	changes <-chan map[mayfly.Name]struct{}
	stop    context.CancelFunc // of changes

	mu    sync.RWMutex
	shown map[mayfly.Name]*service // what we listen for

	calls sync.WaitGroup
}

// A service is one revision of a function as discovery shows it.
type service struct {
	mayfly.Service
	function  *mayfly.Unit
	interests []bus.Interest
}

// New returns a Responder that listens for the functions that are there.
func New(ctx context.Context, b *bus.Bus, roster Roster, runner Runner, o Options) (*Responder, error) {
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 30*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	listener, err := b.Listen(ctx)
	if err != nil {
		return nil, err
	}
	p := &Responder{roster: roster, runner: runner, options: o, listener: listener, shown: map[mayfly.Name]*service{}}
	if err := listener.Change(everybody(), nil); err != nil {
		listener.Close()
		return nil, err
	}
	watching, stop := context.WithCancel(context.Background())
	p.changes, p.stop = roster.Watch(watching), stop
	p.show(<-p.changes)
	return p, nil
}

// everybody are the subjects on which all micro services answer.
func everybody() []bus.Interest {
	var all []bus.Interest
	for _, subject := range micro.Subjects() {
		all = append(all, bus.Interest{Subject: subject})
	}
	return all
}

// show brings what we listen for in step with the functions of these names.
func (p *Responder) show(changed map[mayfly.Name]struct{}) {
	var add, drop []bus.Interest
	p.mu.Lock()
	for name := range changed {
		f, old := p.roster.Public(name), p.shown[name]
		switch {
		case f == nil && old == nil:
		case f == nil:
			drop = append(drop, old.interests...)
			delete(p.shown, name)
		case old == nil:
			p.shown[name] = p.newService(f)
			add = append(add, p.shown[name].interests...)
		case old.function.Revision != f.Revision || f.Revision == 0:
			s := p.newService(f)
			if s.ID == old.ID {
				s.Started = old.Started
			} else {
				drop = append(drop, old.interests...)
			}
			p.shown[name] = s
			add = append(add, s.interests...)
		}
	}
	p.mu.Unlock()
	kept := make(map[bus.Interest]bool, len(add))
	for _, interest := range add {
		kept[interest] = true
	}
	drop = slices.DeleteFunc(drop, func(i bus.Interest) bool { return kept[i] })
	if err := p.listener.Change(add, drop); err != nil {
		p.options.Log.Warn("cannot update NATS subscriptions", telemetry.KeyErr, err)
	}
}

// newService returns how f shows itself. The id tells nodes and revisions apart.
func (p *Responder) newService(f *mayfly.Unit) *service {
	s := &service{Service: f.Service(fmt.Sprintf("%s-%s-%d", p.options.Node, f.Name, f.Revision)), function: f}
	s.Started = time.Now()
	s.Metadata[mayfly.MetaNode] = p.options.Node
	s.interests = append(s.interests,
		bus.Interest{Subject: mayfly.FunctionSubject(f.Name), Queue: mayfly.FunctionQueue},
		bus.Interest{Subject: mayfly.FunctionSubjectAt(f.Name, p.options.Node)})
	for _, subject := range slices.Concat(micro.Subjects(s.Name), micro.Subjects(s.Name, s.ID)) {
		s.interests = append(s.interests, bus.Interest{Subject: subject})
	}
	return s
}

// Run answers until ctx ends. Then it listens no more, finishes the calls in hand
// within the drain time, and returns nil.
func (p *Responder) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	surveys := make(chan bus.Inbound, 1024)
	working, cutOff := context.WithCancel(context.WithoutCancel(ctx)) // of calls: they outlive ctx
	defer cutOff()
	parts.Go(func() { p.watch(ctx) })
	parts.Go(func() { p.survey(ctx, surveys) })
	p.dispatch(ctx, working, surveys)
	parts.Wait()
	p.leave()
	p.dispatch(ctx, working, nil) // what arrived until then
	drained := make(chan struct{})
	go func() {
		p.calls.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-time.After(p.options.DrainTimeout):
		p.options.Log.Warn("calls cut off at the end of the drain time")
		cutOff()
		<-drained
	}
	return p.listener.Close()
}

// Close ends a Responder that was never run.
func (p *Responder) Close() error {
	p.stop()
	return p.listener.Close()
}

// leave stops listening on every subject.
func (p *Responder) leave() {
	drop := everybody()
	p.mu.RLock()
	for _, s := range p.shown {
		drop = append(drop, s.interests...)
	}
	p.mu.RUnlock()
	if err := p.listener.Change(nil, drop); err != nil {
		p.options.Log.Debug("subscriptions not removed", telemetry.KeyErr, err)
	}
}

// watch follows the functions that come and go.
func (p *Responder) watch(ctx context.Context) {
	defer p.stop()
	for {
		select {
		case changed := <-p.changes:
			p.show(changed)
		case <-ctx.Done():
			return
		}
	}
}

// dispatch hands out messages until ctx has ended and none waits. It never blocks:
// a call gets a goroutine, which the runner's admission bounds, and questions that
// come faster than they are answered are dropped, as a busy service's are.
func (p *Responder) dispatch(ctx, working context.Context, surveys chan<- bus.Inbound) {
	for {
		in, ok := p.listener.Next(ctx)
		if !ok {
			return
		}
		if name, ok := strings.CutPrefix(in.Subject(), mayfly.SubjectFunctions+"."); ok {
			name, _, _ = strings.Cut(name, ".") // the node is ours
			p.calls.Go(func() { p.call(working, mayfly.Name(name), in) })
			continue
		}
		select {
		case surveys <- in:
		default:
		}
	}
}

// call has the runner make a call and answers with its reply.
func (p *Responder) call(ctx context.Context, name mayfly.Name, in bus.Inbound) {
	c := in.Call()
	defer in.Signs(p.options.Name).Stop()
	defer func() {
		if v := recover(); v != nil {
			p.options.Log.Error("responder panicked", telemetry.KeyCall, c.ID, telemetry.KeyErr, fmt.Sprintf("%v\n%s", v, debug.Stack()))
			p.sent(c, in.Fail(mayfly.Errorf(mayfly.Internal, "internal error; see the log of the node"), false))
		}
	}()
	reply, err := p.runner.Call(ctx, name, &c)
	if err != nil {
		p.sent(c, in.Fail(err, p.options.Development))
		return
	}
	p.sent(c, in.Reply(reply))
}

// sent logs a reply that could not be sent.
func (p *Responder) sent(c mayfly.Call, err error) {
	if err != nil {
		p.options.Log.Warn("reply not sent", telemetry.KeyCall, c.ID, telemetry.KeyErr, err)
	}
}
