package dispatch

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
)

// A Caller carries calls elsewhere. In a node it is the bus.
type Caller interface {
	// Call sends a call and waits for the reply. It owns the call's Header.
	Call(ctx context.Context, c mayfly.Call) (mayfly.Reply, error)
	// Send sends a call without waiting for a reply.
	Send(ctx context.Context, c mayfly.Call) error
	// MaxPayload returns how many bytes a call's headers and body may have.
	MaxPayload() int64
}

// A Directory finds endpoints on the bus.
type Directory interface {
	// Lookup returns an endpoint by its name or subject. Errors: NotFound.
	Lookup(ctx context.Context, service, endpoint string) (mayfly.Endpoint, error)
	// Reach returns the subject of a node that answers, if others that run the function
	// do not, and whether all of them send signs of life.
	Reach(function mayfly.Name) (at mayfly.Subject, signs bool)
	// Doubt tells it that some unknown node that runs the function does not answer.
	Doubt(function mayfly.Name)
}

// Functions are those of this node.
type Functions interface {
	// Function returns the one with that name, or nil; then building reports whether
	// one is being built, or was built in vain.
	Function(name mayfly.Name) (f *mayfly.Unit, building bool)
	// Built waits for the end of a build and returns why it failed.
	Built(ctx context.Context, name mayfly.Name) error
	// Coming waits, after a call that nothing took, until a service of this node may take
	// another. Otherwise it may say what is wrong with it. See roster.Roster.
	Coming(ctx context.Context, service string) (again bool, problem error)
	// Call gives a function one call. ctx governs the reply's Stream, too.
	Call(ctx context.Context, name mayfly.Name, c *mayfly.Call) (mayfly.Reply, error)
	// Deployed reports whether a unit is deployed under a name, here or elsewhere.
	Deployed(name mayfly.Name) bool
}

// Options say what a call may take.
type Options struct {
	Functions Functions     // required
	Remote    bool          // call this node's functions over the bus too, as other nodes do
	Timeout   time.Duration // of calls to services that set none; 5 s if zero
	MaxBody   int64         // bytes; 64 MiB if zero
	InFlight  int           // calls to one target at once; 10,000 if zero
}

// A Dispatcher finds who takes a call, and makes it.
type Dispatcher struct {
	caller    Caller
	directory Directory
	options   Options
	admission *admission
	waiting   atomic.Int64 // calls and look-ups that wait for a service that is on its way
}

// New returns a Dispatcher.
func New(caller Caller, directory Directory, o Options) *Dispatcher {
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.MaxBody = cmp.Or(o.MaxBody, 64<<20)
	o.InFlight = cmp.Or(o.InFlight, 10_000)
	return &Dispatcher{caller: caller, directory: directory, options: o, admission: newAdmission(o.InFlight)}
}

// MaxBody returns how large a body may be where its target sets no other limit.
func (d *Dispatcher) MaxBody() int64 { return d.options.MaxBody }

// A Target is who takes a call, and what the call may take.
type Target struct {
	Function  mayfly.Name   // "" if it is none
	Here      bool          // a function of this node, which takes and returns streams
	Timeout   time.Duration // until the reply
	MaxBody   int64         // bytes
	Limit     string        // what sets MaxBody, for messages
	CORS      *mayfly.CORS  // of the function; nil if it has none
	NoHeaders bool          // a function that cannot set headers, as far as this node knows

	service string // that was named; "" if only the subject was
	name    string // the subject with its wildcards: what admission counts by
	subject mayfly.Subject
	pattern mayfly.SubjectPattern
	setBy   setting       // what sets Timeout
	within  time.Duration // the route's timeout, if it is shorter than that of a function here
}

// A setting is what sets a timeout, for messages: a key and whose it is.
type setting struct{ key, of string }

const (
	ofRoute    = "`timeout:` in mayfly.yaml of route "
	ofFunction = "`timeout:` in mayfly.yaml of function "
	ofEndpoint = mayfly.MetaTimeout + " in the metadata of endpoint "
)

