package bus_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// greet accepts connections on a free port and says one thing to each, until the
// end of the test.
func greet(t *testing.T, words string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, words)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}

func TestServerSaysWhyItCannotStart(t *testing.T) {
	t.Parallel()
	theirs := startServer(t, server.Options{}).Addr().String()
	other := greet(t, "HTTP/1.1 400 Bad Request\r\n\r\n")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		o    bus.ServerOptions
		code mayfly.Code
		text string // in the error
		hint string // in the hint
	}{
		{"a NATS server has the port", bus.ServerOptions{Addr: theirs}, mayfly.Conflict, "a NATS server already runs on " + theirs, "--nats nats://" + theirs},
		{"another program has the port", bus.ServerOptions{Addr: other}, mayfly.Conflict, other + " (bus.addr) is in use", "--bus.addr"},
		{"another program has the monitor's port", bus.ServerOptions{Monitor: other}, mayfly.Conflict, other + " (bus.monitor) is in use", "--bus.monitor"},
		{"the address is no address", bus.ServerOptions{Addr: "4222"}, mayfly.Invalid, `address "4222"`, "127.0.0.1:4222"},
		{"the port is no port", bus.ServerOptions{Addr: "127.0.0.1:99999"}, mayfly.Invalid, `address "127.0.0.1:99999"`, "127.0.0.1:4222"},
		{"the monitor's address is no address", bus.ServerOptions{Monitor: "x"}, mayfly.Invalid, `address "x"`, "127.0.0.1:4222"},
		{"the address is not ours", bus.ServerOptions{Addr: "192.0.2.1:0"}, mayfly.Unavailable, "cannot listen on 192.0.2.1:0 (bus.addr)", "--bus.addr"},
		{"the store is below a file", bus.ServerOptions{Store: filepath.Join(file, "store")}, mayfly.Unavailable, "cannot be written: not a directory", "--data"},
		{"the store is a file", bus.ServerOptions{Store: file}, mayfly.Unavailable, "cannot be written: not a directory", "--data"},
		{"a user without password", bus.ServerOptions{User: "ada"}, mayfly.Invalid, "together", "--bus.password"},
		{"a password without user", bus.ServerOptions{Password: "s3cret"}, mayfly.Invalid, "together", "--bus.user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.o.Store == "" {
				tt.o.Store = t.TempDir()
			}
			b, err := bus.Open(t.Context(), bus.Options{Server: &tt.o})
			if err == nil {
				b.Close()
				t.Fatal("it opened")
			}
			checkError(t, err, tt.code, tt.text, tt.hint)
		})
	}
}

