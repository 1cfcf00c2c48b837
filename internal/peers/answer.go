package peers

import (
	"bytes"
	"encoding/json"
	"maps"
	"time"

	"github.com/mayfly-run/mayfly"
)

// Version is the version of the answers' format, their v.
const Version = 1

// Values of Node.Account.
const (
	AccountOwn    = "own"
	AccountShared = "shared"
)

// A Node is what a node reports about itself.
type Node struct {
	V        int               `json:"v"`
	ID       string            `json:"node"` // the same at every start
	Name     string            `json:"name,omitempty"`
	Platform string            `json:"platform"`         // see mayfly.Platform
	Version  string            `json:"version"`          // of Mayfly
	Limiter  string            `json:"limiter"`          // how memory limits are enforced: cgroup, rss or none
	Started  time.Time         `json:"started,omitzero"` // zero if the node does not say
	Labels   map[string]string `json:"labels,omitempty"`
	Account  string            `json:"account,omitempty"` // where Mayfly's state is: own, or shared with users

	Store   bool   `json:"store,omitempty"`   // its NATS server is embedded, and stores what is deployed
	Unready string `json:"unready,omitempty"` // why it cannot store anything now; "" if it can
	Hint    string `json:"hint,omitempty"`    // what to do about that

	Units []Condition `json:"units,omitempty"` // its services, and the functions that do not answer

	Key []byte `json:"key,omitempty"` // public key that questions to it are sealed with; new at each start

	Raw json.RawMessage `json:"-"` // the answer as received, to pass on
}

// Values of Condition.State.
const (
	Building = "building" // for the first time
	Failed   = "failed"   // to build, and nothing earlier serves
	Starting = "starting"
	Failing  = "failing" // its instances end or do not start
	Running  = "running"
)

// A Condition is how a unit of a node is doing.
type Condition struct {
	Name      string    `json:"name"`
	Kind      string    `json:"kind"`     // function or service
	Revision  uint64    `json:"revision"` // 0 in development
	State     string    `json:"state"`
	Since     time.Time `json:"since,omitzero"`  // what is under way began
	Instances int       `json:"instances"`       // that are ready
	Error     string    `json:"error,omitempty"` // why it failed or fails, in one line
}

// A Route is one route of a node's gateway.
type Route struct {
	V        int    `json:"v"`
	Node     string `json:"node"` // its name
	Pattern  string `json:"pattern"`
	Target   string `json:"target"`
	Name     string `json:"name"`
	Origin   string `json:"origin"`             // "project shop" or "metadata"
	Shadowed string `json:"shadowed,omitempty"` // why it is not in force

	Raw json.RawMessage `json:"-"` // the answer as received, to pass on
}

// A State is the state of a unit on a node. Its env has names alone.
type State struct {
	V    int          `json:"v"`
	Unit *mayfly.Unit `json:"-"` // that should run; nil while it only stops

	Serving   uint64     `json:"serving"`           // revision that answers: an older one while the current one fails; 0 if none does
	Failing   string     `json:"failing,omitempty"` // why the last start or instance failed, in one line
	Rests     time.Time  `json:"rests,omitzero"`    // nothing starts before
	Waiting   int        `json:"waiting"`           // calls
	Instances []Instance `json:"instances"`         // those starting, working and stopping, the oldest first
}

// An Instance is the state of one instance.
type Instance struct {
	ID       string    `json:"id"`
	Revision uint64    `json:"revision"`
	Phase    string    `json:"phase"`   // starting, ready or stopping
	Started  time.Time `json:"started"` // when its start began
	Calls    int       `json:"calls"`   // in progress
	Usage    Usage     `json:"usage"`
}

// Usage is what an instance uses of the machine.
type Usage struct {
	PID    int           `json:"pid"`    // 0 if there is no process between calls
	Memory int64         `json:"memory"` // bytes resident, children included
	CPU    time.Duration `json:"cpu"`    // nanoseconds used so far
}

// A stateAnswer is a State as it is sent: each kind of unit has a key of its own.
type stateAnswer[U any] struct {
	State
	Function U `json:"function,omitempty"`
	Hosted   U `json:"hosted,omitempty"`
}

// answer returns s as it is sent.
func (s State) answer() stateAnswer[*mayfly.Unit] {
	s.V = Version
	s = s.withoutValues()
	a := stateAnswer[*mayfly.Unit]{State: s}
	if s.Unit != nil && s.Unit.Kind == mayfly.KindService {
		a.Hosted = s.Unit
	} else {
		a.Function = s.Unit
	}
	return a
}

// Current returns the revision that should answer; 0 in development.
func (s State) Current() uint64 {
	if s.Unit == nil {
		return 0
	}
	return s.Unit.Revision
}

// Developed reports whether the node serves a unit in development.
func (s State) Developed() bool { return s.Unit != nil && s.Current() == 0 }

// withoutValues returns a copy of s whose env has names alone: users put secrets there.
func (s State) withoutValues() State {
	if s.Unit != nil {
		u := *s.Unit
		u.Env = namesOf(u.Env)
		s.Unit = &u
	}
	return s
}

// namesOf returns env with each value empty.
func namesOf(env map[string]string) map[string]string {
	env = maps.Clone(env)
	for name := range env {
		env[name] = ""
	}
	return env
}

// parseState reads a node's answer.
func parseState(node string, data []byte) (State, error) {
	var read stateAnswer[json.RawMessage]
	err := json.Unmarshal(data, &read)
	s := read.State
	if s.V > Version {
		return State{}, mayfly.Errorf(mayfly.Unavailable, "node %s answers in format %d, and this Mayfly knows formats up to %d", node, s.V, Version).
			WithHint("update this Mayfly; run mayfly nodes to see the version of each node")
	}
	if err == nil {
		s.Unit, err = parseUnit(mayfly.KindFunction, read.Function)
	}
	if err == nil && s.Unit == nil {
		s.Unit, err = parseUnit(mayfly.KindService, read.Hosted)
	}
	if err != nil {
		return State{}, mayfly.Errorf(mayfly.Internal, "cannot parse the answer of node %s: %w", node, err).
			WithHint("compare its version with yours: mayfly nodes, mayfly version")
	}
	return s.withoutValues(), nil
}

// parseUnit reads a unit of one kind. One without a name is absent: the build before sends
// both kinds, and one of them empty.
func parseUnit(kind mayfly.Kind, data json.RawMessage) (*mayfly.Unit, error) {
	var named struct {
		Name string `json:"name"`
	}
	if len(data) == 0 || json.Unmarshal(data, &named) == nil && named.Name == "" {
		return nil, nil
	}
	u := &mayfly.Unit{Kind: kind}
	return u, json.Unmarshal(data, u)
}

// parseNode reads what a node reports about itself. It rejects an id that is not a name:
// any client may answer, and the id becomes part of a subject.
func parseNode(data []byte) (Node, bool) {
	n := Node{Raw: validText(data)}
	if json.Unmarshal(data, &n) != nil {
		return n, false
	}
	_, err := mayfly.ParseName(n.ID)
	return n, err == nil
}

// parseRoutes reads the routes of one node.
func parseRoutes(data []byte) (routes []Route) {
	var all []json.RawMessage
	if json.Unmarshal(data, &all) != nil {
		return nil
	}
	for _, one := range all {
		if r := (Route{Raw: validText(one)}); json.Unmarshal(one, &r) == nil {
			routes = append(routes, r)
		}
	}
	return routes
}

// validText makes foreign JSON safe to print: encoding/json passes on raw bytes that are
// not UTF-8.
func validText(data []byte) []byte { return bytes.ToValidUTF8(data, []byte("\ufffd")) }
