package dispatch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
)

// A carrier is a bus, a directory and functions that remember the calls they got.
type carrier struct {
	endpoints map[string]mayfly.Endpoint // by service/endpoint
	functions map[mayfly.Name]*mayfly.Unit
	building  mayfly.Name
	deployed  mayfly.Name
	silent    bool // no subject has a responder
	payload   int64
	reach     mayfly.Subject // of a node that answers; "" while all do
	left      bool           // nobody listens there
	signs     bool
	lost      bool // a call falls silent
	doubted   []mayfly.Name
	coming    func() (bool, error) // what Coming returns; nil if nothing is
	meant     string               // service that Coming was asked for
	bus, here []mayfly.Call
}

func (c *carrier) Call(_ context.Context, call mayfly.Call) (mayfly.Reply, error) {
	if c.lost {
		return mayfly.Reply{}, mayfly.Errorf(mayfly.Unavailable, "lost: %w", mayfly.ErrSilent)
	}
	return mayfly.Reply{Status: 200}, c.Send(context.Background(), call)
}

func (c *carrier) Send(_ context.Context, call mayfly.Call) error {
	c.bus = append(c.bus, call)
	if c.silent || c.left && call.Subject == c.reach {
		return mayfly.Errorf(mayfly.Unavailable, "cannot call %s: %w", call.Subject, mayfly.ErrNobody)
	}
	return nil
}

func (c *carrier) MaxPayload() int64 { return c.payload }

func (c *carrier) Lookup(_ context.Context, service, endpoint string) (mayfly.Endpoint, error) {
	if e, ok := c.endpoints[service+"/"+endpoint]; ok {
		return e, nil
	}
	return mayfly.Endpoint{}, mayfly.Errorf(mayfly.NotFound, "no service %q", service)
}

func (c *carrier) Doubt(name mayfly.Name) { c.doubted = append(c.doubted, name) }

func (c *carrier) Reach(mayfly.Name) (mayfly.Subject, bool) { return c.reach, c.signs }

// held are the carrier's functions.
type held struct{ *carrier }

func (h held) Function(name mayfly.Name) (*mayfly.Unit, bool) {
	return h.functions[name], name == h.building
}

func (held) Built(context.Context, mayfly.Name) error {
	return mayfly.Errorf(mayfly.Crashed, "it does not compile")
}

func (h held) Coming(_ context.Context, service string) (bool, error) {
	h.meant = service
	if h.coming == nil {
		return false, nil
	}
	return h.coming()
}

func (h held) Call(_ context.Context, _ mayfly.Name, call *mayfly.Call) (mayfly.Reply, error) {
	h.here = append(h.here, *call)
	return mayfly.Reply{Status: 200}, nil
}

func (h held) Deployed(name mayfly.Name) bool { return name == h.deployed }

func newCarrier() *carrier {
	metadata := map[string]string{mayfly.MetaTimeout: "3s"}
	return &carrier{
		payload: 1 << 20, building: "building",
		functions: map[mayfly.Name]*mayfly.Unit{
			"mine":  {Name: "mine"},
			"large": {Name: "large", Limits: mayfly.Limits{Body: 1 << 30, Timeout: mayfly.Duration(time.Minute)}},
		},
		endpoints: map[string]mayfly.Endpoint{
			"theirs/" + mayfly.FunctionEndpoint: {Name: mayfly.FunctionEndpoint, Subject: "fn.theirs", Metadata: metadata},
			"posing/" + mayfly.FunctionEndpoint: {Name: mayfly.FunctionEndpoint, Subject: "other"},
			"Orders/get":                        {Name: "get", Subject: "orders.*", Metadata: metadata},
			"Orders/bad":                        {Name: "bad", Subject: "$SYS.x"},
		},
	}
}

