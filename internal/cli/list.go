package cli

import (
	"context"
	"io"
	"slices"

	"github.com/mayfly-run/mayfly/internal/bus"
)

// list is the verb list.
type list struct {
	client `embed:""`
	JSON   bool `name:"json" help:"Print JSON."`
	Watch  bool `name:"watch" short:"w" help:"Look again every second until Ctrl-C."`
}

// A listed is one line of the list: a version of a service.
type listed struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind"` // service or function
	Version     string   `json:"version"`
	Instances   int      `json:"instances"`
	Endpoints   []string `json:"endpoints"`
	Description string   `json:"description"`
}

// Run is called by kong.
func (l *list) Run(ctx context.Context, p *process) error {
	b, err := l.open(ctx, p)
	if err != nil {
		return err
	}
	defer b.Close()
	if l.Watch {
		return p.watching(ctx, func(ctx context.Context, w io.Writer) error {
			_, err := l.print(ctx, b, w)
			return err
		})
	}
	n, err := l.print(ctx, b, p.stdout)
	if err == nil && n == 0 && !l.JSON {
		p.note("no service answers at %s", b.URL())
	}
	return err
}

// print writes the list as it is now and returns its length.
func (l *list) print(ctx context.Context, b *bus.Bus, w io.Writer) (int, error) {
	answers, err := ask(ctx, b, "INFO", "")
	if err != nil {
		return 0, err
	}
	all := listServices(parseAnswers(answers, infoID))
	if l.JSON {
		return len(all), writeJSON(w, all)
	}
	t := table{{"NAME", "KIND", "VERSION", "INSTANCES", "ENDPOINTS", "DESCRIPTION"}}
	for _, s := range all {
		t.add(s.Name, s.Kind, s.Version, count(s.Instances), clipList(s.Endpoints, 4), s.Description)
	}
	return len(all), t.print(w, "")
}

// listServices makes one line of all instances of a version. The answers are
// sorted by name and version.
func listServices(answers []infoAnswer) []listed {
	all := []listed{} // not nil: in JSON an empty list is []
	for _, a := range answers {
		if n := len(all); n == 0 || all[n-1].Name != a.Name || all[n-1].Version != a.Version {
			all = append(all, listed{
				Name: a.Name, Kind: a.kind(), Version: a.Version, Description: a.Description, Endpoints: []string{},
			})
		}
		s := &all[len(all)-1]
		s.Instances++
		for _, e := range a.Endpoints {
			if !slices.Contains(s.Endpoints, e.Name) {
				s.Endpoints = append(s.Endpoints, e.Name)
			}
		}
	}
	return all
}
