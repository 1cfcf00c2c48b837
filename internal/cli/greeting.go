package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// greetRoutes is how many routes the ready message shows: the whole has ten lines.
const greetRoutes = 3

// greet prints that the node is ready and where everything is. All of it is so
// already: the doors listen.
func (p *process) greet(s node.Status) {
	t := table{{"data", p.tilde(s.Folder)}}
	from := "(existing)"
	if s.Embedded {
		from = "(embedded)"
	}
	t.add("nats", s.NATS+"  "+from)
	t.add("gateway", s.Gateway)
	if s.Admin != "" {
		t.add("admin", s.Admin)
	}
	for i, r := range s.Routes {
		if i == greetRoutes-1 && len(s.Routes) > greetRoutes {
			t.add("", fmt.Sprintf("and %d more: mayfly routes", len(s.Routes)-i))
			break
		}
		head := ""
		if i == 0 {
			head = "routes"
		}
		t.add(head, r.Pattern.String()+" -> "+r.Target())
	}
	if len(s.Routes) == 0 {
		t.add("routes", "none")
	}
	services := "none yet"
	if n := len(s.Services); n > 0 {
		services = plural(n, "instance") + ": mayfly list"
	}
	t.add("services", services)
	t.add("try", tryLine(s))
	fmt.Fprintf(p.stdout, "mayfly %s is ready in %d ms (nats-server %s, %s)\n",
		plain(s.Version), s.Took.Milliseconds(), plain(s.Server), s.Go)
	_ = t.print(p.stdout, "  ") // a closed output does not stop a node
}

// tryLine returns a command that works now: the first route that needs no values,
// else the list of services.
func tryLine(s node.Status) string {
	for _, r := range s.Routes {
		if p := r.Pattern; len(p.Params) == 0 && p.Host == "" && !strings.Contains(p.Path, "{") {
			method := ""
			if p.Method != "" && p.Method != http.MethodGet {
				method = " -X " + p.Method
			}
			return "curl -i" + method + " " + s.Gateway + p.Path
		}
	}
	return "curl -i " + s.Gateway + "/svc"
}

// tell prints that a service came or went.
func (p *process) tell(c node.Change) {
	sign := "+"
	if c.Gone {
		sign = "-"
	}
	var subjects []string
	for _, e := range c.Service.Endpoints {
		subjects = append(subjects, e.Subject)
	}
	s := c.Service
	fmt.Fprintln(p.stdout, strings.TrimRight(plain(fmt.Sprintf("%s %s %s (%s) %s",
		sign, clip(s.Name), clip(s.Version), clip(s.ID), clip(clipList(subjects, 4)))), " "))
}

// An aside is where a running node says what is no result: to a person in words,
// or to the log where programs read it.
type aside struct {
	p      *process
	log    *slog.Logger
	person bool
}

// ignoresNATSURL says that the node does not use what other NATS programs would.
func (a aside) ignoresNATSURL(s node.Status) {
	url, _ := a.p.lookup("NATS_URL")
	if url == "" || sameServer(url, s.NATS) {
		return
	}
	if a.person {
		a.p.note("note: NATS_URL is ignored, this node uses %s; --nats chooses a server", s.NATS)
		return
	}
	a.log.Warn("variable NATS_URL ignored", telemetry.KeyAddr, s.NATS)
}

// sameServer compares addresses without secrets: the node never shows its own.
func sameServer(a, b string) bool {
	return node.RemoteOf(config.Server{NATS: a}).String() == node.RemoteOf(config.Server{NATS: b}).String()
}

// stopping says, when ctx ends, what the node waits for. The returned function
// ends the waiting for that, or waits until it is said.
func (a aside) stopping(ctx context.Context, n *node.Node, drain time.Duration) func() {
	said := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(said)
		calls := int(n.InFlight())
		switch {
		case !a.person:
			a.log.Info("node stopping", "calls", calls)
		case calls > 0:
			a.p.note("stopping: waiting for %s, up to %s; once more to stop now", plural(calls, "call"), drain)
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

// plural counts things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
