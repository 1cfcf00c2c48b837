package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// Check rejects values that are wrong in combination. Errors have code Invalid and name
// the keys. It is not named Validate because kong would call that before the
// environment and the file are read.
func (c Config) Check() error {
	checks := []func() error{
		c.checkNumbers,
		func() error { return together("tls.cert", c.TLS.Cert, "tls.key", c.TLS.Key) },
		func() error { return together("gateway.cert", c.Gateway.Cert, "gateway.key", c.Gateway.Key) },
		func() error { return together("user", c.User, "password", c.Password) },
		func() error { _, err := c.LabelMap(); return err },
		c.checkBus,
		c.checkGateway,
		c.checkAdmin,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// LabelMap returns the node's labels by name.
func (c Config) LabelMap() (map[string]string, error) {
	labels := make(map[string]string, len(c.Labels))
	for _, text := range c.Labels {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || value == "" {
			return nil, mayfly.Errorf(mayfly.Invalid, "labels: %q is not of the form NAME=VALUE", text).WithHint("try zone=eu")
		}
		labels[name] = value
	}
	return labels, nil
}

// checkNumbers rejects numbers, sizes and durations that make no sense.
func (c Config) checkNumbers() error {
	for _, k := range Keys() {
		f := k.field(&c)
		if !f.CanInt() {
			continue
		}
		if n := f.Int(); n < 0 || n == 0 && k.above0 {
			least := "at least 0"
			if k.above0 {
				least = "more than 0"
			}
			return mayfly.Errorf(mayfly.Invalid, "%s is %s: it must be %s", k.Name, k.text(&c), least)
		}
	}
	return nil
}

func (c Config) checkBus() error {
	if c.NATS != "" || c.Context != "" {
		return nil // no embedded server to protect
	}
	if err := checkAddr("bus.addr", c.Bus.Addr); err != nil {
		return err
	}
	if c.Bus.Monitor != "" {
		if err := checkOpen("bus.monitor", c.Bus.Monitor, "bus.open", c.Bus.Open); err != nil {
			return err
		}
	}
	if err := together("bus.user", c.Bus.User, "bus.password", c.Bus.Password); err != nil {
		return err
	}
	if Loopback(c.Bus.Addr) || c.Bus.User != "" || c.Bus.Token != "" || c.Bus.Open {
		return nil
	}
	return mayfly.Errorf(mayfly.Invalid, "bus.addr %s accepts connections from other machines without a password", c.Bus.Addr).
		WithHint("set --bus.user and --bus.password, or --bus.token, or --bus.open to allow anyone")
}

func (c Config) checkGateway() error {
	return checkOpen("gateway.addr", c.Gateway.Addr, "gateway.open", c.Gateway.Open)
}

func (c Config) checkAdmin() error {
	if c.Admin.Addr == AdminOff {
		return nil
	}
	return checkOpen("admin.addr", c.Admin.Addr, "admin.open", c.Admin.Open)
}

// checkOpen rejects the address of a door without authentication that other machines can
// reach, unless that is asked for.
func checkOpen(key, addr, openKey string, open bool) error {
	if err := checkAddr(key, addr); err != nil || Loopback(addr) || open {
		return err
	}
	return mayfly.Errorf(mayfly.Invalid, "%s %s accepts connections from other machines and has no authentication", key, addr).
		WithHint("set --%s to allow anyone, or listen on 127.0.0.1", openKey)
}

// together rejects one of two values that need each other.
func together(keyA, a, keyB, b string) error {
	if (a == "") == (b == "") {
		return nil
	}
	if a == "" {
		keyA, keyB = keyB, keyA
	}
	return mayfly.Errorf(mayfly.Invalid, "%s is set without %s", keyA, keyB).WithHint("set both or neither")
}

func checkAddr(key, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || strings.ContainsAny(host, "/ \t\r\n") {
		return mayfly.Errorf(mayfly.Invalid, "%s %q is not an address", key, mayfly.Clip(addr)).WithHint("try 127.0.0.1:8080")
	}
	return nil
}

// Loopback reports whether addr, a host with or without a port, is reachable from this
// machine only. Names other than localhost are not.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = strings.Trim(addr, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
