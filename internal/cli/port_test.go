package cli

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/door"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/node"
)

// A second project in a second terminal must not need a flag.
func TestDefaultPortsMoveTogether(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, text, _ := net.SplitHostPort(l.Addr().String())
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	var c config.Config
	c.Gateway.Addr, c.Admin.Addr, c.Bus.Addr = l.Addr().String(), "127.0.0.1:0", "127.0.0.1:0"
	said := movePorts(config.Loaded{}, &c, false)
	_, text, _ = net.SplitHostPort(c.Gateway.Addr)
	if now, _ := strconv.Atoi(text); now <= port || (now-port)%portStep != 0 || !strings.Contains(said, "--gateway.addr "+c.Gateway.Addr) {
		t.Errorf("the gateway is at %s, said %q", c.Gateway.Addr, said)
	}
	set := config.Loaded{Settings: []config.Setting{{Key: config.Key{Name: "gateway.addr"}, From: "flag"}}}
	c.Gateway.Addr = l.Addr().String()
	if said := movePorts(set, &c, false); said != "" || c.Gateway.Addr != l.Addr().String() {
		t.Errorf("an address that was given became %s, said %q", c.Gateway.Addr, said)
	}
}

// Of two projects that start at the same moment, one finds a port taken that was free.
func TestPortsMoveAgain(t *testing.T) {
	t.Parallel()
	var c config.Config
	c.Dev, c.Gateway.Addr, c.Admin.Addr, c.Bus.Addr = true, natstest.FreeAddr(t), config.AdminOff, "127.0.0.1:0"
	given := c.Gateway.Addr
	var tried []string
	inUse := mayfly.Errorf(mayfly.Conflict, "in use")
	moved, err := onFreePorts(config.Loaded{}, &c, false, func() error {
		if tried = append(tried, c.Gateway.Addr); len(tried) > 1 {
			return nil
		}
		l, err := net.Listen("tcp", c.Gateway.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return inUse
	})
	if err != nil || len(tried) != 2 || tried[0] != given || tried[1] == given || !strings.Contains(moved, tried[1]) {
		t.Errorf("tried %v, said %q: %v", tried, moved, err)
	}
	for _, dev := range []bool{true, false} { // another conflict, such as a folder that is locked
		c.Dev, c.Gateway.Addr = dev, natstest.FreeAddr(t)
		opened := 0
		if _, err := onFreePorts(config.Loaded{}, &c, false, func() error { opened++; return inUse }); err != inUse || opened != 1 {
			t.Errorf("opened %d times: %v", opened, err)
		}
	}
}

// A node that starts again is where its first ready message says, even if another program
// has the port for a moment.
func TestNodeKeepsItsPorts(t *testing.T) {
	t.Parallel()
	var c config.Config
	c.Gateway.Addr, c.Admin.Addr = "[::1]:0", config.AdminOff
	keepPorts(&c, node.Status{Gateway: "https://localhost:3000"})
	if c.Gateway.Addr != "[::1]:3000" || c.Admin.Addr != config.AdminOff {
		t.Errorf("the gateway is at %s, the admin server at %s", c.Gateway.Addr, c.Admin.Addr)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := door.Listen("gateway.addr", l.Addr().String()); !passing(err) {
		t.Errorf("a taken port is for good: %v", err)
	}
}

func TestPortIsTheGateways(t *testing.T) {
	t.Parallel()
	if addr, err := atPort("127.0.0.1:8080", 3000); addr != "127.0.0.1:3000" || err != nil {
		t.Errorf("%s, %v", addr, err)
	}
	if _, err := atPort("127.0.0.1:8080", 70000); err == nil {
		t.Error("70000 is a port")
	}
}