// checkError checks what a person would read.
func checkError(t *testing.T, err error, code mayfly.Code, text, hint string) {
	t.Helper()
	if mayfly.CodeOf(err) != code {
		t.Errorf("code = %v, want %v", mayfly.CodeOf(err), code)
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("error %q lacks %q", err, text)
	}
	if !strings.Contains(mayfly.HintOf(err), hint) {
		t.Errorf("hint %q lacks %q", mayfly.HintOf(err), hint)
	}
	for e := err; e != nil; {
		if s := e.Error() + mayfly.HintOf(e); strings.Contains(s, "s3cret") {
			t.Errorf("a secret shows in %q", s)
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
}

func TestServerWithoutStoreIsRefused(t *testing.T) {
	t.Parallel()
	_, err := bus.Open(t.Context(), bus.Options{Server: &bus.ServerOptions{}})
	if mayfly.CodeOf(err) != mayfly.Invalid || err == nil {
		t.Errorf("error = %v", err)
	}
}

func TestServerLetsInOnlyWhoKnowsTheSecret(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		o      bus.ServerOptions
		in     []nats.Option
		not    []nats.Option
		notURL string // user info of a URL that is refused
	}{
		{
			name: "user and password", o: bus.ServerOptions{User: "ada", Password: "s3cret"},
			in: []nats.Option{nats.UserInfo("ada", "s3cret")}, not: []nats.Option{nats.UserInfo("ada", "guess")}, notURL: "bob:s3cret@",
		},
		{
			name: "token", o: bus.ServerOptions{Token: "s3cret"},
			in: []nats.Option{nats.Token("s3cret")}, not: []nats.Option{nats.Token("guess")}, notURL: "bob:guess@",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := newDiary("")
			tt.o.Store, tt.o.Trace = t.TempDir(), log
			b := open(t, bus.Options{Server: &tt.o, Log: log.log()})
			if err := b.Ready(); err != nil {
				t.Error(err)
			}
			if !b.Embedded() || b.ServerVersion() != server.VERSION {
				t.Errorf("embedded %v, version %s", b.Embedded(), b.ServerVersion())
			}
			withUser := strings.Replace(b.URL(), "nats://", "nats://"+tt.notURL, 1)
			for name, refused := range map[string]func() (*nats.Conn, error){
				"without a secret":      func() (*nats.Conn, error) { return nats.Connect(b.URL()) },
				"with the wrong secret": func() (*nats.Conn, error) { return nats.Connect(b.URL(), tt.not...) },
				"with a wrong user":     func() (*nats.Conn, error) { return nats.Connect(withUser) },
			} {
				if nc, err := refused(); err == nil {
					nc.Close()
					t.Errorf("a client %s got in", name)
				}
			}
			connect(t, b.URL(), tt.in...)
			if strings.Contains(b.URL()+log.String(), "s3cret") {
				t.Error("the secret shows in the URL or the log")
			}
			if !strings.Contains(log.String(), "PING") {
				t.Error("the trace is empty")
			}
		})
	}
}

func TestServerKeepsItsStateInTheStore(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	first, err := bus.Open(t.Context(), bus.Options{Server: &bus.ServerOptions{Store: store}})
	if err != nil {
		t.Fatal(err)
	}
	nc := connect(t, first.URL())
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "kept", []byte("still here")); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	again := open(t, bus.Options{Server: &bus.ServerOptions{Store: store}})
	if js, err = jetstream.New(connect(t, again.URL())); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KEPT")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.GetMsg(t.Context(), 1); err != nil || string(m.Data) != "still here" {
		t.Errorf("message %v, error %v", m, err)
	}
	eventually(t, "the bus has seen the stream", func() bool { return again.Stats().JetStream.Streams == 1 })
}

func TestServerPutsEverybodyIntoOneAccount(t *testing.T) {
	t.Parallel()
	b := open(t, bus.Options{Server: &bus.ServerOptions{Store: t.TempDir(), Monitor: "127.0.0.1:0"}})
	nc := natstest.Connect(t, b)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OURS"}); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(b.MonitorURL() + "/jsz?streams=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, error %v", resp.StatusCode, err)
	}
	_, ofMayfly, ok := strings.Cut(string(page), `"name": "`+mayfly.AccountMayfly+`"`)
	if !ok || !strings.Contains(ofMayfly, `"name": "OURS"`) {
		t.Errorf("account %s does not hold the stream:\n%s", mayfly.AccountMayfly, page)
	}
	if m, err := nc.Request("$SYS.REQ.SERVER.PING", nil, soonIn); err == nil {
		t.Errorf("the system account answers a client: %s", m.Data)
	}
}

func TestServerWithoutMonitorHasNoAddressForIt(t *testing.T) {
	t.Parallel()
	if got := natstest.New(t).MonitorURL(); got != "" {
		t.Errorf("monitor at %s", got)
	}
}

func TestServerHasTheLimitsItWasGiven(t *testing.T) {
	t.Parallel()
	b := open(t, bus.Options{Server: &bus.ServerOptions{Store: t.TempDir(), MaxStore: 1 << 20, MaxMemory: 1 << 10, Monitor: "127.0.0.1:0"}})
	js, err := jetstream.New(natstest.Connect(t, b))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "BIG", MaxBytes: 1 << 21}); err == nil {
		t.Error("a stream larger than the store was made")
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "BIG", MaxBytes: 1 << 11, Storage: jetstream.MemoryStorage}); err == nil {
		t.Error("a stream larger than the memory was made")
	}
}