func TestFunctionIsTakenHereElsewhereOrByNobody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    mayfly.Name
		remote  bool
		code    mayfly.Code // of the error; 0 for none
		here    bool
		timeout time.Duration
	}{
		{name: "mine", here: true, timeout: mayfly.FunctionTimeout},
		{name: "large", here: true, timeout: time.Minute},
		{name: "mine", remote: true, timeout: mayfly.FunctionTimeout + mayfly.FunctionGrace},
		{name: "theirs", timeout: 3*time.Second + mayfly.FunctionGrace},
		{name: "building", code: mayfly.Crashed},
		{name: "posing", code: mayfly.NotFound},
		{name: "nobody", code: mayfly.NotFound},
	} {
		c := newCarrier()
		d := New(c, c, Options{Functions: held{c}, Remote: tt.remote})
		target, err := d.Function(t.Context(), tt.name)
		if tt.code != 0 {
			if mayfly.CodeOf(err) != tt.code {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || target.Here != tt.here || target.Timeout != tt.timeout {
			t.Errorf("%s: %+v, %v", tt.name, target, err)
			continue
		}
		before := time.Now()
		if _, err := d.Call(t.Context(), &target, mayfly.Call{}); err != nil {
			t.Error(err)
		}
		if tt.here {
			if len(c.bus) != 0 || len(c.here) != 1 || !c.here[0].Deadline.IsZero() {
				t.Errorf("%s: here %+v, on the bus %+v", tt.name, c.here, c.bus)
			}
			continue
		}
		if len(c.here) != 0 || len(c.bus) != 1 || c.bus[0].Subject != mayfly.Subject("fn."+tt.name) || c.bus[0].Deadline.Before(before.Add(tt.timeout)) {
			t.Errorf("%s: here %+v, on the bus %+v", tt.name, c.here, c.bus)
		}
	}
}

func TestRouteFindsItsTarget(t *testing.T) {
	t.Parallel()
	subject := func(s string) mayfly.SubjectPattern {
		p, err := mayfly.ParseSubjectPattern(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, tt := range []struct {
		name    string
		route   mayfly.Route
		values  []string
		code    mayfly.Code
		subject mayfly.Subject
		timeout time.Duration
	}{
		{name: "a subject", route: mayfly.Route{Subject: subject("a.b")}, subject: "a.b", timeout: 5 * time.Second},
		{name: "wildcards", route: mayfly.Route{Subject: subject("a.*.>"), Timeout: mayfly.Duration(time.Second)}, values: []string{"1", "2", "3"}, subject: "a.1.2.3", timeout: time.Second},
		{name: "too few values", route: mayfly.Route{Subject: subject("a.*")}, code: mayfly.NotFound},
		{name: "a service", route: mayfly.Route{Project: "p", Service: "Orders", Endpoint: "get"}, values: []string{"7"}, subject: "orders.7", timeout: 3 * time.Second},
		{name: "its own timeout", route: mayfly.Route{Project: "p", Service: "Orders", Endpoint: "get", Timeout: mayfly.Duration(time.Minute)}, values: []string{"7"}, subject: "orders.7", timeout: time.Minute},
		{name: "metadata knows its subject", route: mayfly.Route{Service: "Gone", Endpoint: "x", Subject: subject("x")}, subject: "x", timeout: 5 * time.Second},
		{name: "no service", route: mayfly.Route{Name: "r", Project: "p", Service: "Gone", Endpoint: "x"}, code: mayfly.Unavailable},
		{name: "a subject of NATS", route: mayfly.Route{Project: "p", Service: "Orders", Endpoint: "bad"}, code: mayfly.Invalid},
		{name: "a function as a service", route: mayfly.Route{Project: "p", Service: "theirs", Endpoint: "call"}, subject: "fn.theirs", timeout: 3*time.Second + mayfly.FunctionGrace},
		{name: "a function's shorter timeout", route: mayfly.Route{Function: "theirs", Timeout: mayfly.Duration(time.Second)}, subject: "fn.theirs", timeout: time.Second},
		{name: "a function's own timeout", route: mayfly.Route{Function: "theirs", Timeout: mayfly.Duration(3 * time.Second)}, subject: "fn.theirs", timeout: 3*time.Second + mayfly.FunctionGrace},
		{name: "a function", route: mayfly.Route{Function: "theirs"}, subject: "fn.theirs", timeout: 3*time.Second + mayfly.FunctionGrace},
	} {
		c := newCarrier()
		d := New(c, c, Options{Functions: held{c}})
		target, err := d.Route(t.Context(), &tt.route)
		if err == nil {
			err = target.Fill(tt.values)
		}
		if tt.code != 0 || err != nil {
			if tt.code == 0 || mayfly.CodeOf(err) != tt.code {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err := d.Send(t.Context(), &target, mayfly.Call{}); err != nil || c.bus[0].Subject != tt.subject || target.Timeout != tt.timeout {
			t.Errorf("%s: %+v, %+v, %v", tt.name, c.bus, target, err)
		}
	}
	c := newCarrier()
	if _, err := New(c, c, Options{}).Endpoint(t.Context(), "theirs", mayfly.FunctionEndpoint); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Errorf("a function is found as a service: %v", err)
	}
}

// A route takes the way that /fn/<name> takes, however it names the function.
func TestRouteToFunctionStaysHere(t *testing.T) {
	t.Parallel()
	second := mayfly.Duration(time.Second)
	for _, r := range []mayfly.Route{
		{Project: "p", Function: "mine"}, {Project: "p", Service: "mine", Endpoint: "call"}, {Project: "p", Function: "mine", Timeout: second},
	} {
		c := newCarrier()
		d := New(c, c, Options{Functions: held{c}})
		target, err := d.Route(t.Context(), &r)
		if err != nil || !target.Here || target.Function != "mine" {
			t.Fatalf("%+v: %+v, %v", r, target, err)
		}
		if _, err := d.Call(t.Context(), &target, mayfly.Call{}); err != nil || len(c.here) != 1 || c.here[0].Deadline.IsZero() != (r.Timeout == 0) {
			t.Errorf("%+v: %+v, %v", r, c.here, err)
		}
	}
}

func TestLateReplyNamesWhatSetsItsTime(t *testing.T) {
	t.Parallel()
	subject, _ := mayfly.ParseSubjectPattern("a")
	second := mayfly.Duration(time.Second)
	for _, tt := range []struct {
		route mayfly.Route
		want  string
	}{
		{mayfly.Route{Name: "r", Project: "p", Subject: subject}, "raise gateway.timeout (now 5s)"},
		{mayfly.Route{Name: "r", Project: "p", Subject: subject, Timeout: second}, "raise `timeout:` in mayfly.yaml of route r (now 1s)"},
		{mayfly.Route{Name: "r", Project: "p", Service: "Orders", Endpoint: "get"}, "raise mayfly.timeout in the metadata of endpoint get (now 3s)"},
		{mayfly.Route{Name: "r", Project: "p", Function: "theirs"}, "raise `timeout:` in mayfly.yaml of function theirs (now 3.5s)"},
	} {
		c := newCarrier()
		d := New(late{c}, c, Options{Functions: held{c}})
		target, err := d.Route(t.Context(), &tt.route)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Call(t.Context(), &target, mayfly.Call{})
		if mayfly.CodeOf(err) != mayfly.Timeout || !strings.Contains(mayfly.HintOf(err), tt.want) || strings.Contains(err.Error(), "context") {
			t.Errorf("%v, hint %q; want %q", err, mayfly.HintOf(err), tt.want)
		}
	}
}

// A late carrier's replies do not come.
type late struct{ *carrier }

func (late) Call(context.Context, mayfly.Call) (mayfly.Reply, error) {
	return mayfly.Reply{}, mayfly.Errorf(mayfly.Timeout, "no reply: %w", context.DeadlineExceeded)
}

func TestBodyLimitIsTheSmallestBound(t *testing.T) {
	t.Parallel()
	c := newCarrier()
	d := New(c, c, Options{Functions: held{c}, MaxBody: 4 << 20})
	for _, tt := range []struct {
		name  mayfly.Name
		most  int64
		limit string
	}{
		{"mine", 4 << 20, "gateway.maxbody"},
		{"large", 1 << 30, "the function's `body`"},
		{"theirs", 1 << 20, "the NATS server's max_payload"},
	} {
		target, err := d.Function(t.Context(), tt.name)
		if err != nil || target.MaxBody != tt.most || target.Limit != tt.limit {
			t.Errorf("%s: %+v, %v", tt.name, target, err)
		}
		if err := target.TooLarge(); !errors.Is(err, mayfly.ErrTooLarge) || mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// The directory still lists a function that was just removed.
func TestRemovedFunctionIsNotFound(t *testing.T) {
	t.Parallel()
	subject, err := mayfly.ParseSubjectPattern("fn.theirs")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		deployed mayfly.Name
		want     mayfly.Code
	}{
		{"removed", "", mayfly.NotFound},
		{"deployed, and down", "theirs", mayfly.Unavailable},
	} {
		c := newCarrier()
		c.silent, c.deployed = true, tt.deployed
		d := New(c, c, Options{Functions: held{c}})
		byName, err := d.Function(t.Context(), "theirs")
		if err != nil {
			t.Fatal(err)
		}
		byRoute, err := d.Route(t.Context(), &mayfly.Route{Name: "theirs", Subject: subject})
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range []Target{byName, byRoute} {
			if _, err := d.Call(t.Context(), &target, mayfly.Call{}); mayfly.CodeOf(err) != tt.want {
				t.Errorf("%s: call = %v, want code %v", tt.name, err, tt.want)
			}
			if err := d.Send(t.Context(), &target, mayfly.Call{}); mayfly.CodeOf(err) != tt.want {
				t.Errorf("%s: send = %v, want code %v", tt.name, err, tt.want)
			}
		}
		service, err := d.Endpoint(t.Context(), "Orders", "get")
		if err != nil || service.Fill([]string{"7"}) != nil {
			t.Fatal(err)
		}
		if _, err := d.Call(t.Context(), &service, mayfly.Call{}); !errors.Is(err, mayfly.ErrNobody) {
			t.Errorf("%s: call of a service = %v", tt.name, err)
		}
	}
}

// While a node is silent, calls go to one that answers, and back to the group if that
// one has left.
func TestSilentNodeGetsNoNewCalls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		reach mayfly.Subject
		left  bool
		want  []mayfly.Subject
	}{
		{"all answer", "", false, []mayfly.Subject{"fn.theirs"}},
		{"one is silent", "fn.theirs.a", false, []mayfly.Subject{"fn.theirs.a"}},
		{"the other has left", "fn.theirs.a", true, []mayfly.Subject{"fn.theirs.a", "fn.theirs"}},
	} {
		c := newCarrier()
		c.reach, c.left, c.signs = tt.reach, tt.left, true
		d := New(c, c, Options{Functions: held{c}})
		byName, err := d.Function(t.Context(), "theirs")
		if err != nil {
			t.Fatal(err)
		}
		pattern, _ := mayfly.ParseSubjectPattern("fn.theirs")
		byRoute, err := d.Route(t.Context(), &mayfly.Route{Subject: pattern})
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range []Target{byName, byRoute} {
			c.bus = nil
			if _, err := d.Call(t.Context(), &target, mayfly.Call{}); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			var got []mayfly.Subject
			for _, call := range c.bus {
				got = append(got, call.Subject)
				if !call.Signs {
					t.Errorf("%s: the bus does not know of the signs", tt.name)
				}
				if direct := call.Subject == tt.reach; call.Once != direct {
					t.Errorf("%s: %s is called once: %v", tt.name, call.Subject, call.Once)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: called %q, want %q", tt.name, got, tt.want)
			}
		}
	}
}

func TestSilentCallRaisesDoubt(t *testing.T) {
	t.Parallel()
	c := newCarrier()
	c.lost = true
	d := New(c, c, Options{Functions: held{c}})
	target, err := d.Function(t.Context(), "theirs")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Call(t.Context(), &target, mayfly.Call{}); !errors.Is(err, mayfly.ErrSilent) || !slices.Equal(c.doubted, []mayfly.Name{"theirs"}) {
		t.Errorf("error %v, doubted %q", err, c.doubted)
	}
}

// A service that this node is building or starting takes the calls that came too early.
func TestCallsWaitForAServiceOnItsWay(t *testing.T) {
	t.Parallel()
	failed := mayfly.Errorf(mayfly.Crashed, "it does not compile: %w", mayfly.Trace("line 1")).WithHint("mend it")
	subject, _ := mayfly.ParseSubjectPattern("tasks")
	tasks := mayfly.Route{Name: "tasks", Subject: subject, Project: "p"}
	late := mayfly.Route{Name: "late", Service: "Late", Endpoint: "get", Project: "p"}
	for _, tt := range []struct {
		name  string
		meant string
		call  func(d *Dispatcher) error
	}{
		{"a call of a subject", "", func(d *Dispatcher) error {
			target, err := d.Route(t.Context(), &tasks)
			if err == nil {
				_, err = d.Call(t.Context(), &target, mayfly.Call{})
			}
			return err
		}},
		{"one that waits for no reply", "", func(d *Dispatcher) error {
			target, err := d.Route(t.Context(), &tasks)
			if err == nil {
				err = d.Send(t.Context(), &target, mayfly.Call{})
			}
			return err
		}},
		{"an endpoint", "Late", func(d *Dispatcher) error {
			_, err := d.Endpoint(t.Context(), "Late", "get")
			return err
		}},
		{"a route to an endpoint", "Late", func(d *Dispatcher) error {
			_, err := d.Route(t.Context(), &late)
			return err
		}},
	} {
		c := newCarrier()
		d := New(c, c, Options{Functions: held{c}})
		asked := 0
		c.silent, c.coming = true, func() (bool, error) {
			if asked++; asked < 2 {
				return true, nil
			}
			c.silent = false
			c.endpoints["Late/get"] = mayfly.Endpoint{Name: "get", Subject: "late.get"}
			return true, nil
		}
		if err := tt.call(d); err != nil || asked != 2 || c.meant != tt.meant {
			t.Errorf("%s: %v after %d questions about %q", tt.name, err, asked, c.meant)
		}
		c.silent, c.coming = true, func() (bool, error) { return false, failed }
		delete(c.endpoints, "Late/get")
		err := tt.call(d)
		trace, _ := errors.AsType[mayfly.Trace](err)
		if mayfly.CodeOf(err) != mayfly.Unavailable || mayfly.HintOf(err) != "mend it" || trace != "line 1" || !strings.Contains(err.Error(), "it does not compile") {
			t.Errorf("%s: %v (hint %q)", tt.name, err, mayfly.HintOf(err))
		}
	}
}
