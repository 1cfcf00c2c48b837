package bus_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

func TestOnlyTheStoreIsOffWithoutJetStream(t *testing.T) {
	t.Parallel()
	account := server.NewAccount("A")
	for _, tt := range []struct {
		name   string
		server server.Options
		remote bus.Remote
	}{
		{"at the server", server.Options{}, bus.Remote{}},
		{"in the account", server.Options{
			StoreDir: t.TempDir(), Accounts: []*server.Account{account},
			Users: []*server.User{{Username: "ada", Password: "s3cret", Account: account}},
		}, bus.Remote{User: "ada", Password: "s3cret"}},
	} {
		tt.remote.URL = startServer(t, tt.server).Addr().String()
		for name, command := range map[string]bool{"a node": false, "a command": true} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				t.Parallel()
				b := open(t, bus.Options{Remote: tt.remote, NoJetStream: command})
				if err := b.Ready(); err != nil {
					t.Errorf("not ready: %v", err)
				}
				begin := time.Now()
				err := b.Retry(t.Context(), "store a thing", func(context.Context, jetstream.JetStream) error { return errors.New("called") })
				if took := time.Since(begin); took > 5*time.Second {
					t.Errorf("the answer took %s", took)
				}
				for _, err := range []error{b.Storeless(), err, b.Keep(t.Context())} {
					checkError(t, err, mayfly.Unavailable, "JetStream is not enabled for this account at nats://"+tt.remote.URL+": deploys, secrets and logs are off", "nats-server -js")
				}
			})
		}
	}
}

func TestJetStreamThatIsEnabledLaterIsTold(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	b := open(t, bus.Options{Remote: bus.Remote{URL: s.ClientURL()}})
	if b.Storeless() == nil {
		t.Fatal("there is a store")
	}
	addr := s.Addr().(*net.TCPAddr)
	stopServer(s)
	startServer(t, server.Options{Port: addr.Port, StoreDir: t.TempDir()})
	select {
	case <-b.Enabled():
	case <-time.After(soonIn):
		t.Error("nobody is told")
	}
}
