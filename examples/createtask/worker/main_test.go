package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/goleak"
)

// asWorker makes the test binary be the worker itself, so that the tests can
// send signals to a real process that runs the real main.
const asWorker = "WORKER_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

func TestWorkerAnswersATask(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	w := startWorker(t, worker{natsURL: s.ClientURL(), do: do})
	w.wait("connected")
	w.wantHealth(http.StatusOK, "OK")
	nc := connect(t, s)

	reply := request(t, nc, "help please")
	if got := string(reply.Data); got != "done: help please" {
		t.Errorf("answer = %q", got)
	}
	if reply.Header.Get("Worker-Id") == "" {
		t.Error("the answer does not say who gave it")
	}
}

func TestWorkerSaysThatATaskIsWrong(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	w := startWorker(t, worker{natsURL: s.ClientURL(), do: do})
	w.wait("connected")
	w.wantHealth(http.StatusOK, "OK")

	reply := request(t, connect(t, s), " ")
	if code, text := reply.Header.Get(micro.ErrorCodeHeader), reply.Header.Get(micro.ErrorHeader); code != "400" || text != "the task is empty" {
		t.Errorf("answer = %q %q", code, text)
	}
}

func TestWorkerShowsItselfAsAMicroService(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	w := startWorker(t, worker{natsURL: s.ClientURL(), do: do})
	w.wait("connected")
	w.wantHealth(http.StatusOK, "OK")
	nc := connect(t, s)

	reply, err := nc.Request("$SRV.INFO.worker", nil, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var info micro.Info
	if err := json.Unmarshal(reply.Data, &info); err != nil {
		t.Fatal(err)
	}
	if info.Name != "worker" || info.Version != "1.0.0" || len(info.Endpoints) != 1 {
		t.Fatalf("INFO = %s", reply.Data)
	}
	if e := info.Endpoints[0]; e.Name != "tasks" || e.Subject != "tasks" || e.QueueGroup != "workers" {
		t.Errorf("endpoint = %+v", e)
	}
	if id := request(t, nc, "who are you").Header.Get("Worker-Id"); id != info.ID {
		t.Errorf("the answer is from %q, INFO from %q", id, info.ID)
	}
}

func TestTwoWorkersShareTheTasks(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	var mu sync.Mutex
	done := map[string]int{}
	count := func(task string) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		done[task]++
		return do(task)
	}
	for range 2 {
		w := startWorker(t, worker{natsURL: s.ClientURL(), do: count})
		w.wait("connected")
		w.wantHealth(http.StatusOK, "OK")
	}
	nc := connect(t, s)

	const tasks = 200 // that one worker gets them all has a chance of 2 in 2^200
	by := map[string]int{}
	for i := range tasks {
		by[request(t, nc, fmt.Sprint("task ", i)).Header.Get("Worker-Id")]++
	}
	if len(by) != 2 {
		t.Errorf("answers by worker: %v, want two workers", by)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(done) != tasks {
		t.Errorf("%d tasks were done, want %d", len(done), tasks)
	}
	for task, n := range done {
		if n != 1 {
			t.Errorf("%s was done %d times", task, n)
		}
	}
}

func TestWorkerMayStartBeforeNATS(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	w := startWorker(t, worker{natsURL: fmt.Sprint("nats://127.0.0.1:", port), do: do})
	w.wait("waiting for nats")
	w.wantHealth(http.StatusServiceUnavailable, "NATS is RECONNECTING")

	s := startServer(t, port)
	w.wait("connected")
	w.wantHealth(http.StatusOK, "OK")
	request(t, connect(t, s), "help please")
	if n := w.count("waiting for nats"); n != 1 {
		t.Errorf("the worker said %d times that it waits", n)
	}
}

func TestWorkerOutlivesNATS(t *testing.T) {
	t.Parallel()
	first := startServer(t, 0)
	port := first.Addr().(*net.TCPAddr).Port
	w := startWorker(t, worker{natsURL: first.ClientURL(), do: do})
	w.wait("connected")
	w.wantHealth(http.StatusOK, "OK")

	first.Shutdown()
	first.WaitForShutdown()
	w.wait("disconnected")
	w.wantHealth(http.StatusServiceUnavailable, "NATS is RECONNECTING")

	second := startServer(t, port)
	w.wait("reconnected")
	w.wantHealth(http.StatusOK, "OK")
	request(t, connect(t, second), "help please")
}

func TestWorkerIsNotHealthyWithoutItsSubscription(t *testing.T) {
	t.Parallel()
	s := startServerWith(t, &server.Options{Users: []*server.User{{
		Username:    "worker",
		Password:    "s3cret",
		Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{"tasks"}}},
	}}})
	w := startWorker(t, worker{natsURL: "nats://worker:s3cret@" + s.Addr().String(), do: do})
	w.wait("nats error")
	w.wantHealth(http.StatusServiceUnavailable, `Permissions Violation for Subscription to "tasks"`)
}

