package responder

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
)

// The questions of discovery, and the types of their answers (ADR-32).
const (
	ping  = "PING"
	info  = "INFO"
	stats = "STATS"

	typePing  = "io.nats.micro.v1.ping_response"
	typeInfo  = "io.nats.micro.v1.info_response"
	typeStats = "io.nats.micro.v1.stats_response"
)

var verbs = []string{ping, info, stats}

// survey answers questions of discovery until ctx ends.
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

// answer answers one question: all functions do, or those with the name, and the
// id, that the subject goes on with.
func (p *Responder) answer(in bus.Inbound) {
	tokens := strings.Split(strings.TrimPrefix(in.Subject(), mayfly.SubjectMicro+"."), ".")
	for _, s := range p.asked(tokens[1:]) {
		if err := in.Respond(p.describe(tokens[0], s)); err != nil {
			return // no server: nobody waits there any more
		}
	}
}

// asked returns the services that a question is for.
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

// identity is what every answer begins with.
type identity struct {
	Type     string            `json:"type"`
	Name     string            `json:"name"`
	ID       string            `json:"id"`
	Version  string            `json:"version"`
	Metadata map[string]string `json:"metadata"`
}

// describe returns what a service says of itself.
func (p *Responder) describe(verb string, s *service) []byte {
	who := identity{Name: s.Name, ID: s.ID, Version: s.Version, Metadata: s.Metadata}
	var answer any
	switch verb {
	case info:
		who.Type = typeInfo
		answer = struct {
			identity
			Description string            `json:"description"`
			Endpoints   []mayfly.Endpoint `json:"endpoints"`
		}{who, s.Description, s.Endpoints}
	case stats:
		who.Type = typeStats
		answer = struct {
			identity
			Started   time.Time       `json:"started"`
			Endpoints []endpointStats `json:"endpoints"`
		}{who, s.Started.UTC(), []endpointStats{p.count(s)}}
	default:
		who.Type = typePing
		answer = who
	}
	data, _ := json.Marshal(answer) // strings, numbers and maps of strings always marshal
	return data
}

// endpointStats are ADR-32's statistics of an endpoint; times are nanoseconds.
type endpointStats struct {
	Name                  string   `json:"name"`
	Subject               string   `json:"subject"`
	QueueGroup            string   `json:"queue_group"`
	NumRequests           uint64   `json:"num_requests"`
	NumErrors             uint64   `json:"num_errors"`
	LastError             string   `json:"last_error"`
	ProcessingTime        int64    `json:"processing_time"`
	AverageProcessingTime int64    `json:"average_processing_time"`
	Data                  liveData `json:"data"`
}

// liveData are what ADR-32 has no field for.
type liveData struct {
	Engine    mayfly.Engine `json:"engine"`
	Instances int           `json:"instances"`
	InFlight  int           `json:"in_flight"`
	Waiting   int           `json:"waiting"`
	Rejected  uint64        `json:"rejected"`
	Crashes   uint64        `json:"crashes"`
	Failing   bool          `json:"failing"`
}

// count returns the statistics of a function's one endpoint.
func (p *Responder) count(s *service) endpointStats {
	e := s.Endpoints[0]
	n, _ := p.runner.Stats(s.Name) // of one that has just gone: zeros
	out := endpointStats{
		Name: e.Name, Subject: e.Subject, QueueGroup: e.Queue,
		NumRequests: n.Requests, NumErrors: n.Errors, LastError: n.LastError, ProcessingTime: int64(n.Processing),
		Data: liveData{
			Engine: s.function.Engine, Instances: n.Instances,
			InFlight: n.InFlight, Waiting: n.Waiting, Rejected: n.Rejected, Crashes: n.Crashes, Failing: n.Failing,
		},
	}
	if n.Requests > 0 {
		out.AverageProcessingTime = out.ProcessingTime / int64(n.Requests)
	}
	return out
}
