package node_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// A page of log, written by many.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *page) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(line)
}

func (p *page) count(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Count(p.text.String(), text)
}

// On somebody else's server we may be guests who keep nothing there.
func TestNodeWithoutAStoreIsAGateway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		none bool // no JetStream at all
		deny []string
	}{
		{name: "no JetStream", none: true},
		{name: "no streams", deny: []string{"$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.UPDATE.>"}},
		{name: "no consumers", deny: []string{"$JS.API.CONSUMER.>"}},
		{name: "nothing but to ask for JetStream", deny: []string{"$JS.API.STREAM.>", "$JS.API.CONSUMER.>", "$KV.>", "$O.>"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := &external{options: server.Options{
				Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: !tt.none, StoreDir: t.TempDir(),
				Users: []*server.User{{Username: "ada", Password: "s3cret", Permissions: &server.Permissions{
					Publish: &server.SubjectPermission{Deny: tt.deny},
				}}},
			}}
			e.start(t)
			t.Cleanup(e.stop)
			o := e.onServer(t)
			o.Config.User, o.Config.Password = "ada", "s3cret"
			var log page
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			n := start(t, o)
			if got := log.count("functions cannot be deployed here"); got != 1 {
				t.Errorf("told %d times, want once", got)
			}
			user, err := nats.Connect(e.server.ClientURL(), nats.UserInfo("ada", "s3cret"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(user.Close)
			natstest.AddService(t, user, "Echo", "1.0.0", natstest.Endpoint{Name: "echo"})
			if a := ask(t, "POST", n.Gateway+"/svc/Echo/echo", []byte("hi")); a.StatusCode != 200 || string(a.body) != "hi" {
				t.Errorf("a service: %v", a)
			}
			if a := ask(t, "GET", n.Gateway+"/readyz", nil); a.StatusCode != 200 || !strings.Contains(string(a.body), "deploys, secrets and logs are off") {
				t.Errorf("ready: %v", a)
			}
			if a := ask(t, "GET", n.Gateway+"/fn/hello", nil); a.StatusCode != mayfly.NotFound.Status() {
				t.Errorf("a function: %v", a)
			}
			hello := mayfly.Unit{Name: "hello", Program: mayfly.Program{Engine: mayfly.EngineExec, Start: []string{"/bin/echo", "hi"}}}
			if err := n.Roster().Set(hello, func(context.Context) (string, error) { return t.TempDir(), nil }); err != nil {
				t.Fatal(err)
			}
			if a := ask(t, "GET", n.Gateway+"/fn/hello", nil); a.StatusCode != 200 || string(a.body) != "hi\n" {
				t.Errorf("a function in development: %v", a)
			}
			answer, err := user.Request("fn.hello", nil, patience)
			if err != nil || string(answer.Data) != "hi\n" {
				t.Errorf("a function in development, over NATS: %v, %v", answer, err)
			}
		})
	}
}

// A cluster may be reached before its JetStream, and then nobody is awake to restart nodes.
func TestNodeEndsWhenJetStreamIsEnabled(t *testing.T) {
	t.Parallel()
	e := &external{options: server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, StoreDir: t.TempDir()}}
	e.start(t)
	t.Cleanup(func() { e.stop() })
	o := e.onServer(t)
	n, err := node.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Run(t.Context()) }()
	e.options.JetStream, e.options.Port = true, e.server.Addr().(*net.TCPAddr).Port
	e.stop()
	e.start(t)
	select {
	case err := <-ended:
		if !errors.Is(err, node.ErrEnabled) {
			t.Fatalf("the node ends with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the node goes on without a store")
	}
	if a := ask(t, "GET", start(t, o).Gateway+"/readyz", nil); a.StatusCode != 200 || strings.Contains(string(a.body), "are off") {
		t.Errorf("the next one: %v", a)
	}
}
