package responder_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/news"
	"github.com/mayfly-run/mayfly/internal/responder"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/nats-io/jsm.go/schemas"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engineFunc is an engine whose instances are this function.
type engineFunc func(ctx context.Context, c *mayfly.Call) (mayfly.Reply, error)

func (f engineFunc) Traits() runner.Traits { return runner.Traits{} }

func (f engineFunc) Start(context.Context, runner.Spec) (runner.Instance, error) {
	return &instance{call: f, done: make(chan struct{})}, nil
}

type instance struct {
	call engineFunc
	once sync.Once
	done chan struct{}
}

func (i *instance) Call(ctx context.Context, c *mayfly.Call) (mayfly.Reply, error) {
	return i.call(ctx, c)
}
func (i *instance) Done() <-chan struct{} { return i.done }
func (i *instance) Err() error            { return nil }
func (i *instance) Stop(context.Context)  { i.once.Do(func() { close(i.done) }) }
func (i *instance) Usage() runner.Usage   { return runner.Usage{} }

// A stage is a node as far as the responder sees it. All that it has is public.
type stage struct {
	news   news.Feed[mayfly.Name]
	runner *runner.Runner
	bus    *bus.Bus
	nc     *nats.Conn
	stop   func() // ends the responder and waits for it
}

func start(t *testing.T, f engineFunc, names ...mayfly.Name) *stage {
	t.Helper()
	b := natstest.New(t)
	r := runner.New(runner.Options{Engines: map[mayfly.Engine]runner.Engine{mayfly.EngineHTTP: f}})
	s := &stage{runner: r, bus: b, nc: natstest.Connect(t, b)}
	for _, name := range names {
		s.set(t, mayfly.Unit{Name: name, Revision: 1})
	}
	p, err := responder.New(t.Context(), b, s, r, responder.Options{Node: "n1", Name: "one", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	working, end := context.WithCancel(context.Background())
	parts.Go(func() { _ = r.Run(working) })
	var door sync.WaitGroup
	door.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	s.stop = func() { cancel(); door.Wait() }
	t.Cleanup(func() { s.stop(); end(); parts.Wait() })
	return s
}

func (s *stage) set(t *testing.T, f mayfly.Unit) {
	t.Helper()
	f.Engine = mayfly.EngineHTTP
	folder := t.TempDir()
	if err := s.runner.Set(f, func(context.Context) (string, error) { return folder, nil }); err != nil {
		t.Fatal(err)
	}
	s.news.Tell(f.Name)
}

func (s *stage) remove(name mayfly.Name) {
	s.runner.Remove(name)
	s.news.Tell(name)
}

func (s *stage) Public(name mayfly.Name) *mayfly.Unit {
	for _, u := range s.runner.Units() {
		if u.Name == name {
			return &u
		}
	}
	return nil
}

func (s *stage) Watch(ctx context.Context) <-chan map[mayfly.Name]struct{} {
	var all []mayfly.Name
	for _, f := range s.runner.Units() {
		all = append(all, f.Name)
	}
	return s.news.Watch(ctx, all...)
}

// ask sends a plain request.
func (s *stage) ask(t *testing.T, subject, body string) *nats.Msg {
	t.Helper()
	m, err := s.nc.Request(subject, []byte(body), time.Minute)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return m
}

func echo(_ context.Context, c *mayfly.Call) (mayfly.Reply, error) {
	return mayfly.Reply{Status: 200, Header: http.Header{"X-Method": {c.Method}, "X-Path": {c.Path}}, Body: c.Body}, nil
}

func TestPlainRequestIsAPost(t *testing.T) {
	t.Parallel()
	s := start(t, echo, "hello")
	m := s.ask(t, "fn.hello", `{"a":1}`)
	if string(m.Data) != `{"a":1}` || m.Header.Get("X-Method") != "POST" || m.Header.Get("X-Path") != "/" {
		t.Errorf("got %q %v", m.Data, m.Header)
	}
}

func TestRepliesAndErrorsAsMessages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		reply mayfly.Reply
		err   error
		want  nats.Header // those that must be there; "" means absent
		body  string
	}{
		{"success says no status", mayfly.Reply{Status: 200, Body: []byte("hi")}, nil, nats.Header{"Mayfly-Status": {""}, "Nats-Service-Error": {""}}, "hi"},
		{"another status", mayfly.Reply{Status: 404, Body: []byte("no")}, nil, nats.Header{"Mayfly-Status": {"404"}, "Nats-Service-Error-Code": {""}}, "no"},
		{"a failure is an error too", mayfly.Reply{Status: 503, Body: []byte("no")}, nil, nats.Header{"Mayfly-Status": {"503"}, "Nats-Service-Error-Code": {"503"}, "Nats-Service-Error": {"Service Unavailable"}}, "no"},
		{"a header", mayfly.Reply{Status: 200, Header: http.Header{"Etag": {`"1"`}}}, nil, nats.Header{"Etag": {`"1"`}}, ""},
		{
			"an error of ours",
			mayfly.Reply{},
			mayfly.Errorf(mayfly.Crashed, "it\nbroke: %w", mayfly.Trace("secret")).WithHint("mend it"),
			nats.Header{"Nats-Service-Error-Code": {"502"}, "Mayfly-Error": {"crashed"}, "Mayfly-Hint": {"mend it"}},
			"",
		},
		{"too large a reply", mayfly.Reply{Status: 200, Body: bytes.Repeat([]byte("x"), 2<<20)}, nil, nats.Header{"Nats-Service-Error-Code": {"502"}, "Mayfly-Error": {"crashed"}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(context.Context, *mayfly.Call) (mayfly.Reply, error) { return tt.reply, tt.err }, "hello")
			m := s.ask(t, "fn.hello", "")
			if string(m.Data) != tt.body {
				t.Errorf("body %.40q, want %q", m.Data, tt.body)
			}
			for name, want := range tt.want {
				if got := m.Header.Get(name); got != want[0] {
					t.Errorf("%s is %q, want %q", name, got, want[0])
				}
			}
		})
	}
}