// Function finds who takes calls of a function, and waits for a build that is running.
// Errors: NotFound, those of the build and those of the directory.
func (d *Dispatcher) Function(ctx context.Context, name mayfly.Name) (Target, error) {
	f, building := d.options.Functions.Function(name)
	if building {
		limited, cancel := context.WithTimeout(ctx, mayfly.FunctionTimeout)
		defer cancel()
		if err := d.options.Functions.Built(limited, name); err != nil {
			return Target{}, err
		}
		f, _ = d.options.Functions.Function(name)
	}
	if f == nil {
		return d.functionElsewhere(ctx, name)
	}
	t := d.target(mayfly.FunctionSubject(name), time.Duration(f.Timeout))
	t.Function, t.CORS, t.setBy = name, f.CORS, setting{ofFunction, string(name)}
	t.NoHeaders = f.NoHeaders()
	t.Timeout = cmp.Or(t.Timeout, mayfly.FunctionTimeout)
	if f.Body > 0 {
		t.MaxBody, t.Limit = f.Body, "the function's `body`"
	}
	if d.options.Remote {
		t.Timeout += mayfly.FunctionGrace
		d.bound(&t)
	} else {
		t.Here = true
	}
	return t, nil
}

// functionElsewhere finds a function of other nodes. Only a name that somebody
// answers to becomes a subject.
func (d *Dispatcher) functionElsewhere(ctx context.Context, name mayfly.Name) (Target, error) {
	e, err := d.directory.Lookup(ctx, string(name), mayfly.FunctionEndpoint)
	if mayfly.CodeOf(err) == mayfly.NotFound || err == nil && !IsFunction(e) {
		return Target{}, NoFunction(string(name))
	}
	if err != nil {
		return Target{}, err
	}
	t := d.target(mayfly.FunctionSubject(name), e.Timeout())
	t.Function, t.CORS, t.setBy = name, e.CORS(), setting{ofFunction, string(name)}
	t.Timeout = cmp.Or(t.Timeout, mayfly.FunctionTimeout) + mayfly.FunctionGrace
	d.bound(&t)
	return t, nil
}

// Endpoint finds who takes calls of a service's endpoint. Errors: NotFound, also
// for a function; Invalid for a subject that must not be called.
func (d *Dispatcher) Endpoint(ctx context.Context, service, endpoint string) (Target, error) {
	e, err := d.lookup(ctx, service, endpoint, 0)
	if err != nil {
		return Target{}, err
	}
	if IsFunction(e) {
		return Target{}, mayfly.Errorf(mayfly.NotFound, "%q is a function, not a service", service).
			WithHint("call it at /fn/%s", service)
	}
	pattern, err := mayfly.ParseSubjectPattern(e.Subject)
	if err != nil {
		return Target{}, err
	}
	t := d.subject(pattern, e.Timeout(), setting{ofEndpoint, endpoint})
	t.service = service
	return t, nil
}

// lookup asks the directory, and waits for a service of this node that is on its way.
func (d *Dispatcher) lookup(ctx context.Context, service, endpoint string, timeout time.Duration) (mayfly.Endpoint, error) {
	var end time.Time
	for {
		e, err := d.directory.Lookup(ctx, service, endpoint)
		if err == nil || mayfly.CodeOf(err) != mayfly.NotFound {
			return e, err
		}
		if end.IsZero() {
			end = time.Now().Add(cmp.Or(timeout, d.options.Timeout))
		}
		if again, err := d.await(ctx, service, end, err); !again {
			return e, err
		}
	}
}

