package peers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"time"

	"github.com/mayfly-run/mayfly"
)

// Version is the version of the answers' format, their v.
const Version = 1

// A Node is what a node says of itself.
type Node struct {
	V        int               `json:"v"`
	ID       string            `json:"node"` // the same at every start
	Name     string            `json:"name,omitempty"`
	Platform string            `json:"platform"`         // see mayfly.Platform
	Version  string            `json:"version"`          // of Mayfly
	Limiter  string            `json:"limiter"`          // how memory limits are enforced: cgroup, rss or none
	Started  time.Time         `json:"started,omitzero"` // zero where the node does not say
	Labels   map[string]string `json:"labels,omitempty"`

	Key []byte `json:"key,omitempty"` // public key that questions to it are sealed with; new at each start

	Raw json.RawMessage `json:"-"` // the answer as it came, to pass on
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

	Raw json.RawMessage `json:"-"` // the answer as it came, to pass on
}

// A State is how a function or service is doing on a node. Env of its program has
// names alone.
type State struct {
	V        int              `json:"v"`
	Function *mayfly.Function `json:"function,omitempty"` // or
	Hosted   *mayfly.Hosted   `json:"hosted,omitempty"`   // of the name; both nil while it only stops

	Serving   uint64     `json:"serving"`           // revision that answers: an older one while the current one fails; 0 if none does
	Failing   string     `json:"failing,omitempty"` // why the last start or instance failed, in one line
	Rests     time.Time  `json:"rests,omitzero"`    // nothing starts before
	Waiting   int        `json:"waiting"`           // calls
	Instances []Instance `json:"instances"`         // those that start, work and stop, the oldest first
}

// An Instance is what one instance looks like.
type Instance struct {
	ID       string    `json:"id"`
	Revision uint64    `json:"revision"`
	Phase    string    `json:"phase"`   // starting, ready or stopping
	Started  time.Time `json:"started"` // when its start began
	Calls    int       `json:"calls"`   // that it works on
	Usage    Usage     `json:"usage"`
}

// Usage is what an instance takes of the machine.
type Usage struct {
	PID    int           `json:"pid"`    // 0 if there is no process between calls
	Memory int64         `json:"memory"` // bytes resident, children included
	CPU    time.Duration `json:"cpu"`    // nanoseconds used so far
}

// Current returns the revision that should answer; 0 while it is developed.
func (s State) Current() uint64 {
	switch {
	case s.Function != nil:
		return s.Function.Revision
	case s.Hosted != nil:
		return s.Hosted.Revision
	default:
		return 0
	}
}

// Developed reports whether the node serves a developer's own.
func (s State) Developed() bool { return (s.Function != nil || s.Hosted != nil) && s.Current() == 0 }

// withoutValues returns a copy of s whose env has names alone. Users put secrets
// where they should not.
func (s State) withoutValues() State {
	if s.Function != nil {
		f := *s.Function
		f.Env = namesOf(f.Env)
		s.Function = &f
	}
	if s.Hosted != nil {
		h := *s.Hosted
		h.Env = namesOf(h.Env)
		s.Hosted = &h
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
	var read struct {
		State
		Function json.RawMessage `json:"function"`
		Hosted   json.RawMessage `json:"hosted"`
	}
	err := json.Unmarshal(data, &read)
	s := read.State
	if s.V > Version {
		return State{}, mayfly.Errorf(mayfly.Unavailable, "node %s answers in format %d, and this Mayfly knows formats up to %d", node, s.V, Version).
			WithHint("update this Mayfly; mayfly nodes shows the version of each node")
	}
	if err == nil {
		s.Function, err = parsePart[mayfly.Function](read.Function)
	}
	if err == nil {
		s.Hosted, err = parsePart[mayfly.Hosted](read.Hosted)
	}
	if err != nil {
		return State{}, mayfly.Errorf(mayfly.Internal, "cannot parse the answer of node %s: %w", node, err).
			WithHint("compare its version with yours: mayfly nodes, mayfly version")
	}
	return s.withoutValues(), nil
}

// parsePart reads a function or service. One without a name is not there: the build
// before sends both, and one of them empty.
func parsePart[T mayfly.Function | mayfly.Hosted](data json.RawMessage) (*T, error) {
	var named struct {
		Name string `json:"name"`
	}
	if len(data) == 0 || json.Unmarshal(data, &named) == nil && named.Name == "" {
		return nil, nil
	}
	part := new(T)
	return part, json.Unmarshal(data, part)
}

// parseNode reads what a node says of itself. The id becomes part of a subject, and
// anybody may answer, so one that is not a name is refused.
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

// validText makes JSON of others safe to print: encoding/json passes on raw bytes that
// are not UTF-8.
func validText(data []byte) []byte { return bytes.ToValidUTF8(data, []byte("\ufffd")) }

func compareNodes(a, b Node) int { return cmp.Compare(a.ID, b.ID) }
