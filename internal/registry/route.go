package registry

import (
	"context"

	"github.com/mayfly-run/mayfly"
)

// A route is the stored form of all routes of one name: only their patterns differ.
type route struct {
	mayfly.Route
	HTTP []mayfly.Pattern `json:"http"`
}

// DeployRoutes writes a project's routes: one entry per name, with all its patterns.
// It skips unchanged entries and stops at the first error. Errors are those of Deploy.
func (r *Registry) DeployRoutes(ctx context.Context, routes []mayfly.Route, c Change) (changed bool, err error) {
	byName := map[string]*route{}
	var order []*route
	for _, one := range routes {
		if present := byName[one.Name]; present != nil {
			present.HTTP = append(present.HTTP, one.Pattern)
			continue
		}
		s := &route{Route: one, HTTP: []mayfly.Pattern{one.Pattern}}
		byName[one.Name] = s
		order = append(order, s)
	}
	for _, s := range order {
		_, wrote, err := deploy(ctx, r, keyRoute+s.Name, *s, s.Project, nil, c)
		if err != nil {
			return changed, err
		}
		changed = changed || wrote
	}
	return changed, nil
}

// RemoveRoute removes all patterns of a route.
func (r *Registry) RemoveRoute(ctx context.Context, name mayfly.Name) error {
	return r.remove(ctx, keyRoute+string(name))
}

// Routes returns the deployed routes, one per pattern, by name. It answers from memory,
// as List does.
func (r *Registry) Routes() []mayfly.Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.picture.listRoutes()
}

// routes returns one route per pattern. Writing to the bucket must not bypass the checks
// of a manifest, most of which decoding makes.
func (s route) routes() ([]mayfly.Route, error) {
	var all []mayfly.Route
	for _, p := range s.HTTP {
		if p.Reserved() {
			return nil, mayfly.Errorf(mayfly.Invalid, "route %q asks for %s, which the gateway keeps for itself", s.Name, p)
		}
		one := s.Route
		one.Pattern = p
		all = append(all, one)
	}
	return all, nil
}