// await waits, after something was not found or taken, until a service of this node that is
// on its way may take it. Otherwise it returns why not, with what is wrong with the service.
// Those that wait are bounded as calls are.
func (d *Dispatcher) await(ctx context.Context, service string, end time.Time, why error) (again bool, err error) {
	defer d.waiting.Add(-1)
	if d.waiting.Add(1) > int64(d.options.InFlight) {
		return false, why
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	again, problem := d.options.Functions.Coming(ctx, service)
	if again || problem == nil {
		return again, why
	}
	return false, mayfly.Errorf(mayfly.Unavailable, "%w; %w", why, problem).WithHint("%s", mayfly.HintOf(problem))
}

// Route finds who takes calls of a route. A project's route to a service by name
// asks the directory at each call, because the service may have moved. Functions are
// found as Function does, however the route names them.
func (d *Dispatcher) Route(ctx context.Context, r *mayfly.Route) (Target, error) {
	own := time.Duration(r.Timeout)
	switch {
	case r.Function != "":
		return d.functionOf(ctx, r, r.Function)
	case r.Service == "" && r.Project != "":
		return d.subject(r.Subject, own, setting{ofRoute, r.Name}), nil
	case r.Project == "":
		return d.subject(r.Subject, own, setting{ofEndpoint, r.Name}), nil
	case r.Endpoint == mayfly.FunctionEndpoint:
		if f, building := d.options.Functions.Function(mayfly.Name(r.Service)); f != nil || building {
			return d.functionOf(ctx, r, mayfly.Name(r.Service))
		}
	}
	e, err := d.lookup(ctx, r.Service, r.Endpoint, own)
	if err != nil {
		return Target{}, mayfly.Errorf(mayfly.Unavailable, "route %q has no target: %w", r.Name, err)
	}
	if IsFunction(e) {
		return d.functionOf(ctx, r, mayfly.Name(r.Service))
	}
	pattern, err := mayfly.ParseSubjectPattern(e.Subject)
	if err != nil {
		return Target{}, err
	}
	t := d.subject(pattern, e.Timeout(), setting{ofEndpoint, e.Name})
	if own > 0 {
		t = d.subject(pattern, own, setting{ofRoute, r.Name})
	}
	t.service = r.Service
	return t, nil
}

// functionOf finds a route's function. The route's own timeout may only be shorter.
func (d *Dispatcher) functionOf(ctx context.Context, r *mayfly.Route, name mayfly.Name) (Target, error) {
	t, err := d.Function(ctx, name)
	most := t.Timeout
	if !t.Here {
		most -= mayfly.FunctionGrace
	}
	if own := time.Duration(r.Timeout); err == nil && own > 0 && own < most {
		t.Timeout, t.within, t.setBy = own, own, setting{ofRoute, r.Name}
	}
	return t, err
}

// subject returns the target that answers on a subject. Without a timeout the gateway's
// counts.
func (d *Dispatcher) subject(pattern mayfly.SubjectPattern, timeout time.Duration, setBy setting) Target {
	t := d.target(pattern.String(), timeout)
	if t.setBy = setBy; timeout == 0 {
		t.Timeout, t.setBy = d.options.Timeout, setting{key: "gateway.timeout"}
	}
	t.pattern = pattern
	if name, ok := strings.CutPrefix(t.name, mayfly.SubjectFunctions+"."); ok && !pattern.Wild() {
		t.Function = mayfly.Name(name)
	}
	d.bound(&t)
	return t
}

func (d *Dispatcher) target(subject string, timeout time.Duration) Target {
	return Target{
		Timeout: timeout, MaxBody: d.options.MaxBody, Limit: "gateway.maxbody",
		name: subject, subject: mayfly.Subject(subject),
	}
}

// bound keeps the body of a call over the bus within one message.
func (d *Dispatcher) bound(t *Target) {
	if most := d.caller.MaxPayload(); most < t.MaxBody {
		t.MaxBody, t.Limit = most, "the NATS server's max_payload"
	}
}

// Wild reports whether the target's subject has wildcards, which Fill fills.
func (t *Target) Wild() bool { return t.pattern.Wild() }

// Fill puts values in the place of the subject's wildcards, if it has any. Errors:
// NotFound for too few or too many, Invalid for one that cannot be in a subject.
func (t *Target) Fill(values []string) (err error) {
	if t.Wild() {
		t.subject, err = t.pattern.Fill(values)
	}
	return err
}

// TooLarge returns the error for a body that is larger than MaxBody.
func (t *Target) TooLarge() error {
	return mayfly.Errorf(mayfly.Invalid, "the body is larger than %d bytes (%s): %w", t.MaxBody, t.Limit, mayfly.ErrTooLarge)
}

// Call makes the call, whose Subject and Deadline it sets. A function of this node
// counts its own timeout, from the end of the request. Errors, besides those of the
// function or the bus: Exhausted where the target has all the calls it can answer
// in time.
func (d *Dispatcher) Call(ctx context.Context, t *Target, c mayfly.Call) (mayfly.Reply, error) {
	if t.Here {
		held := c // c itself does not escape
		held.Subject = t.subject
		if t.within > 0 {
			held.Deadline = time.Now().Add(t.within)
		}
		return d.options.Functions.Call(ctx, t.Function, &held)
	}
	c.Deadline = time.Now().Add(t.Timeout)
	d.address(t, &c)
	reply, err := d.admission.call(ctx, d.caller, t.name, c)
	for again := true; again && errors.Is(err, mayfly.ErrNobody); {
		if again, err = d.another(ctx, t, &c, err); again {
			reply, err = d.admission.call(ctx, d.caller, t.name, c)
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded):
		err = t.late(err)
	case errors.Is(err, mayfly.ErrSilent):
		d.directory.Doubt(t.Function)
	}
	return reply, d.removed(t, err)
}

// another reports whether a call that nothing took gets another try: a node may just have
// left, or a service be on its way.
func (d *Dispatcher) another(ctx context.Context, t *Target, c *mayfly.Call, nobody error) (again bool, err error) {
	if t.Function == "" {
		return d.await(ctx, t.service, c.Deadline, nobody)
	}
	again = c.Once
	c.Subject, c.Once = t.subject, false
	return again, nobody
}

// late returns the error for a reply that did not come in time, with what sets the time.
func (t *Target) late(cause error) error {
	e := mayfly.Errorf(mayfly.Timeout, "no reply on subject %q within %s", t.subject, t.Timeout).
		WithHint("it may still be working; raise %s%s (now %s), or check its log", t.setBy.key, t.setBy.of, t.Timeout)
	e.Err = cause
	return e
}

// address says where to send a call: a function's subject is its group's, unless a node in
// it is silent. Then the call goes to one that answers, and to the group if that is gone.
func (d *Dispatcher) address(t *Target, c *mayfly.Call) {
	c.Subject = t.subject
	if t.Function == "" {
		return
	}
	at, signs := d.directory.Reach(t.Function)
	c.Subject, c.Signs, c.Once = cmp.Or(at, t.subject), signs, at != ""
}

// Send makes the call without waiting for a reply: it is sent, not stored.
func (d *Dispatcher) Send(ctx context.Context, t *Target, c mayfly.Call) error {
	c.Deadline = time.Now().Add(t.Timeout)
	d.address(t, &c)
	err := d.caller.Send(ctx, c)
	for again := true; again && errors.Is(err, mayfly.ErrNobody); {
		if again, err = d.another(ctx, t, &c, err); again {
			err = d.caller.Send(ctx, c)
		}
	}
	return d.removed(t, err)
}

// removed returns err, or that there is no such function if nothing listens for one that
// is not deployed: the directory learns of its end later than the registry.
func (d *Dispatcher) removed(t *Target, err error) error {
	if !errors.Is(err, mayfly.ErrNobody) {
		return err
	}
	name, ok := strings.CutPrefix(string(t.subject), mayfly.SubjectFunctions+".")
	if !ok || d.options.Functions.Deployed(mayfly.Name(name)) {
		return err
	}
	return NoFunction(name)
}

// IsFunction reports whether an endpoint is that of a function.
func IsFunction(e mayfly.Endpoint) bool {
	return strings.HasPrefix(e.Subject, mayfly.SubjectFunctions+".")
}

// NoFunction returns the error for a name that no function has.
func NoFunction(name string) error {
	return mayfly.Errorf(mayfly.NotFound, "no function %q", name).
		WithHint("run mayfly list to see what is running; services are at /svc/<service>/<endpoint>")
}
