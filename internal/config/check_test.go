package config_test

import (
	"testing"

	"github.com/mayfly-run/mayfly/internal/config"
)

func TestCheckRefusesWhatDoesNotFitTogether(t *testing.T) {
	t.Parallel()
	const (
		openBus     = "set --bus.user and --bus.password, or --bus.token, or --bus.open to allow anyone"
		openGateway = "set --gateway.open to allow anyone, or listen on 127.0.0.1"
		both        = "set both or neither"
		addr        = "try 127.0.0.1:8080"
	)
	for _, tt := range []struct {
		name       string
		change     func(*config.Config)
		want, hint string
	}{
		{"the defaults", func(*config.Config) {}, "", ""},
		{"a certificate alone", func(c *config.Config) { c.TLS.Cert = "c" }, "tls.cert is set without tls.key", both},
		{"a key alone", func(c *config.Config) { c.Gateway.Key = "k" }, "gateway.key is set without gateway.cert", both},
		{"a certificate and its key", func(c *config.Config) { c.Gateway.Cert, c.Gateway.Key = "c", "k" }, "", ""},
		{"a user alone", func(c *config.Config) { c.User = "ada" }, "user is set without password", both},
		{"a password alone", func(c *config.Config) { c.Bus.Password = "p" }, "bus.password is set without bus.user", both},
		{"a gateway for everybody", func(c *config.Config) { c.Gateway.Addr = ":8080" }, "gateway.addr :8080 accepts connections from other machines and has no authentication", openGateway},
		{"a gateway for everybody, on purpose", func(c *config.Config) { c.Gateway.Addr, c.Gateway.Open = ":8080", true }, "", ""},
		{"a bus for everybody", func(c *config.Config) { c.Bus.Addr = "0.0.0.0:4222" }, "bus.addr 0.0.0.0:4222 accepts connections from other machines without a password", openBus},
		{"a bus for everybody, on purpose", func(c *config.Config) { c.Bus.Addr, c.Bus.Open = "0.0.0.0:4222", true }, "", ""},
		{"a bus with users", func(c *config.Config) { c.Bus.Addr, c.Bus.User, c.Bus.Password = ":4222", "ada", "p" }, "", ""},
		{"a bus with a token", func(c *config.Config) { c.Bus.Addr, c.Bus.Token = ":4222", "t" }, "", ""},
		{"an existing server makes the bus moot", func(c *config.Config) { c.NATS, c.Bus.Addr = "nats://a.example", "nonsense" }, "", ""},
		{"a bus without port", func(c *config.Config) { c.Bus.Addr = "127.0.0.1" }, `bus.addr "127.0.0.1" is not an address`, addr},
		{"a gateway with a strange port", func(c *config.Config) { c.Gateway.Addr = "127.0.0.1:http" }, `gateway.addr "127.0.0.1:http" is not an address`, addr},
		{"a port too high", func(c *config.Config) { c.Gateway.Addr = "127.0.0.1:65536" }, `gateway.addr "127.0.0.1:65536" is not an address`, addr},
		{"an URL as address", func(c *config.Config) { c.Bus.Monitor = "http://[::1]:8222" }, `bus.monitor "http://[::1]:8222" is not an address`, addr},
		{"an admin door nowhere", func(c *config.Config) { c.Admin.Addr = "nowhere" }, `admin.addr "nowhere" is not an address`, addr},
		{"an admin door for everybody", func(c *config.Config) { c.Admin.Addr = ":8081" }, "admin.addr :8081 accepts connections from other machines and has no authentication", "set --admin.open to allow anyone, or listen on 127.0.0.1"},
		{"an admin door for everybody, on purpose", func(c *config.Config) { c.Admin.Addr, c.Admin.Open = "0.0.0.0:8081", true }, "", ""},
		{"monitoring for everybody", func(c *config.Config) { c.Bus.Monitor = ":8222" }, "bus.monitor :8222 accepts connections from other machines and has no authentication", "set --bus.open to allow anyone, or listen on 127.0.0.1"},
		{"monitoring for everybody, although the bus has users", func(c *config.Config) {
			c.Bus.Monitor, c.Bus.User, c.Bus.Password = ":8222", "ada", "p"
		}, "bus.monitor :8222 accepts connections from other machines and has no authentication", "set --bus.open to allow anyone, or listen on 127.0.0.1"},
		{"monitoring for everybody, on purpose", func(c *config.Config) { c.Bus.Monitor, c.Bus.Open = ":8222", true }, "", ""},
		{"no admin door", func(c *config.Config) { c.Admin.Addr = config.AdminOff }, "", ""},
		{"a negative duration", func(c *config.Config) { c.Drain = -1 }, "drain is -1ns: it must be at least 0", ""},
		{"a negative size", func(c *config.Config) { c.Bus.Store = -1024 }, "bus.store is -1KiB: it must be at least 0", ""},
		{"no time at all", func(c *config.Config) { c.Gateway.Timeout = 0 }, "gateway.timeout is 0s: it must be more than 0", ""},
		{"no connection", func(c *config.Config) { c.Bus.Connections = 0 }, "bus.connections is 0: it must be more than 0", ""},
		{"no drain", func(c *config.Config) { c.Drain = 0 }, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := config.Load(config.LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			tt.change(&l.Config)
			err = l.Check()
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, tt.want, tt.hint)
		})
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"127.0.0.1:8080": true, "127.9.9.9:1": true, "localhost:0": true, "LOCALHOST": true, "[::1]:80": true, "::1": true, "127.0.0.1": true,
		"[::ffff:127.0.0.1]:80": true,
		":8080":                 false, "0.0.0.0:80": false, "[::]:80": false, "10.0.0.1:80": false, "localhost.example:80": false, "": false, "127.0.0.1.example": false,
	} {
		if got := config.Loopback(addr); got != want {
			t.Errorf("Loopback(%q) = %v", addr, got)
		}
	}
}
