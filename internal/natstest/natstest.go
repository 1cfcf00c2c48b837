// Package natstest gives tests a real NATS: the product's own embedded server, in
// a temporary folder, on a free port.
package natstest

import (
	"log/slog"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// CoreKey opens the account of Mayfly's state at the servers of New.
const CoreKey = "key-of-tests-alone"

// New returns a bus with a server of its own, closed at the end of the test.
func New(t testing.TB) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Options{
		Server: &bus.ServerOptions{Store: t.TempDir(), CoreKey: CoreKey},
		Log:    slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatalf("open bus: %v", err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// Connect returns a plain NATS connection to b's server, as a user's program
// would have.
func Connect(t testing.TB, b *bus.Bus, login ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(b.URL(), login...)
	if err != nil {
		t.Fatalf("connect to %s: %v", b.URL(), err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// ConnectCore returns a plain NATS connection to the account of Mayfly's state at b's
// server, which New made.
func ConnectCore(t testing.TB, b *bus.Bus) *nats.Conn {
	t.Helper()
	return Connect(t, b, nats.UserInfo(mayfly.UserCore, CoreKey))
}

// Core returns how another bus reaches that account.
func Core(b *bus.Bus) bus.Remote { return bus.Remote{URL: b.URL()}.WithCoreKey(CoreKey) }

// Serve answers on a plain subject until the end of the test.
func Serve(t testing.TB, nc *nats.Conn, subject string, answer nats.MsgHandler) {
	t.Helper()
	if _, err := nc.QueueSubscribe(subject, "q", answer); err != nil {
		t.Fatalf("subscribe to %s: %v", subject, err)
	}
	flush(t, nc)
}

// An Endpoint describes one endpoint of a service made by AddService.
type Endpoint struct {
	Name     string
	Subject  string // the name if empty
	Metadata map[string]string
	Answer   micro.HandlerFunc // echoes if nil
}

// AddService starts a micro service as a user would write it, until the end of
// the test.
func AddService(t testing.TB, nc *nats.Conn, name, version string, endpoints ...Endpoint) micro.Service {
	t.Helper()
	s, err := micro.AddService(nc, micro.Config{Name: name, Version: version})
	if err != nil {
		t.Fatalf("add service %s: %v", name, err)
	}
	t.Cleanup(func() { s.Stop() })
	for _, e := range endpoints {
		if e.Subject == "" {
			e.Subject = e.Name
		}
		if e.Answer == nil {
			e.Answer = func(r micro.Request) { r.Respond(r.Data()) }
		}
		err := s.AddEndpoint(e.Name, e.Answer, micro.WithEndpointSubject(e.Subject), micro.WithEndpointMetadata(e.Metadata))
		if err != nil {
			t.Fatalf("add endpoint %s: %v", e.Name, err)
		}
	}
	flush(t, nc)
	return s
}

// flush returns once the server knows our subscriptions.
func flush(t testing.TB, nc *nats.Conn) {
	t.Helper()
	if err := nc.FlushTimeout(time.Minute); err != nil {
		t.Fatalf("flush: %v", err)
	}
}
