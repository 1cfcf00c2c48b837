package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/micro"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/registry"
	"github.com/mayfly-run/mayfly/internal/secrets"
)

// info is the verb info.
type info struct {
	client `embed:""`
	Name   string `arg:"" help:"Function or service."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Help is shown by mayfly info --help.
func (*info) Help() string {
	return `For a function, shows what is deployed, its limits and, for each node, the
instances, what they use and why the last one failed. For a service, shows what
Mayfly knows about it, if Mayfly runs it, and what each instance reports.`
}

// A described is everything known about one name.
type described struct {
	Function *unitInfo          `json:"function,omitempty"` // or
	Service  *unitInfo          `json:"service,omitempty"`
	Deployed *registry.Revision `json:"deployed,omitempty"` // nil if it is only developed
	URL      string             `json:"url,omitempty"`
	Nodes    []onNode           `json:"nodes"`
	Micro    []mayfly.Service   `json:"micro"` // its answers to $SRV.INFO
}

// A unitInfo is a unit whose env is a list of names in JSON: people put secrets into
// its values.
type unitInfo struct{ mayfly.Unit }

// MarshalJSON implements json.Marshaler.
func (u unitInfo) MarshalJSON() ([]byte, error) {
	data, err := json.Marshal(u.Unit)
	if err != nil || len(u.Env) == 0 {
		return data, err
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	fields["env"] = slices.Sorted(maps.Keys(u.Env))
	return json.Marshal(fields)
}

// unit returns the function or service, or nil if Mayfly runs none with the name.
func (d *described) unit() *unitInfo { return cmp.Or(d.Function, d.Service) }

func (d *described) add(u mayfly.Unit) {
	if u.Kind == mayfly.KindService {
		d.Service = &unitInfo{u}
	} else {
		d.Function = &unitInfo{u}
	}
}

// An onNode is its state on one node.
type onNode struct {
	peers.Node
	Current   uint64        `json:"current"` // revision that should answer
	Serving   uint64        `json:"serving"` // the one that does
	Waiting   int           `json:"waiting"` // calls
	Failing   string        `json:"failing,omitempty"`
	Rests     time.Time     `json:"rests,omitzero"` // nothing starts before
	Instances []oneInstance `json:"instances"`
}

type oneInstance struct {
	ID       string        `json:"id"`
	Revision uint64        `json:"revision"`
	Phase    string        `json:"phase"`
	Started  time.Time     `json:"started"`
	Calls    int           `json:"calls"`
	PID      int           `json:"pid"` // 0 if there is no process between calls
	Memory   int64         `json:"memory"`
	CPU      time.Duration `json:"cpu_ns"`
}

func onNodeOf(n peers.Node, s peers.State) onNode {
	o := onNode{
		Node: n, Current: s.Current(), Serving: s.Serving,
		Waiting: s.Waiting, Failing: s.Failing, Rests: s.Rests, Instances: []oneInstance{},
	}
	for _, in := range s.Instances {
		o.Instances = append(o.Instances, oneInstance{
			ID: in.ID, Revision: in.Revision, Phase: in.Phase, Started: in.Started, Calls: in.Calls,
			PID: in.Usage.PID, Memory: in.Usage.Memory, CPU: in.Usage.CPU,
		})
	}
	return o
}

// Run is called by kong.
func (i *info) Run(ctx context.Context, p *process) error {
	if err := checkName(i.Name); err != nil {
		return err
	}
	b, err := i.open(ctx, p)
	if err != nil {
		return err
	}
	found := micro.Infos(b)
	if err := found.Ask(ctx, i.Name); err != nil {
		return errors.Join(err, b.Close())
	}
	d := described{Micro: found.Answers(), Nodes: []onNode{}}
	s := &store{bus: b, local: i.local(p, b)}
	defer s.Close()
	if err := s.look(ctx); err != nil {
		return err
	}
	if err := d.addDeployed(ctx, s, i.Name); err != nil {
		return err
	}
	if err := d.addNodes(ctx, p, s, i.Name); err != nil {
		return err
	}
	switch {
	case d.unit() == nil && len(d.Micro) == 0:
		return nobodyCalled(ctx, b, i.Name)
	case d.unit() == nil && i.JSON:
		return writeJSON(p.stdout, d.Micro)
	case i.JSON:
		return writeJSON(p.stdout, d)
	}
	return p.printDescribed(d)
}

// addDeployed adds what the registry knows.
func (d *described) addDeployed(ctx context.Context, s *store, name string) error {
	if s.Registry == nil {
		return nil
	}
	u, err := s.Get(ctx, mayfly.Ref{Name: mayfly.Name(name)})
	if mayfly.CodeOf(err) == mayfly.NotFound || mayfly.CodeOf(err) == mayfly.Invalid {
		return nil
	}
	if err != nil {
		return err
	}
	d.add(u)
	lines, err := s.History(ctx, name)
	if err == nil && len(lines) > 0 {
		d.Deployed = &lines[0]
	}
	return err
}

// addNodes adds its state on each node. Only its own node knows a unit in development.
func (d *described) addNodes(ctx context.Context, p *process, s *store, name string) error {
	nodes := peers.New(s.bus)
	all, err := nodes.List(ctx)
	if err != nil {
		return err
	}
	for _, n := range all {
		state, err := nodes.State(ctx, n.ID, name)
		if mayfly.CodeOf(err) == mayfly.NotFound {
			continue
		}
		if err != nil {
			p.note("%s", plain(err.Error()))
			continue
		}
		d.Nodes = append(d.Nodes, onNodeOf(n, state))
		if d.unit() == nil && state.Unit != nil {
			d.add(*state.Unit)
		}
	}
	if d.Function != nil {
		d.URL = s.gateway() + "/fn/" + name
	}
	return nil
}

// printDescribed prints what Mayfly knows, then what the instances of a service report.
// A function's nodes would only repeat the part above.
func (p *process) printDescribed(d described) error {
	printed := d.unit() != nil
	if printed {
		if err := d.table(d.unit().Unit).print(p.stdout, ""); err != nil {
			return err
		}
	}
	for _, n := range d.Nodes {
		if err := p.printNode(n); err != nil {
			return err
		}
	}
	if d.Function != nil {
		return nil
	}
	for n, a := range d.Micro {
		if n > 0 || printed {
			fmt.Fprintln(p.stdout)
		}
		if err := p.printInstance(a); err != nil {
			return err
		}
	}
	return nil
}

// table returns what is known about u besides its nodes.
func (d described) table(u mayfly.Unit) table {
	t := table{{u.Kind.String(), string(u.Name)}}
	t.addIf("summary", u.Summary)
	t.addProgram(d, u.Revision, u.Project, u.Program)
	l := u.WithDefaults()
	if u.Kind == mayfly.KindService {
		t.add("instances", count(l.Instances.Min))
		return t
	}
	t.add("subject", mayfly.FunctionSubject(u.Name))
	t.add("url", d.URL)
	for _, r := range u.HTTP {
		t.add("route", r.String())
	}
	wait := max(0, l.Wait)
	t.add("calls", fmt.Sprintf("%d at a time in each instance, %d may wait, timeout %s", l.Concurrency, wait, round(l.Timeout)))
	t.addIf("body", sizeOf(l.Body))
	t.add("instances", fmt.Sprintf("%d to %d on each node, idle timeout %s, start timeout %s",
		l.Instances.Min, l.Instances.Max, round(l.Instances.Idle), round(l.Instances.Start)))
	t.addPairs("metadata", u.Metadata)
	return t
}

// addProgram adds what functions and services have in common, without the values of the
// environment: people put secrets into them.
func (t *table) addProgram(d described, revision uint64, project mayfly.Name, program mayfly.Program) {
	text := countOr(revision, "dev")
	if l := d.Deployed; l != nil && revision > 0 {
		text += ", " + l.At.Local().Format(time.DateTime)
		if l.By != "" {
			text += " by " + l.By
		}
		if l.Note != "" {
			text += ": " + l.Note
		}
	}
	t.add("revision", text)
	t.addIf("project", string(project))
	t.add("engine", string(program.Engine))
	for _, platform := range slices.Sorted(maps.Keys(program.Bundles)) {
		t.add("digest", program.Bundles[platform]+" ("+platform+")")
	}
	t.addIf("memory", sizeOf(program.Memory))
	t.addIf("disk", sizeOf(program.Disk))
	t.addIf("env", strings.Join(slices.Sorted(maps.Keys(program.Env)), ", "))
	for _, name := range program.Secrets {
		t.add("secret", name+" as "+secrets.EnvName(mayfly.Name(name)))
	}
	t.addIf("creds", program.Creds)
	t.addPairs("label", program.Labels)
}

// printNode prints its state on a node.
func (p *process) printNode(n onNode) error {
	fmt.Fprintf(p.stdout, "node %s\n", plain(n.ID))
	t := table{{"platform", n.Platform}, {"memory limits", limiting(n.Limiter)}}
	if n.Serving != n.Current {
		t.add("serving", "revision "+count(n.Serving)+" instead of "+count(n.Current))
	}
	if n.Waiting > 0 {
		t.add("waiting", plural(n.Waiting, "call"))
	}
	t.addIf("failing", n.Failing)
	if left := time.Until(n.Rests); left > 0 {
		t.add("next start", "in "+short(left))
	}
	if err := t.print(p.stdout, "  "); err != nil {
		return err
	}
	if len(n.Instances) == 0 {
		_, err := fmt.Fprintln(p.stdout, "  no instances")
		return err
	}
	lives := table{{"INSTANCE", "REVISION", "PHASE", "AGE", "CALLS", "PID", "MEMORY", "CPU"}}
	for _, in := range n.Instances {
		memory := "-"
		if in.Memory > 0 {
			memory = mebibytes(in.Memory)
		}
		lives.add(in.ID, countOr(in.Revision, "dev"), in.Phase, time.Since(in.Started).Round(time.Second).String(), count(in.Calls), countOr(in.PID, "-"), memory, short(in.CPU))
	}
	return lives.print(p.stdout, "  ")
}

// limiting describes how a node enforces memory limits.
func limiting(limiter string) string {
	switch limiter {
	case "cgroup":
		return "enforced by the kernel (cgroup)"
	case "rss":
		return "enforced by polling RSS 10 times a second (no cgroup)"
	case "none":
		return "not enforced on this system"
	default:
		return dash(limiter) // of a newer node
	}
}

// round formats a limit without the trailing zeros of Duration.String.
func round(d mayfly.Duration) string { return config.ShortDuration(time.Duration(d)) }

// sizeOf formats a limit in bytes; "" for none.
func sizeOf(n int64) string {
	if n == 0 {
		return ""
	}
	return config.Bytes(n).String()
}

// mebibytes formats the memory of a process.
func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// printInstance prints one instance: its identity, then its endpoints.
func (p *process) printInstance(a mayfly.Service) error {
	head := table{{kindOf(isFunction(a)), a.Name}, {"version", a.Version}, {"id", a.ID}}
	head.addIf("description", a.Description)
	head.addPairs("metadata", a.Metadata)
	if err := head.print(p.stdout, ""); err != nil {
		return err
	}
	for _, e := range a.Endpoints {
		t := table{{"subject", e.Subject}}
		t.addIf("queue group", e.Queue)
		for line := range strings.Lines(e.Metadata[mayfly.MetaHTTP]) {
			t.add("route", strings.TrimSpace(line))
		}
		others := maps.Clone(e.Metadata)
		delete(others, mayfly.MetaHTTP)
		t.addPairs("metadata", others)
		fmt.Fprintf(p.stdout, "endpoint %s\n", mayfly.Clip(plain(e.Name)))
		if err := t.print(p.stdout, "  "); err != nil {
			return err
		}
	}
	return nil
}