// What is said on one side of the bus is heard on the other as the same error.
func TestErrorCrossesTheBus(t *testing.T) {
	t.Parallel()
	s := start(t, func(context.Context, *mayfly.Call) (mayfly.Reply, error) {
		return mayfly.Reply{}, mayfly.Errorf(mayfly.Exhausted, "full").WithHint("come back")
	}, "hello")
	_, err := s.bus.Call(t.Context(), mayfly.Call{Subject: "fn.hello"})
	if mayfly.CodeOf(err) != mayfly.Exhausted || err.Error() != "full" || mayfly.HintOf(err) != "come back" {
		t.Errorf("got %v (%v, hint %q)", err, mayfly.CodeOf(err), mayfly.HintOf(err))
	}
}

func TestAnswersPassTheSchemas(t *testing.T) {
	t.Parallel()
	s := start(t, echo, "hello", "other")
	s.ask(t, "fn.hello", "x")
	for _, verb := range []string{"ping", "info", "stats"} {
		raw, err := schemas.Load("micro/v1/" + verb + "_response.json")
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		compiler := jsonschema.NewCompiler()
		compiler.AssertFormat()
		if err := compiler.AddResource(verb, document); err != nil {
			t.Fatal(err)
		}
		schema, err := compiler.Compile(verb)
		if err != nil {
			t.Fatal(err)
		}
		subject := "$SRV." + strings.ToUpper(verb)
		for _, subject := range []string{subject, subject + ".hello", subject + ".hello.n1-hello-1"} {
			m := s.ask(t, subject, "")
			answer, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.Data))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(answer); err != nil {
				t.Errorf("%s: %v\n%s", subject, err, m.Data)
			}
		}
	}
}

func (s *stage) stats(t *testing.T, name string) micro.Stats {
	t.Helper()
	var got micro.Stats
	if err := json.Unmarshal(s.ask(t, "$SRV.STATS."+name, "").Data, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestStatisticsAreExact(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ context.Context, c *mayfly.Call) (mayfly.Reply, error) {
		switch string(c.Body) {
		case "fail":
			return mayfly.Reply{}, mayfly.Errorf(mayfly.Crashed, "it broke")
		case "500":
			return mayfly.Reply{Status: 500}, nil
		case "404":
			return mayfly.Reply{Status: 404}, nil
		}
		return mayfly.Reply{Status: 200}, nil
	}, "hello")
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for range 10 {
				body := []string{"", "fail", "500", "404"}[i%4]
				if i < 4 {
					if _, err := s.nc.Request("fn.hello", []byte(body), time.Minute); err != nil {
						t.Error(err)
					}
					continue
				}
				_, _ = s.runner.Call(t.Context(), "hello", &mayfly.Call{Body: []byte(body)}) // as the gateway does
			}
		})
	}
	clients.Wait()
	e := s.stats(t, "hello").Endpoints[0]
	if e.NumRequests != 80 || e.NumErrors != 40 || e.LastError == "" || e.ProcessingTime <= 0 || e.AverageProcessingTime != e.ProcessingTime/80 {
		t.Errorf("statistics are %+v", e)
	}
}

func TestRemovedFunctionHasNoResponders(t *testing.T) {
	t.Parallel()
	s := start(t, echo, "hello", "other")
	s.ask(t, "fn.hello", "")
	s.remove("hello")
	for { // one that comes while it goes may get no answer at all
		_, err := s.nc.Request("fn.hello", nil, 100*time.Millisecond)
		if errors.Is(err, nats.ErrNoResponders) {
			break
		}
	}
	s.ask(t, "fn.other", "")
	if _, err := s.nc.Request("$SRV.PING.hello", nil, time.Minute); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("it still answers PING: %v", err)
	}
}

