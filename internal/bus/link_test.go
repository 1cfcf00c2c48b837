package bus_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

func TestCallWhileDisconnectedFailsAtOnce(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	s := startServer(t, server.Options{StoreDir: store})
	port := s.Addr().(*net.TCPAddr).Port
	b := open(t, bus.Options{Remote: bus.Remote{URL: s.ClientURL()}})
	var came atomic.Int32
	serve := func(url string) {
		natstest.Serve(t, connect(t, url), "work", func(m *nats.Msg) {
			came.Add(1)
			m.Respond(m.Data)
		})
	}
	serve(s.ClientURL())
	if _, err := b.Call(t.Context(), call("work", "1")); err != nil {
		t.Fatal(err)
	}

	stopServer(s)
	eventually(t, "the bus is not ready", func() bool { return b.Ready() != nil })
	if err := b.Ready(); mayfly.CodeOf(err) != mayfly.Unavailable || mayfly.HintOf(err) == "" {
		t.Errorf("ready: error = %v", err)
	}
	for range 100 {
		c := call("work", "2")
		_, err := b.Call(t.Context(), c)
		if mayfly.CodeOf(err) != mayfly.Unavailable || !time.Now().Before(c.Deadline) {
			t.Fatalf("call: error = %v", err)
		}
		if err := b.Send(t.Context(), c); mayfly.CodeOf(err) != mayfly.Unavailable {
			t.Fatalf("send: error = %v", err)
		}
	}
	if _, err := b.Gather(t.Context(), "work"); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("gather: error = %v", err)
	}

	s = startServer(t, server.Options{StoreDir: store, Port: port})
	serve(s.ClientURL())
	eventually(t, "the bus is ready again", func() bool { return b.Ready() == nil })
	reply, err := b.Call(t.Context(), call("work", "3"))
	if err != nil || string(reply.Body) != "3" {
		t.Errorf("reply %q, error %v", reply.Body, err)
	}
	// What was refused meanwhile would have come before this call: same connection.
	if n := came.Load(); n != 2 {
		t.Errorf("the service was called %d times, want 2", n)
	}
	if n := b.Stats().Reconnects; n != 1 {
		t.Errorf("%d reconnects, want 1", n)
	}
}

// A subject beyond the server's protocol line makes it close the connection, and
// nats.go does not connect again after that.
func TestClosedConnectionIsMadeAnew(t *testing.T) {
	t.Parallel()
	log := newDiary("connection replaced")
	b := open(t, bus.Options{Server: &bus.ServerOptions{Store: t.TempDir()}, Log: log.log()})
	answers := make(chan string, 1)
	inbox := b.Inbox(func(answer []byte, _ bool) { answers <- string(answer) })
	t.Cleanup(inbox.Close)
	nc := natstest.Connect(t, b)
	natstest.Serve(t, nc, "echo", func(m *nats.Msg) { m.Respond(m.Data) })

	ctx, leave := context.WithCancel(t.Context())
	broken := make(chan error, 1)
	go func() {
		_, err := b.Call(ctx, call(strings.Repeat("a", 5000), ""))
		broken <- err
	}()
	<-log.lines
	leave()
	if err := <-broken; err == nil {
		t.Error("the call that broke the connection got a reply")
	}
	eventually(t, "the bus is ready again", func() bool { return b.Ready() == nil && b.Stats().Connected == 2 })
	reply, err := b.Call(t.Context(), call("echo", "hi"))
	if err != nil || string(reply.Body) != "hi" {
		t.Errorf("reply %q, error %v", reply.Body, err)
	}
	// Inboxes go on.
	natstest.Serve(t, nc, "later", func(m *nats.Msg) { m.Respond([]byte("here")) })
	if err := inbox.Ask("later"); err != nil {
		t.Fatal(err)
	}
	if answer := <-answers; answer != "here" {
		t.Errorf("answer %q", answer)
	}
}

func TestCallsGoOverTheConnectionsThatAreUp(t *testing.T) {
	t.Parallel()
	b := open(t, bus.Options{Server: &bus.ServerOptions{Store: t.TempDir()}, Connections: 3})
	natstest.Serve(t, natstest.Connect(t, b), "echo", func(m *nats.Msg) { m.Respond(m.Data) })
	for range 50 {
		if _, err := b.Call(t.Context(), call("echo", "")); err != nil {
			t.Fatal(err)
		}
		if err := b.Send(t.Context(), call("echo", "")); err != nil {
			t.Fatal(err)
		}
	}
	if s := b.Stats(); s.Connected != 4 || s.Connections != 4 || s.MessagesOut < 150 || s.MessagesIn < 50 {
		t.Errorf("stats = %+v", s)
	}
}

func TestCloseIsFinalAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := b.Ready(); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("ready after close: %v", err)
	}
	if _, err := b.Call(t.Context(), call("echo", "")); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("call after close: %v", err)
	}
}

func TestCloseEndsWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	b := open(t, bus.Options{Remote: bus.Remote{URL: s.ClientURL()}, NoJetStream: true})
	stopServer(s)
	eventually(t, "the bus is not ready", func() bool { return b.Ready() != nil })
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestRemoteShowsNoSecret(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		in   bus.Remote
		want string
	}{
		{"plain", bus.Remote{URL: "nats://127.0.0.1:4222"}, "nats://127.0.0.1:4222"},
		{"no scheme", bus.Remote{URL: "demo:4222"}, "nats://demo:4222"},
		{"user and password", bus.Remote{URL: "nats://ada:s3cret@demo:4222"}, "nats://demo:4222"},
		{"token", bus.Remote{URL: "tls://s3cret@demo"}, "tls://demo"},
		{"several", bus.Remote{URL: "nats://a:s3cret@one:1, b:s3cret@two:2"}, "nats://one:1,nats://two:2"},
		{"password with @", bus.Remote{URL: "nats://ada:s3cret@s3cret@demo:4222"}, "nats://demo:4222"},
		{"password with /", bus.Remote{URL: "nats://ada:s3cret/s3cret@demo:4222"}, "an unreadable address"},
		{"password with ,", bus.Remote{URL: "nats://ada:s3cret,s3cret@demo:4222"}, "an unreadable address,nats://demo:4222"},
		{"password with %", bus.Remote{URL: "nats://ada:s3cret%@demo:4222"}, "an unreadable address"},
		{"context", bus.Remote{Context: "work", Password: "s3cret"}, `context "work"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.in.String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
