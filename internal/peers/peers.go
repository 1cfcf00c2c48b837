package peers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
)

// Limits for a node to report a state, and to start a function on top of the function's
// own start time: it may have to fetch the bundle first. The asking side waits askLonger
// more, so that it gets the node's own error.
const (
	stateTimeout   = 2 * time.Second
	prepareTimeout = time.Minute
	askLonger      = 10 * time.Second
)

func prepareSubject(node string) string { return mayfly.SubjectNode + "." + node + ".prepare" }
func stateSubject(node string) string   { return mayfly.SubjectNode + "." + node + ".state" }

// startTimeout returns how long a node may take to start f.
func startTimeout(f mayfly.Unit) time.Duration {
	return prepareTimeout + time.Duration(f.WithDefaults().Instances.Start)
}

// Peers asks the nodes on a bus.
type Peers struct{ bus *bus.Bus }

// New returns the nodes on b.
func New(b *bus.Bus) Peers { return Peers{b} }

// List returns the nodes that answer, by id. An empty bus is not an error.
func (p Peers) List(ctx context.Context) ([]Node, error) {
	var all []Node
	err := p.bus.GatherQuick(ctx, mayfly.SubjectNodes, 0, func(a bus.Answer) {
		if n, ok := parseNode(a.Body); ok {
			all = append(all, n)
		}
	})
	slices.SortStableFunc(all, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b Node) bool { return a.ID == b.ID }), err
}

// Routes returns the routes of all nodes that answer, each node's in its gateway's
// order of precedence, and how many nodes that are.
func (p Peers) Routes(ctx context.Context) (routes []Route, nodes int, err error) {
	answers, err := p.bus.Gather(ctx, mayfly.SubjectRoutes)
	for _, a := range answers {
		routes = append(routes, parseRoutes(a.Body)...)
	}
	return routes, len(answers), err
}

// Prepare has a node start an instance of f and returns why that failed.
func (p Peers) Prepare(ctx context.Context, n Node, f mayfly.Unit) error {
	question, err := prepareQuestion(n, f)
	if err != nil {
		return err
	}
	_, err = p.ask(ctx, n.ID, prepareSubject(n.ID), question, startTimeout(f)+askLonger)
	return err
}

// State returns the state of a unit on a node, or NotFound if the node has none with that
// name.
func (p Peers) State(ctx context.Context, node, name string) (State, error) {
	answer, err := p.ask(ctx, node, stateSubject(node), []byte(name), stateTimeout)
	if err != nil {
		return State{}, err
	}
	return parseState(node, answer)
}

// ask sends one node a question. The error is the node's own, or says that it did not
// answer.
func (p Peers) ask(ctx context.Context, node, subject string, question []byte, wait time.Duration) ([]byte, error) {
	reply, err := p.bus.Ask(ctx, mayfly.Call{Subject: mayfly.Subject(subject), Body: question, Deadline: time.Now().Add(wait)})
	if err != nil {
		return nil, fmt.Errorf("ask node %s: %w", node, err)
	}
	return reply.Body, reply.Err()
}
