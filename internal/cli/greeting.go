package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// greetMost limits the routes, functions and services in the ready message, so that it
// can be read at a glance.
const greetMost = 3

// greet prints that the node is ready and where everything is. By then the doors listen
// and what PATH lists is built.
func (p *process) greet(s node.Status) {
	t := table{{"data", p.tilde(s.Folder)}}
	from := "(existing)"
	if s.Embedded {
		from = "(embedded)"
	}
	t.add("nats", s.NATS+"  "+from)
	switch {
	case !s.Own:
		t.add("state", "shared with users")
	case !s.Embedded:
		t.add("state", "own account")
	}
	t.add("gateway", s.Gateway)
	t.addIf("admin", s.Admin)
	var functions, routes, services []string
	for _, u := range s.Units {
		if name := string(u.Name); u.Kind == mayfly.KindService {
			services = append(services, name+"  "+plural(max(1, u.Instances.Min), "instance"))
		} else {
			functions = append(functions, name+"  "+s.Gateway+"/fn/"+name)
		}
	}
	for _, r := range s.Routes {
		routes = append(routes, r.Pattern.String()+" -> "+r.Target())
	}
	others := slices.DeleteFunc(slices.Clone(s.Services), isFunction)
	switch n := len(others); {
	case n > 0 && len(s.Expose) == 0:
		services = append(services, notExposed(others))
	case n > 0 && len(services) == 0:
		services = append(services, plural(n, "instance")+": mayfly list")
	}
	t.addSome("functions", functions, "mayfly list")
	t.addSome("routes", routes, "mayfly routes")
	t.addSome("services", services, "mayfly list")
	for i, line := range tryLines(s) {
		t.add(map[bool]string{true: "try"}[i == 0], line)
	}
	fmt.Fprintf(p.stdout, "mayfly %s is ready in %d ms (nats-server %s, %s)\n",
		plain(s.Version), s.Took.Milliseconds(), plain(s.Server), s.Go)
	_ = t.print(p.stdout, "  ") // a closed output does not stop a node
}

