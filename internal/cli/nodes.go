package cli

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/deploy"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// How long a node may take: to say how something is doing, and to start a function
// whose code it has to fetch first, besides the function's own time to start.
const (
	stateTimeout   = 2 * time.Second
	prepareTimeout = 70 * time.Second
)

// nodes asks the nodes on a bus. It is a deploy.Nodes.
type nodes struct{ bus *bus.Bus }

// List implements deploy.Nodes.
func (n nodes) List(ctx context.Context) ([]deploy.Node, error) {
	listed, err := n.listed(ctx)
	var all []deploy.Node
	for _, l := range listed {
		all = append(all, deploy.Node{ID: l.Node, Platform: l.Platform, Labels: l.Labels})
	}
	return all, err
}

// listed returns what the nodes say of themselves.
func (n nodes) listed(ctx context.Context) ([]node.Listed, error) {
	var answers []bus.Answer
	err := n.bus.Glance(ctx, mayfly.SubjectNodes, 0, func(a bus.Answer) { answers = append(answers, a) })
	return parseListed(answers), err
}

// parseListed keeps what makes sense, each node once, by id. An id becomes part of a
// subject, so what is none is skipped.
func parseListed(answers []bus.Answer) (all []node.Listed) {
	for _, a := range answers {
		var l node.Listed
		if json.Unmarshal(a.Body, &l) != nil {
			continue
		}
		if _, err := mayfly.ParseName(l.Node); err == nil {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b node.Listed) int { return strings.Compare(a.Node, b.Node) })
	return slices.CompactFunc(all, func(a, b node.Listed) bool { return a.Node == b.Node })
}

// Prepare implements deploy.Nodes.
func (n nodes) Prepare(ctx context.Context, id string, f mayfly.Function) error {
	body, err := json.Marshal(f)
	if err != nil {
		return err
	}
	wait := prepareTimeout + time.Duration(f.WithDefaults().Instances.Start)
	_, err = n.ask(ctx, node.PrepareSubject(id), body, wait)
	return err
}

// State implements deploy.Nodes.
func (n nodes) State(ctx context.Context, id, name string) (deploy.State, error) {
	s, err := n.state(ctx, id, name)
	if err != nil {
		return deploy.State{}, err
	}
	developed := s.Function.Name != "" && s.Function.Revision == 0 || s.Hosted.Name != "" && s.Hosted.Revision == 0
	return deploy.State{Serving: s.Serving, Developed: developed, Failing: s.Failing}, nil
}

// state returns all that a node knows of a function or service.
func (n nodes) state(ctx context.Context, id, name string) (s runner.State, err error) {
	body, err := n.ask(ctx, node.SubjectOfState(id), []byte(name), stateTimeout)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, mayfly.Errorf(mayfly.Internal, "node %s does not make sense: %w", id, err).
			WithHint("is its Mayfly of another version? mayfly version")
	}
	return s, nil
}

// ask sends one node a question. The subject is of our own making.
func (n nodes) ask(ctx context.Context, subject string, body []byte, wait time.Duration) ([]byte, error) {
	reply, err := n.bus.Call(ctx, mayfly.Call{Subject: mayfly.Subject(subject), Body: body, Deadline: time.Now().Add(wait)})
	if err == nil {
		err = reply.Err()
	}
	return reply.Body, err
}
