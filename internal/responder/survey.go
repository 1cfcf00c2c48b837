package responder

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/micro"
)

// survey answers discovery until ctx ends.
func (p *Responder) survey(ctx context.Context, questions <-chan bus.Inbound) {
	for {
		select {
		case <-ctx.Done():
			return
		case in := <-questions:
			if in.WantsReply() {
				p.answer(in)
			}
		}
	}
}

// answer answers one question for all services that it is for.
func (p *Responder) answer(in bus.Inbound) {
	verb, who := micro.ParseSubject(in.Subject())
	for _, s := range p.asked(who) {
		count := func() []micro.EndpointStatistics { return p.count(s) }
		if err := in.Respond(micro.Encode(verb, s.Service, count)); err != nil {
			return // without a server there is no one to answer
		}
	}
}

// asked returns the services that a question is for: all, those with a name, or the
// one with a name and an id.
func (p *Responder) asked(who []string) []*service {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if len(who) > 0 {
		s := p.shown[mayfly.Name(who[0])]
		if s == nil || len(who) > 1 && who[1] != s.ID {
			return nil
		}
		return []*service{s}
	}
	all := make([]*service, 0, len(p.shown))
	for _, s := range p.shown {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *service) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// count returns the statistics of a function's one endpoint.
func (p *Responder) count(s *service) []micro.EndpointStatistics {
	e := s.Endpoints[0]
	n, _ := p.runner.Stats(s.Name) // zero for one that has just gone
	out := micro.EndpointStatistics{
		Name: e.Name, Subject: e.Subject, Queue: e.Queue,
		Requests: n.Requests, Errors: n.Errors, LastError: n.LastError, Time: n.Processing,
		Live: micro.Live{
			Engine: s.function.Engine, Instances: n.Instances,
			InFlight: n.InFlight, Waiting: n.Waiting, Rejected: n.Rejected, Crashes: n.Crashes, Failing: n.Failing,
		},
	}
	if n.Requests > 0 {
		out.Average = out.Time / time.Duration(n.Requests)
	}
	return []micro.EndpointStatistics{out}
}