// notExposed says how to reach services that the gateway does not expose.
func notExposed(all []mayfly.Service) string {
	var names []string
	for _, s := range all {
		names = append(names, plain(s.Name))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return fmt.Sprintf("%s found, none exposed: --gateway.expose '%s' or '*'",
		plural(len(names), "service"), strings.Join(names[:min(len(names), greetMost)], ","))
}

// addSome adds the first few of a list, and where to see the rest. An empty list is left
// out.
func (t *table) addSome(head string, list []string, more string) {
	for i, text := range list {
		if i == greetMost-1 && len(list) > greetMost {
			t.add("", fmt.Sprintf("and %d more: %s", len(list)-i, more))
			return
		}
		t.add(head, text)
		head = ""
	}
}

// tryLines returns up to three commands that work now: the first route that needs
// no values, the first function, and a look at what NATS sees.
func tryLines(s node.Status) []string {
	var lines []string
	for _, r := range s.Routes {
		if p := r.Pattern; len(p.Params) == 0 && p.Host == "" && !strings.Contains(p.Path, "{") {
			method := ""
			if p.Method != "" && p.Method != http.MethodGet {
				method = " -X " + p.Method
			}
			lines = append(lines, "curl -i"+method+" "+s.Gateway+p.Path)
			break
		}
	}
	switch {
	case len(s.Units) > 0 && s.Units[0].Kind == mayfly.KindService: // functions come first
		lines = append(lines, "mayfly info "+string(s.Units[0].Name), "mayfly stats --watch")
	case len(s.Units) > 0:
		name := string(s.Units[0].Name)
		lines = append(lines, "curl -i "+s.Gateway+"/fn/"+name, "mayfly info "+name)
	case len(lines) == 0:
		lines = append(lines, "curl -i "+s.Gateway+"/svc")
	}
	return lines
}

// An aside is how a running node reports what is not a result: in words to a person, or
// to the log.
type aside struct {
	p      *process
	log    *slog.Logger
	person bool
	status *status // of the terminal; nil if there is none
}

// ready reports that the node is ready and where everything is. A log holds nothing but
// its own lines.
func (a aside) ready(s node.Status) {
	if a.person {
		a.p.greet(s)
		return
	}
	functions := 0
	for _, u := range s.Units {
		if u.Kind == mayfly.KindFunction {
			functions++
		}
	}
	a.log.Info("node ready", "version", s.Version, "go", s.Go, "nats_server", s.Server, telemetry.KeyTook, s.Took,
		"data", s.Folder, "nats", s.NATS, "embedded", s.Embedded, "own_account", s.Own, "gateway", s.Gateway, "admin", s.Admin,
		"functions", functions, "services", len(s.Units)-functions, "routes", len(s.Routes))
}

// change reports that a service came or went. Functions are left out: each deploy replaces
// them, there may be thousands, and deploys and builds report them already.
func (a aside) change(c node.Change) {
	s := c.Service
	if isFunction(s) {
		return
	}
	sign, message := "+", "service found"
	if c.Gone {
		sign, message = "-", "service gone"
	}
	var subjects []string
	for _, e := range s.Endpoints {
		subjects = append(subjects, e.Subject)
	}
	some := mayfly.Clip(clipList(subjects, 4))
	if !a.person {
		a.log.Info(message, telemetry.KeyService, mayfly.Clip(s.Name), "version", mayfly.Clip(s.Version), "id", mayfly.Clip(s.ID), "subjects", some)
		return
	}
	fmt.Fprintln(a.p.stdout, strings.TrimRight(plain(fmt.Sprintf("%s %s %s (%s) %s",
		sign, mayfly.Clip(s.Name), mayfly.Clip(s.Version), mayfly.Clip(s.ID), some)), " "))
}

// moved says that the listeners are not where they are by default.
func (a aside) moved(text string) {
	switch {
	case text == "":
	case a.person:
		a.p.note("%s", text)
	default:
		a.log.Info("default ports taken", "listeners", strings.TrimPrefix(text, movedNote))
	}
}

// anew says why the node starts once more.
func (a aside) anew(cause error) {
	switch enabled := errors.Is(cause, node.ErrEnabled); {
	case enabled && a.person:
		a.p.note("JetStream is enabled now: starting again, with deploys, secrets and logs")
	case enabled:
		a.log.Warn("JetStream is enabled now, starting again")
	default:
		a.log.Warn("node not started, trying again", telemetry.KeyErr, cause)
	}
}

// ignoresNATSURL warns if the node ignores NATS_URL.
func (a aside) ignoresNATSURL(s node.Status) {
	url, _ := a.p.lookup("NATS_URL")
	if url == "" || sameServer(url, s.NATS) {
		return
	}
	if a.person {
		a.p.note("note: ignoring NATS_URL: this node uses %s; pass --nats to use another server", s.NATS)
		return
	}
	a.log.Warn("NATS_URL ignored", telemetry.KeyAddr, s.NATS)
}

// sameServer compares addresses without secrets: the node never shows its own.
func sameServer(a, b string) bool {
	return node.RemoteOf(config.Server{NATS: a}).String() == node.RemoteOf(config.Server{NATS: b}).String()
}

// stopping reports, when ctx ends, what the node waits for. The returned function
// cancels that, or waits until it is printed.
func (a aside) stopping(ctx context.Context, n *node.Node, drain time.Duration) func() {
	said := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(said)
		calls := int(n.InFlight())
		switch {
		case !a.person:
			a.log.Info("node stopping", "calls", calls)
		case calls > 0:
			a.p.note("stopping: waiting up to %s for %s; press Ctrl-C again to stop now", drain, plural(calls, "call"))
		default:
			a.p.note("stopping")
		}
	})
	return func() {
		if !cancel() {
			<-said
		}
	}
}

// plural formats a count.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
