package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/micro"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/registry"
)

// list is the verb list.
type list struct {
	client `embed:""`
	JSON   bool `name:"json" help:"Print JSON."`
	Watch  bool `name:"watch" short:"w" help:"Refresh every second until Ctrl-C."`
}

// Help is shown by mayfly list --help.
func (*list) Help() string {
	return `STATE is ok, building or starting (for the first time), failed (to build),
failing (instances crash or do not start; see mayfly info and mayfly logs), down
(it is deployed, but no node runs it) or unreadable (its registry entry is
damaged, and the last good revision serves; deploy it again). CALLS and ERRORS
count from the start of the instances or, for a function, of its nodes.
INSTANCES of a function come and go with its calls.`
}

// A listed is one line of the list: a function, or a version of a service.
type listed struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind"` // service or function
	Version     string   `json:"version"`
	Engine      string   `json:"engine,omitempty"` // if Mayfly runs it
	State       string   `json:"state"`            // ok, building, starting, failed, failing, down or unreadable
	Instances   int      `json:"instances"`
	Calls       uint64   `json:"calls"`
	Errors      uint64   `json:"errors"`
	Endpoints   []string `json:"endpoints"`
	URL         string   `json:"url,omitempty"`
	Description string   `json:"description"`
	Error       string   `json:"error,omitempty"` // why it is failed or failing
}

// Run is called by kong.
func (l *list) Run(ctx context.Context, p *process) error {
	b, err := l.open(ctx, p)
	if err != nil {
		return err
	}
	s := &store{bus: b, local: l.local(p, b)}
	defer s.Close()
	if l.Watch {
		return p.watching(ctx, func(ctx context.Context, w io.Writer) error {
			_, err := l.print(ctx, s, w)
			return err
		})
	}
	n, err := l.print(ctx, s, p.stdout)
	if err == nil && n == 0 && !l.JSON {
		p.note("no functions or services at %s", b.URL())
	}
	return err
}

// print writes the current list and returns its length.
func (l *list) print(ctx context.Context, s *store, w io.Writer) (int, error) {
	all, err := s.list(ctx)
	if err != nil {
		return 0, err
	}
	if l.JSON {
		return len(all), writeJSON(w, all)
	}
	t := table{{"NAME", "KIND", "VERSION", "STATE", "INSTANCES", "CALLS", "ERRORS", "ENDPOINTS", "DESCRIPTION"}}
	for _, one := range all {
		// The gateway would be the same in each line, and too wide for 80 columns.
		reached := strings.TrimPrefix(one.URL, s.gateway())
		t.add(one.Name, one.Kind, one.Version, one.State, count(one.Instances), count(one.Calls), count(one.Errors),
			dash(cmp.Or(reached, clipList(one.Endpoints, 4))), cmp.Or(one.Error, one.Description))
	}
	if len(all) == 0 {
		return 0, nil
	}
	return len(all), t.print(w, "")
}

// firstWait limits the wait for the first answer if nothing is deployed: by then the
// server has proved quick.
const firstWait = 300 * time.Millisecond

// list asks the registry what should run, services what runs, and nodes what is not running
// yet, all at once. It asks for STATS, not INFO: that lacks only the descriptions of services
// that Mayfly does not run.
func (s *store) list(ctx context.Context) ([]listed, error) {
	found := micro.Stats(s.bus)
	errs := make([]error, 2)
	var nodes []peers.Node
	var asked sync.WaitGroup
	asked.Go(func() { errs[0] = found.AskQuick(ctx, firstWait, "") })
	asked.Go(func() { errs[1] = s.look(ctx) })
	asked.Go(func() { nodes, _ = peers.New(s.bus).List(ctx) }) // without a login for the nodes' account the rest will do
	asked.Wait()
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	if err := s.askLate(ctx, found); err != nil {
		return nil, err
	}
	all := addConditions(s.addDeployed(listServices(found.Answers())), nodes)
	for i := range all {
		if one := &all[i]; one.Kind == "function" {
			one.URL = s.gateway() + "/fn/" + one.Name
		} else {
			asked.Go(func() { s.describe(ctx, one) })
		}
	}
	asked.Wait()
	return all, nil
}

