//go:build fire && unix

package node_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"
)

// How long and how much. The defaults suit somebody at a desk; the figures that
// the tests' comments name are those of -fire 20s -outage 3m.
var (
	fire   = flag.Duration("fire", 5*time.Second, "how long the tests under load load")
	outage = flag.Duration("outage", 5*time.Second, "how long all servers of the cluster are away")
)

// roleVariable makes the test's program one of the processes that a test kills: a
// goroutine cannot be killed.
const roleVariable = "MAYFLY_TEST_ROLE"

func TestMain(m *testing.M) {
	if playPart() {
		return
	}
	if role := os.Getenv(roleVariable); role != "" {
		if err := playServer(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

// A member is one server of a cluster. What is exported its process is told.
type member struct {
	Name                 string
	Port, Monitor, Route int // all on 127.0.0.1
	Store                string
	Others               []string // URLs of the routes

	process *os.Process
	exited  chan struct{} // closed when the process is gone
}

// playServer is nats-server with JetStream, clustered, until stdin ends: so it
// never outlives the test, however that ends.
func playServer(role string) error {
	var m member
	if err := json.Unmarshal([]byte(role), &m); err != nil {
		return err
	}
	o := &server.Options{
		ServerName: m.Name, Host: "127.0.0.1", Port: m.Port, HTTPHost: "127.0.0.1", HTTPPort: m.Monitor,
		JetStream: true, StoreDir: m.Store, JetStreamMaxStore: 64 << 20, JetStreamMaxMemory: 64 << 20, NoSigs: true, NoLog: true,
		Cluster: server.ClusterOpts{Name: "fire", Host: "127.0.0.1", Port: m.Route, PoolSize: -1},
	}
	for _, other := range m.Others {
		o.Routes = append(o.Routes, server.RoutesFromStr(other)...)
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		return errors.New("the server does not start")
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// start starts the member's process and returns when it takes connections.
func (m *member) start(t *testing.T) {
	t.Helper()
	role, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), roleVariable+"="+string(role))
	c.Stderr = t.Output()
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	m.process, m.exited = c.Process, exited
	ready := make(chan bool, 1)
	go func() {
		defer close(exited)
		line, _ := bufio.NewReader(out).ReadString('\n')
		ready <- line == "ready\n"
		_, _ = io.Copy(io.Discard, out)
		_ = c.Wait() // killed, mostly
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		in.Close()
		<-exited
	})
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("server %s does not start", m.Name)
		}
	case <-time.After(patience):
		t.Fatalf("server %s does not start in %s", m.Name, patience)
	}
}

// kill is kill -9. It returns when the process is gone.
func (m *member) kill(t *testing.T) {
	t.Helper()
	if err := m.process.Kill(); err != nil {
		t.Fatalf("kill server %s: %v", m.Name, err)
	}
	<-m.exited
}

func (m *member) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", m.Port) }
