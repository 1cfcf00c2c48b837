package micro

import (
	"slices"

	"github.com/mayfly-run/mayfly"
	"golang.org/x/mod/semver"
)

// A Picture is what was on the bus at one moment. It does not change.
type Picture struct {
	Services []mayfly.Service // sorted by age, then name, then id
	byName   map[string]map[string]mayfly.Endpoint
}

func newPicture(known map[key]*instance) *Picture {
	p := &Picture{
		Services: make([]mayfly.Service, 0, len(known)),
		byName:   map[string]map[string]mayfly.Endpoint{},
	}
	for _, in := range known {
		p.Services = append(p.Services, in.service)
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

// Lookup returns a service's endpoint by name, or else by subject.
func (p *Picture) Lookup(service, endpoint string) (mayfly.Endpoint, bool) {
	e, ok := p.byName[service][endpoint]
	return e, ok
}

// Has reports whether the service has an instance.
func (p *Picture) Has(service string) bool { return p.byName[service] != nil }
