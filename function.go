package mayfly

import (
	"maps"
	"strconv"
)

// A Function is code that answers calls, known by a name.
type Function struct {
	Name     Name
	Revision uint64            // grows by one with every deploy, from 1
	Summary  string            // one line for people
	HTTP     []Pattern         // the function's own HTTP paths, besides /fn/<name>
	Metadata map[string]string // shown to `nats micro info` as it is
}

// Ref returns the function's revision as a reference.
func (f Function) Ref() Ref { return Ref{Name: f.Name, Revision: f.Revision} }

// Service returns how the function shows itself to NATS as a micro service
// (ADR-32): the service has the function's name and version 1.0.<revision>, and
// one endpoint named "call" on the function's subject. The id tells one
// instance from another and is the caller's to choose.
func (f Function) Service(id string) Service {
	meta := maps.Clone(f.Metadata)
	if meta == nil {
		meta = map[string]string{}
	}
	if f.Summary != "" {
		meta[MetaSummary] = f.Summary
	}
	for _, p := range f.HTTP {
		if meta[MetaHTTP] != "" {
			meta[MetaHTTP] += "\n"
		}
		meta[MetaHTTP] += p.String()
	}
	return Service{
		Name:        string(f.Name),
		ID:          id,
		Version:     "1.0." + strconv.FormatUint(f.Revision, 10),
		Description: f.Summary,
		Metadata:    map[string]string{},
		Endpoints: []Endpoint{{
			Name:     FunctionEndpoint,
			Subject:  FunctionSubject(f.Name),
			Queue:    FunctionQueue,
			Metadata: meta,
		}},
	}
}
