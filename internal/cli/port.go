package cli

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/node"
)

const (
	// portStep keeps the doors of several projects apart: the gateway's and the admin
	// door's default ports are neighbors.
	portStep = 10
	mostSets = 50
)

// movedNote is how movePorts begins what to say.
const movedNote = "note: default ports are taken; this node uses "

// A listener is a door of the node, with the key that sets its address.
type listener struct {
	key  string
	addr *string
}

// onFreePorts opens a node. In development it moves the ports first if it must, and again if
// another program, such as one started at the same moment, was faster. It returns what to
// say about that, or "".
func onFreePorts(loaded config.Loaded, c *config.Config, fixed bool, open func() error) (moved string, err error) {
	given := *c
	for last := "not tried"; ; last = moved {
		*c = given
		if c.Dev {
			moved = movePorts(loaded, c, fixed)
		}
		if moved == last {
			return moved, err
		}
		if err = open(); mayfly.CodeOf(err) != mayfly.Conflict {
			return moved, err
		}
	}
}

// movePorts moves the doors that have their default address to ports nearby if another
// program, such as a second mayfly up, has one of them. It returns what to say about it,
// or "". The gateway stays where it is if fixed.
func movePorts(loaded config.Loaded, c *config.Config, fixed bool) string {
	var doors []listener
	for _, d := range []listener{{"gateway.addr", &c.Gateway.Addr}, {"admin.addr", &c.Admin.Addr}, {"bus.addr", &c.Bus.Addr}} {
		if !loaded.IsSet(d.key) && (d.key != "gateway.addr" || !fixed) && (d.key != "bus.addr" || c.NATS == "" && c.Context == "") {
			doors = append(doors, d)
		}
	}
	for set := range mostSets {
		moved, free := make([]string, len(doors)), true
		for i, d := range doors {
			moved[i] = shifted(*d.addr, set*portStep)
			free = free && !taken(moved[i])
		}
		if !free {
			continue
		}
		var said []string
		for i, d := range doors {
			said = append(said, fmt.Sprintf("--%s %s", d.key, moved[i]))
			*d.addr = moved[i]
		}
		if set == 0 {
			return ""
		}
		return movedNote + strings.Join(said, " ")
	}
	return "" // the door that cannot listen says so
}

// shifted returns an address with a higher port.
func shifted(addr string, by int) string {
	host, port, err := net.SplitHostPort(addr)
	n, number := strconv.Atoi(port)
	if err != nil || number != nil || n == 0 {
		return addr
	}
	return net.JoinHostPort(host, strconv.Itoa(n+by))
}

// taken reports whether another program listens on an address.
func taken(addr string) bool {
	if addr == config.AdminOff {
		return false
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return errors.Is(err, syscall.EADDRINUSE)
	}
	l.Close()
	return false
}

// keepPorts replaces the port 0 of a node's doors by the ports that they have, which the ready
// message names. The embedded server is not among them: only a node without it starts again.
func keepPorts(c *config.Config, s node.Status) {
	for addr, at := range map[*string]string{&c.Gateway.Addr: s.Gateway, &c.Admin.Addr: s.Admin} {
		host, _, err := net.SplitHostPort(*addr)
		if u, bad := url.Parse(at); err == nil && bad == nil && u.Port() != "" {
			*addr = net.JoinHostPort(host, u.Port())
		}
	}
}

// atPort returns the gateway's address with the port of --port.
func atPort(addr string, port int) (string, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || port < 1 || port > 65535 {
		return "", mayfly.Errorf(mayfly.Invalid, "--port %d is not a port", port).WithHint("use a number from 1 to 65535, such as 3000")
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}