func TestWorkerEndsWhenNATSRefusesIt(t *testing.T) {
	t.Parallel()
	s := startServerWith(t, &server.Options{Username: "worker", Password: "s3cret"})
	w := startWorker(t, worker{natsURL: "nats://worker:wrong@" + s.Addr().String(), do: do})
	err := <-w.ended
	if err == nil || !strings.Contains(err.Error(), "Authorization Violation") {
		t.Errorf("run = %v", err)
	}
	w.ended <- nil // for the cleanup
	for _, line := range w.lines() {
		if strings.Contains(line, "wrong") {
			t.Errorf("the log tells the password: %s", line)
		}
	}
}

func TestWorkerEndsWhenItsHealthPortIsTaken(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	w := worker{natsURL: s.ClientURL(), healthAddr: s.Addr().String(), do: do, log: slog.New(slog.DiscardHandler)}
	if err := w.run(t.Context()); err == nil || !strings.Contains(err.Error(), "health: listen") {
		t.Errorf("run = %v", err)
	}
}

func TestWorkerNeedsNoHealthEndpoint(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	w := startWorkerWithoutHealth(t, worker{natsURL: s.ClientURL(), do: do})
	w.wait("connected")
	w.stop()
	if err := <-w.ended; err != nil {
		t.Errorf("run = %v", err)
	}
	w.ended <- nil // for the cleanup
	if n := w.count("health listening"); n != 0 {
		t.Error("it listened nevertheless")
	}
}

func TestWorkerFinishesTheTaskInHand(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	started, finish := make(chan struct{}), make(chan struct{})
	w := startWorker(t, worker{natsURL: s.ClientURL(), do: func(task string) (string, error) {
		close(started)
		<-finish
		return do(task)
	}})
	w.wait("connected")
	w.wantHealth(http.StatusOK, "OK")
	answers := send(t, connect(t, s), "help please")
	<-started

	w.stop()
	w.wait("draining")
	w.wantHealth(http.StatusServiceUnavailable, "NATS is DRAINING_SUBS")
	w.wantRunning()
	close(finish)
	if got := next(t, answers); got != "done: help please" {
		t.Errorf("answer = %q", got)
	}
	if err := <-w.ended; err != nil {
		t.Errorf("run = %v", err)
	}
	w.ended <- nil // for the cleanup
}

func TestWorkerFinishesTheTaskInHandWithoutNATS(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	started, finish := make(chan struct{}), make(chan struct{})
	w := startWorker(t, worker{natsURL: s.ClientURL(), do: func(string) (string, error) {
		close(started)
		<-finish
		return "", nil
	}})
	w.wait("connected")
	w.wantHealth(http.StatusOK, "OK")
	send(t, connect(t, s), "help please")
	<-started
	s.Shutdown()
	w.wait("disconnected")

	w.stop()
	w.wait("draining")
	w.wantRunning()
	close(finish)
	if err := <-w.ended; err != nil {
		t.Errorf("run = %v", err)
	}
	if w.count("reply not sent") != 1 {
		t.Error("run did not wait for the task in hand")
	}
	w.ended <- nil // for the cleanup
}

// A stopped process has the task in its socket when SIGTERM comes: whatever it
// sees first when it goes on, the task must be answered.
func TestSIGTERMLosesNoTask(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	for _, tt := range []struct {
		name string
		env  []string
	}{
		{"NATS_URI", []string{"NATS_URI=" + s.ClientURL()}},
		{"NATS_URL", []string{"NATS_URL=" + s.ClientURL()}},
		{"NATS_URI wins", []string{"NATS_URI=" + s.ClientURL(), "NATS_URL=nats://127.0.0.1:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// One after the other: they would take each other's task.
			binary, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			w := newJournal(t)
			cmd := exec.CommandContext(t.Context(), binary)
			cmd.Env = append(tt.env, asWorker+"=1")
			cmd.Stderr = w
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			w.wait("connected")
			w.wantHealth(http.StatusOK, "OK")
			nc := connect(t, s)

			if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			var state syscall.WaitStatus
			if _, err := syscall.Wait4(cmd.Process.Pid, &state, syscall.WUNTRACED, nil); err != nil || !state.Stopped() {
				t.Fatalf("the worker has not stopped: %v", err)
			}
			answers := send(t, nc, "help please")
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if got := next(t, answers); got != "done: help please" {
				t.Errorf("answer = %q", got)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("the worker ended with %v:\n%s", err, strings.Join(w.lines(), "\n"))
			}
		})
	}
}

