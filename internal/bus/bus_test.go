package bus_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is a deadline that only a failing test reaches.
func soon() time.Time { return time.Now().Add(soonIn) }

const soonIn = 20 * time.Second

// call returns a call that has time enough.
func call(subject, body string) mayfly.Call {
	return mayfly.Call{Subject: mayfly.Subject(subject), Body: []byte(body), Deadline: soon()}
}

// eventually waits until ok says so: what it asks is counted or remembered by the
// other side of a socket, which tells nobody.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := soon(); time.Now().Before(end); <-tick.C {
		if ok() {
			return
		}
	}
	t.Fatalf("gave up waiting for: %s", what)
}

// open opens a bus for the length of the test.
func open(t testing.TB, o bus.Options) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("open bus: %v", err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// connect connects as a user's program would.
func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// startServer starts a NATS server that is not ours, until the end of the test.
// It has JetStream if it has a store.
func startServer(t testing.TB, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog = "127.0.0.1", true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	o.JetStream = o.StoreDir != ""
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatalf("make server: %v", err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server does not start")
	}
	t.Cleanup(func() { stopServer(s) })
	return s
}

func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// A diary keeps what was logged.
type diary struct {
	mu    sync.Mutex
	text  strings.Builder
	lines chan string // gets the lines that contain want
	want  string
}

func newDiary(want string) *diary { return &diary{lines: make(chan string, 1), want: want} }

func (d *diary) Write(line []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text.Write(line)
	if d.want != "" && strings.Contains(string(line), d.want) {
		select {
		case d.lines <- string(line):
		default:
		}
	}
	return len(line), nil
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

func (d *diary) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(d, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
