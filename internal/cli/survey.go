package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/micro"
	"github.com/mayfly-run/mayfly/internal/nearest"
	"github.com/mayfly-run/mayfly/internal/peers"
)

// isFunction tells a function from a service: its subject is below fn.
func isFunction(s mayfly.Service) bool {
	return slices.ContainsFunc(s.Endpoints, func(e mayfly.Endpoint) bool { return ofFunction(e.Subject) })
}

func ofFunction(subject string) bool { return strings.HasPrefix(subject, mayfly.SubjectFunctions+".") }

func kindOf(function bool) string {
	if function {
		return "function"
	}
	return "service"
}

// checkName rejects a name that cannot be one token of a subject.
func checkName(name string) error {
	if s, err := mayfly.ParseSubject(name); err != nil || strings.Contains(string(s), ".") {
		return mayfly.Errorf(mayfly.Invalid, "%q is not a valid name", mayfly.Clip(name)).
			WithHint("use a name without spaces, dots or wildcards; run mayfly list to see them")
	}
	return nil
}

// nobodyCalled returns the error for a name that no service or function has, with the
// nearest existing one.
func nobodyCalled(ctx context.Context, b *bus.Bus, name string) error {
	names, err := answering(ctx, b)
	if err != nil {
		return err
	}
	if slices.Contains(names, name) { // it answered late, or has just started
		return mayfly.Errorf(mayfly.Unavailable, "%s did not answer in time", name).WithHint("try again")
	}
	return cmp.Or(notAnswering(ctx, b, name), noSuchName(name, names))
}

// answering returns the names of the services and functions that answer.
func answering(ctx context.Context, b *bus.Bus) (names []string, err error) {
	pings := micro.Pings(b)
	if err := pings.Ask(ctx, ""); err != nil {
		return nil, err
	}
	for _, a := range pings.Answers() {
		names = append(names, a.Name)
	}
	return names, nil
}

// noSuchName returns the error for a name that is none of the existing ones.
func noSuchName(name string, names []string) error {
	return mayfly.Errorf(mayfly.NotFound, "no service or function %q", name).
		WithHint("%s", nearest.Hint(name, names, "run mayfly list to see what is running"))
}

// condition returns how a function or service is doing that a node tells of: it is on its way,
// it failed, or it is a service.
func condition(ctx context.Context, b *bus.Bus, name string) (peers.Condition, bool) {
	nodes, _ := peers.New(b).List(ctx) // without a login for their account they tell nothing
	for _, n := range nodes {
		for _, c := range n.Units {
			if c.Name == name {
				return c, true
			}
		}
	}
	return peers.Condition{}, false
}

// onItsWay reports whether a unit may answer soon.
func onItsWay(c peers.Condition) bool { return c.State == peers.Building || c.State == peers.Starting }

// notAnswering returns why a function or service of a node does not answer, or nil if no
// node has that name.
func notAnswering(ctx context.Context, b *bus.Bus, name string) error {
	if c, ok := condition(ctx, b, name); ok {
		return problem(c)
	}
	return nil
}

// problem returns why a unit does not answer.
func problem(c peers.Condition) error {
	switch took := time.Since(c.Since).Round(time.Second); c.State {
	case peers.Building, peers.Starting:
		return mayfly.Errorf(mayfly.Unavailable, "%s %q has been %s for %s", c.Kind, c.Name, c.State, took).WithHint("try again soon")
	case peers.Failed:
		return mayfly.Errorf(mayfly.Crashed, "%s %q failed: %s", c.Kind, c.Name, c.Error).WithHint("see the terminal of mayfly up")
	case peers.Failing:
		return mayfly.Errorf(mayfly.Crashed, "%s %q does not run: %s", c.Kind, c.Name, c.Error).WithHint("see mayfly logs %s", c.Name)
	default:
		return mayfly.Errorf(mayfly.NotFound, "service %q runs, but does not answer discovery ($SRV)", c.Name).
			WithHint("call a subject that it listens on: mayfly call --subject SUBJECT")
	}
}