func TestNewRevisionShowsItself(t *testing.T) {
	t.Parallel()
	s := start(t, echo, "hello")
	before := s.stats(t, "hello")
	s.set(t, mayfly.Unit{Name: "hello", Revision: 2})
	for {
		if now := s.stats(t, "hello"); now.Version == "1.0.2" {
			if now.ID == before.ID {
				t.Error("two revisions have one id")
			}
			return
		}
	}
}

func TestPublishRunsTheFunction(t *testing.T) {
	t.Parallel()
	ran := make(chan string, 1)
	s := start(t, func(_ context.Context, c *mayfly.Call) (mayfly.Reply, error) {
		ran <- string(c.Body)
		return mayfly.Reply{Status: 200}, nil
	}, "hello")
	if err := s.nc.Publish("fn.hello", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := <-ran; got != "x" {
		t.Errorf("it got %q", got)
	}
	for s.stats(t, "hello").Endpoints[0].NumRequests == 0 {
	}
	if e := s.stats(t, "hello").Endpoints[0]; e.NumErrors != 0 {
		t.Errorf("a publish is an error: %+v", e)
	}
}

func TestCallInHandIsAnsweredAtTheEnd(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}), make(chan struct{})
	s := start(t, func(context.Context, *mayfly.Call) (mayfly.Reply, error) {
		close(began)
		<-goOn
		return mayfly.Reply{Status: 200, Body: []byte("done")}, nil
	}, "hello")
	answer := make(chan string, 1)
	go func() {
		m, err := s.nc.Request("fn.hello", nil, time.Minute)
		if err != nil {
			answer <- err.Error()
			return
		}
		answer <- string(m.Data)
	}()
	<-began
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	for { // it takes no more
		if _, err := s.nc.Request("$SRV.PING.hello", nil, time.Second); errors.Is(err, nats.ErrNoResponders) {
			break
		}
	}
	select {
	case <-stopped:
		t.Error("Run has ended before the call")
	default:
	}
	close(goOn)
	if got := <-answer; got != "done" {
		t.Errorf("the call got %q", got)
	}
	<-stopped
}

func TestManyFunctionsAllAnswer(t *testing.T) {
	t.Parallel()
	var names []mayfly.Name
	for i := range 300 {
		names = append(names, mayfly.Name(fmt.Sprintf("f%d", i)))
	}
	s := start(t, echo, names...)
	inbox := s.nc.NewInbox()
	sub, err := s.nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.nc.PublishRequest("$SRV.PING", inbox, nil); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for len(seen) < len(names) {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatalf("%d of %d have answered: %v", len(seen), len(names), err)
		}
		var p micro.Ping
		if err := json.Unmarshal(m.Data, &p); err != nil {
			t.Fatal(err)
		}
		seen[p.Name] = true
	}
}

// The node takes calls on a subject of its own too, and shows that it does.
func TestFunctionIsReachedOnItsNode(t *testing.T) {
	t.Parallel()
	s := start(t, echo, "hello")
	if m := s.ask(t, "fn.hello.n1", "x"); string(m.Data) != "x" {
		t.Errorf("got %q %v", m.Data, m.Header)
	}
	if _, err := s.nc.Request("fn.hello.n2", nil, time.Minute); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("on another node: %v", err)
	}
	var shown micro.Info
	if err := json.Unmarshal(s.ask(t, "$SRV.INFO.hello", "").Data, &shown); err != nil || shown.Metadata[mayfly.MetaNode] != "n1" {
		t.Errorf("INFO shows %v, error %v", shown.Metadata, err)
	}
	s.remove("hello")
	for {
		if _, err := s.nc.Request("fn.hello.n1", nil, 100*time.Millisecond); errors.Is(err, nats.ErrNoResponders) {
			return
		}
	}
}

// A call that takes longer than silence is borne is answered all the same, also where
// the reply is what takes so long.
func TestLongCallSendsSigns(t *testing.T) {
	t.Parallel()
	s := start(t, func(ctx context.Context, c *mayfly.Call) (mayfly.Reply, error) {
		if string(c.Body) == "stream" {
			r, w := io.Pipe()
			time.AfterFunc(4*time.Second, func() { _, _ = w.Write([]byte("done")); w.Close() })
			return mayfly.Reply{Status: 200, Stream: r, Length: -1}, nil
		}
		select {
		case <-time.After(4 * time.Second):
		case <-ctx.Done():
		}
		return mayfly.Reply{Status: 200, Body: []byte("done")}, nil
	}, "hello")
	var calls sync.WaitGroup
	for _, body := range []string{"whole", "stream"} {
		calls.Go(func() {
			reply, err := s.bus.Call(t.Context(), mayfly.Call{Subject: "fn.hello", Signs: true, Body: []byte(body), Deadline: time.Now().Add(time.Minute)})
			if err != nil || string(reply.Body) != "done" {
				t.Errorf("%s: reply %q, error %v", body, reply.Body, err)
			}
		})
	}
	calls.Wait()
}
