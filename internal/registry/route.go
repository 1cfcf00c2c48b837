package registry

import (
	"context"
	"encoding/json"
	"time"

	"github.com/mayfly-run/mayfly"
)

// A route is the stored form of all routes of one name: only their patterns differ.
type route struct {
	Name     string           `json:"name"`
	Project  mayfly.Name      `json:"project,omitempty"`
	HTTP     []mayfly.Pattern `json:"http"`
	Subject  string           `json:"subject,omitempty"`
	Service  string           `json:"service,omitempty"`
	Endpoint string           `json:"endpoint,omitempty"`
	Function mayfly.Name      `json:"function,omitempty"`
	Payload  string           `json:"payload,omitempty"`
	Timeout  mayfly.Duration  `json:"timeout,omitzero"`
	CORS     *cors            `json:"cors,omitempty"`
	Summary  string           `json:"summary,omitempty"`
	Request  json.RawMessage  `json:"request,omitempty"`
	Response json.RawMessage  `json:"response,omitempty"`
}

// A cors is a mayfly.CORS as it is stored.
type cors struct {
	Origins     []string        `json:"origins"`
	Methods     []string        `json:"methods,omitempty"`
	Headers     []string        `json:"headers,omitempty"`
	Expose      []string        `json:"expose,omitempty"`
	Credentials bool            `json:"credentials,omitempty"`
	MaxAge      mayfly.Duration `json:"max_age,omitzero"`
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
		s := storedRoute(one)
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

func storedRoute(r mayfly.Route) *route {
	s := &route{
		Name: r.Name, Project: r.Project, HTTP: []mayfly.Pattern{r.Pattern},
		Subject: r.Subject.String(), Service: r.Service, Endpoint: r.Endpoint, Function: r.Function,
		Payload: r.Payload.String(), Timeout: mayfly.Duration(r.Timeout),
		Summary: r.Summary, Request: r.Request, Response: r.Response,
	}
	if c := r.CORS; c != nil {
		s.CORS = &cors{
			Origins: c.Origins, Methods: c.Methods, Headers: c.Headers, Expose: c.Expose,
			Credentials: c.Credentials, MaxAge: mayfly.Duration(c.MaxAge),
		}
	}
	return s
}

// routes parses what is stored: writing to the bucket must not bypass the checks of a
// manifest.
func (s route) routes() ([]mayfly.Route, error) {
	base := mayfly.Route{
		Name: s.Name, Project: s.Project, Service: s.Service, Endpoint: s.Endpoint, Function: s.Function,
		Timeout: time.Duration(s.Timeout), Summary: s.Summary, Request: s.Request, Response: s.Response,
	}
	var err error
	if s.Subject != "" {
		if base.Subject, err = mayfly.ParseSubjectPattern(s.Subject); err != nil {
			return nil, err
		}
	}
	if base.Payload, err = mayfly.ParseTemplate(s.Payload); err != nil {
		return nil, err
	}
	if c := s.CORS; c != nil {
		base.CORS = &mayfly.CORS{
			Origins: c.Origins, Methods: c.Methods, Headers: c.Headers, Expose: c.Expose,
			Credentials: c.Credentials, MaxAge: time.Duration(c.MaxAge),
		}
	}
	var all []mayfly.Route
	for _, p := range s.HTTP {
		if p.Reserved() {
			return nil, mayfly.Errorf(mayfly.Invalid, "route %q asks for %s, which the gateway keeps for itself", s.Name, p)
		}
		one := base
		one.Pattern = p
		all = append(all, one)
	}
	return all, nil
}
