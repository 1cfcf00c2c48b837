package node

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// A Listed is what a node answers to mayfly.SubjectNodes.
type Listed struct {
	Node     string            `json:"node"`
	Platform string            `json:"platform"`
	Version  string            `json:"version"`
	Limiter  string            `json:"limiter"` // how memory limits are kept: cgroup, rss or none
	Labels   map[string]string `json:"labels,omitempty"`
}

// PrepareSubject returns the subject that asks a node to start a revision. The
// question is a mayfly.Function as JSON. The answer is empty, or the error that
// kept it from starting.
func PrepareSubject(node string) string { return mayfly.SubjectNode + "." + node + ".prepare" }

// SubjectOfState returns the subject that asks a node for the runner.State of a
// function or service, by its name.
func SubjectOfState(node string) string { return mayfly.SubjectNode + "." + node + ".state" }

// prepareTimeout bounds a deploy's question beyond the function's own time to start:
// the bundle may have to be fetched.
const prepareTimeout = time.Minute

// questions answers what other nodes and the command line ask this node.
type questions struct {
	node     *Node
	listener *bus.Listener
	log      *slog.Logger
}

func newQuestions(ctx context.Context, n *Node, log *slog.Logger) (*questions, error) {
	listener, err := n.bus.Listen(ctx)
	if err != nil {
		return nil, err
	}
	q := &questions{node: n, listener: listener, log: log}
	err = listener.Change([]bus.Interest{
		{Subject: mayfly.SubjectNodes},
		{Subject: PrepareSubject(n.id())},
		{Subject: SubjectOfState(n.id())},
	}, nil)
	if err != nil {
		listener.Close()
		return nil, err
	}
	return q, nil
}

// Run answers until ctx ends.
func (q *questions) Run(ctx context.Context) error {
	var asked sync.WaitGroup
	for {
		in, ok := q.listener.Next(ctx)
		if !ok {
			break
		}
		asked.Go(func() {
			if err := q.answer(ctx, in); err != nil {
				q.log.Debug("answer not sent", telemetry.KeyErr, err)
			}
		})
	}
	asked.Wait()
	return nil
}

func (q *questions) close() error { return q.listener.Close() }

func (q *questions) answer(ctx context.Context, in bus.Inbound) error {
	body := in.Call().Body
	switch {
	case in.Subject() == mayfly.SubjectNodes:
		return q.respond(in, Listed{
			Node: q.node.id(), Platform: mayfly.Platform(), Version: q.node.options.Version, Limiter: q.node.keeper.Limiter(), Labels: q.node.labels,
		})
	case strings.HasSuffix(in.Subject(), ".prepare"):
		var f mayfly.Function
		if err := json.Unmarshal(body, &f); err != nil {
			return in.Fail(mayfly.Errorf(mayfly.Invalid, "the question is no function: %w", err), true)
		}
		ctx, cancel := context.WithTimeout(ctx, prepareTimeout+time.Duration(f.WithDefaults().Instances.Start))
		defer cancel()
		if err := q.node.runner.Prepare(ctx, f, q.node.deployment.bundle(f.Program)); err != nil {
			return in.Fail(err, true)
		}
		return in.Respond(nil)
	default:
		state, ok := q.node.runner.State(string(body))
		if !ok {
			return in.Fail(mayfly.Errorf(mayfly.NotFound, "nothing here is named %q", body), false)
		}
		return q.respond(in, state)
	}
}

func (q *questions) respond(in bus.Inbound, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return in.Fail(mayfly.Errorf(mayfly.Internal, "write JSON: %w", err), false)
	}
	return in.Respond(data)
}
