package micro

import (
	"math/rand/v2"
	"slices"

	"github.com/mayfly-run/mayfly"
	"golang.org/x/mod/semver"
)

// A Picture is what was on the bus at one moment. It does not change.
type Picture struct {
	Services []mayfly.Service // sorted by age, then name, then id
	byName   map[string]map[string]mayfly.Endpoint
	reach    map[string]*reach // of functions
}

// A reach is how to call a function.
type reach struct {
	signs  bool             // all its nodes send signs of life
	silent bool             // one of them, or one that we do not know, does not answer
	others []mayfly.Subject // where those that do are called
}

func newPicture(known map[key]*instance) *Picture {
	p := &Picture{
		Services: make([]mayfly.Service, 0, len(known)),
		byName:   map[string]map[string]mayfly.Endpoint{},
		reach:    map[string]*reach{},
	}
	for _, in := range known {
		p.Services = append(p.Services, in.service)
		if isFunction(in.service) {
			p.addReach(in)
		}
	}
	slices.SortFunc(p.Services, mayfly.Service.Compare)
	// The highest version wins a name; among equals the first in the sorted order.
	winner := map[[2]string]string{}
	for _, s := range p.Services {
		v := "v" + s.Version // an invalid one is the lowest
		ends := p.byName[s.Name]
		if ends == nil {
			ends = map[string]mayfly.Endpoint{}
			p.byName[s.Name] = ends
		}
		for _, e := range s.Endpoints {
			if have, ok := winner[[2]string{s.Name, e.Name}]; !ok || semver.Compare(have, v) < 0 {
				winner[[2]string{s.Name, e.Name}] = v
				ends[e.Name] = e
			}
		}
	}
	for _, s := range p.Services {
		for _, e := range s.Endpoints {
			if _, taken := p.byName[s.Name][e.Subject]; !taken {
				p.byName[s.Name][e.Subject] = e
			}
		}
	}
	return p
}

// addReach adds one instance of a function.
func (p *Picture) addReach(in *instance) {
	name := in.service.Name
	r := p.reach[name]
	if r == nil {
		r = &reach{signs: true}
		p.reach[name] = r
	}
	switch {
	case in.node == nil:
		r.signs = false // a node of an earlier build
	case in.node.silent:
		r.silent = true
	default:
		r.others = append(r.others, mayfly.Subject(mayfly.FunctionSubjectAt(mayfly.Name(name), in.node.id)))
	}
}

// doubt has a function called on nodes that answer.
func (p *Picture) doubt(function mayfly.Name) {
	if r := p.reach[string(function)]; r != nil {
		r.silent = true
	}
}

// Reach returns the subject of a node that answers, if others that run the function do
// not, and "" if NATS may choose; and whether all of them send signs of life.
func (p *Picture) Reach(function mayfly.Name) (at mayfly.Subject, signs bool) {
	r := p.reach[string(function)]
	if r == nil {
		return "", false
	}
	if r.silent && len(r.others) > 0 {
		at = r.others[rand.IntN(len(r.others))]
	}
	return at, r.signs
}

// Lookup returns a service's endpoint by name, or else by subject.
func (p *Picture) Lookup(service, endpoint string) (mayfly.Endpoint, bool) {
	e, ok := p.byName[service][endpoint]
	return e, ok
}

// Has reports whether the service has an instance.
func (p *Picture) Has(service string) bool { return p.byName[service] != nil }