// running is a worker in this process.
type running struct {
	*journal
	stop  context.CancelFunc
	ended chan error // gets what run returned
}

// startWorker runs w with a health endpoint and waits until that listens. The
// cleanup stops the worker and takes its error from ended; a test that took it
// puts one back.
func startWorker(t *testing.T, w worker) *running {
	t.Helper()
	w.healthAddr = "127.0.0.1:0"
	r := startWorkerWithoutHealth(t, w)
	r.wait("health listening")
	return r
}

func startWorkerWithoutHealth(t *testing.T, w worker) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{journal: newJournal(t), stop: stop, ended: make(chan error, 1)}
	w.log = slog.New(slog.NewTextHandler(r.journal, nil))
	go func() { r.ended <- w.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-r.ended; err != nil {
			t.Errorf("run = %v", err)
		}
	})
	return r
}

// wantRunning gives a run that does not wait for its task the time to end.
func (r *running) wantRunning() {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.t.Fatalf("run = %v with a task in hand", err)
	case <-time.After(200 * time.Millisecond):
	}
}

// journal is a log that a test can wait for. A line is written at once by slog.
type journal struct {
	t    *testing.T
	mu   sync.Mutex
	all  []string
	more chan struct{} // closed, and replaced, when a line comes
}

func newJournal(t *testing.T) *journal { return &journal{t: t, more: make(chan struct{})} }

func (l *journal) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, strings.Split(strings.TrimSuffix(string(p), "\n"), "\n")...)
	close(l.more)
	l.more = make(chan struct{})
	return len(p), nil
}

func (l *journal) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

func (l *journal) count(msg string) int {
	n := 0
	for _, line := range l.lines() {
		if hasMessage(line, msg) {
			n++
		}
	}
	return n
}

// wait returns the first line with the message, once it is there.
func (l *journal) wait(msg string) string {
	l.t.Helper()
	late := time.After(30 * time.Second)
	for {
		l.mu.Lock()
		all, more := slices.Clone(l.all), l.more
		l.mu.Unlock()
		if i := slices.IndexFunc(all, func(line string) bool { return hasMessage(line, msg) }); i >= 0 {
			return all[i]
		}
		select {
		case <-more:
		case <-late:
			l.t.Fatalf("the log has no %q:\n%s", msg, strings.Join(all, "\n"))
		}
	}
}

// hasMessage reports whether msg is the message of a line of slog's text.
func hasMessage(line, msg string) bool {
	if strings.Contains(msg, " ") {
		msg = fmt.Sprintf("%q", msg)
	}
	return strings.Contains(line+" ", " msg="+msg+" ")
}

// wantHealth asks the endpoint that the log names.
func (l *journal) wantHealth(status int, text string) {
	l.t.Helper()
	_, addr, _ := strings.Cut(l.wait("health listening"), "addr=")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	reply, err := client.Get("http://" + addr + "/healthz")
	if err != nil {
		l.t.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	if reply.StatusCode != status || !strings.Contains(string(body), text) {
		l.t.Fatalf("health is %d %q, want %d %q", reply.StatusCode, body, status, text)
	}
}

// startServer returns a NATS server that is ready, on any free port if port is 0.
func startServer(t *testing.T, port int) *server.Server {
	t.Helper()
	return startServerWith(t, &server.Options{Port: port})
}

func startServerWith(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog = "127.0.0.1", true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server is not ready")
	}
	return s
}

func connect(t *testing.T, s *server.Server) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(s.ClientURL(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	return nc
}

func request(t *testing.T, nc *nats.Conn, task string) *nats.Msg {
	t.Helper()
	reply, err := nc.Request("tasks", []byte(task), 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// send sends a task and returns when the server has it; the answer comes to the
// subscription.
func send(t *testing.T, nc *nats.Conn, task string) *nats.Subscription {
	t.Helper()
	inbox := nc.NewRespInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest("tasks", inbox, []byte(task)); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return answers
}

func next(t *testing.T, answers *nats.Subscription) string {
	t.Helper()
	m, err := answers.NextMsg(30 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return string(m.Data)
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