// askLate asks, by name, what is deployed and has not answered: the server reports at
// once if a name has no responders. Without a registry there are no names to ask for,
// and no silence to wait out.
func (s *store) askLate(ctx context.Context, found *micro.Survey[micro.Statistics]) error {
	answers := found.Answers()
	if s.Registry == nil && len(answers) > 0 {
		return nil
	}
	if s.Registry == nil {
		return found.Ask(ctx, "")
	}
	missing := map[string]bool{}
	for _, u := range s.List() {
		missing[string(u.Name)] = true
	}
	for _, a := range answers {
		delete(missing, a.Name)
	}
	errs := make([]error, 0, len(missing))
	var mu sync.Mutex
	var asked sync.WaitGroup
	for name := range missing {
		asked.Go(func() {
			err := found.AskQuick(ctx, firstWait, name)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	asked.Wait()
	return cmp.Or(errs...)
}

// listServices makes one line of all instances of a version, or of all nodes that have a
// function. Answers to one question are sorted by name and version.
func listServices(answers []micro.Statistics) []listed {
	all := []listed{} // not nil: in JSON an empty list is []
	for _, a := range answers {
		kind := kindOf(slices.ContainsFunc(a.Endpoints, func(e micro.EndpointStatistics) bool { return ofFunction(e.Subject) }))
		version := a.Version
		if kind == "function" {
			version = revisionOf(a.Version)
		}
		n := len(all)
		if n == 0 || all[n-1].Name != a.Name || all[n-1].Version != version && kind != "function" {
			all = append(all, listed{Name: a.Name, Kind: kind, State: "ok", Endpoints: []string{}})
		}
		s := &all[len(all)-1]
		s.Version = version // of a function that is being replaced, the newer one
		if kind == "service" {
			s.Instances++
		}
		for _, e := range a.Endpoints {
			if ofFunction(e.Subject) {
				s.Instances += e.Live.Instances
				s.Engine = cmp.Or(string(e.Live.Engine), s.Engine)
				if e.Live.Failing {
					s.State = "failing"
				}
			}
			s.Calls += e.Requests
			s.Errors += e.Errors
			if !slices.Contains(s.Endpoints, e.Name) {
				s.Endpoints = append(s.Endpoints, e.Name)
			}
		}
	}
	return all
}

// revisionOf returns the revision in a function's version 1.0.<revision>, as people write
// it.
func revisionOf(version string) string {
	number, ok := strings.CutPrefix(version, "1.0.")
	if !ok {
		return version
	}
	if number == "0" {
		return "@dev"
	}
	return "@" + number
}

// addDeployed adds what is deployed and does not answer, and what the registry knows of
// the rest. A function is listed once, whatever revisions its nodes serve.
func (s *store) addDeployed(all []listed) []listed {
	if s.Registry == nil {
		return all
	}
	at := map[string]int{}
	for i, one := range all {
		at[one.Name] = i
	}
	for _, u := range s.List() {
		i, ok := at[string(u.Name)]
		if !ok {
			i = len(all)
			all = append(all, listed{
				Name: string(u.Name), Kind: u.Kind.String(), Version: "@" + strconv.FormatUint(u.Revision, 10),
				Description: u.Summary, State: "down", Endpoints: []string{},
			})
		}
		if one := &all[i]; one.Version != "@dev" || u.Kind == mayfly.KindService {
			one.Engine = string(u.Engine)
		}
	}
	return addUnreadable(all, s.Unreadable())
}

// addConditions adds what does not answer to the services' question, as its nodes see it:
// the best state of all nodes counts.
func addConditions(all []listed, nodes []peers.Node) []listed {
	silent, best := map[string]int{}, map[int]peers.Condition{}
	for i, one := range all {
		if one.State == "down" {
			silent[one.Name] = i
		}
	}
	for _, n := range nodes {
		for _, c := range n.Units {
			i, ok := silent[c.Name]
			if at := slices.IndexFunc(all, func(one listed) bool { return one.Name == c.Name && one.Kind == c.Kind }); !ok && at >= 0 {
				if c.State == peers.Failing && all[at].State == peers.Failing {
					all[at].Error = c.Error
				}
				continue
			}
			if !ok {
				i = len(all)
				all = append(all, listed{Name: c.Name, Kind: c.Kind, Version: revisionOf(fmt.Sprint("1.0.", c.Revision)), Endpoints: []string{}})
			}
			silent[c.Name] = i
			all[i].Instances += c.Instances
			if known, ok := best[i]; !ok || rank(c) > rank(known) {
				best[i] = c
			}
		}
	}
	for i, c := range best {
		all[i].show(c)
	}
	slices.SortStableFunc(all, func(a, b listed) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// rank returns how good a state is; one of a later Mayfly is the worst.
func rank(c peers.Condition) int {
	return slices.Index([]string{peers.Failed, peers.Failing, peers.Building, peers.Starting, peers.Running}, c.State)
}

// show sets the state of a unit that does not answer to what a node says.
func (l *listed) show(c peers.Condition) {
	l.State, l.Error = c.State, c.Error
	switch c.State {
	case peers.Running:
		l.State, l.Error = "ok", ""
	case peers.Building, peers.Starting:
		l.Description = "for " + time.Since(c.Since).Round(time.Second).String()
	}
}

// addUnreadable marks or adds the units whose entry makes no sense.
func addUnreadable(all []listed, broken []registry.Unreadable) []listed {
	for _, b := range broken {
		kind, name, _ := strings.Cut(b.Key, "/")
		if kind != mayfly.KindFunction.String() && kind != mayfly.KindService.String() {
			continue
		}
		i := slices.IndexFunc(all, func(one listed) bool { return one.Name == name && one.Kind == kind })
		if i < 0 {
			i = len(all)
			all = append(all, listed{Name: name, Kind: kind, Description: b.Err.Error(), Endpoints: []string{}})
		}
		all[i].State = "unreadable"
	}
	return all
}

// describe asks one instance of a service for its description.
func (s *store) describe(ctx context.Context, one *listed) {
	if one.Instances == 0 || checkName(one.Name) != nil { // the name becomes part of a subject
		return
	}
	if a, ok := micro.Infos(s.bus).AskAny(ctx, one.Name); ok {
		one.Description = a.Description
	}
}
