package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/scope"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// The whole path of a call within a node: front, gateway, dispatch and runner, with an
// engine that answers at once and a client that allocates nothing.

const (
	requestHead = " /fn/hello/a?b=c HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: bench\r\nAccept: */*\r\n" +
		"Content-Type: application/json\r\n"
	getRequest = "GET" + requestHead + "\r\n"
)

var postRequest = "POST" + requestHead + "Content-Length: 128\r\n\r\n" + strings.Repeat("x", 128)

// An instantly is an engine whose instances answer at once.
type instantly struct{}

func (instantly) Traits() runner.Traits { return runner.Traits{} }

func (instantly) Start(context.Context, runner.Spec) (runner.Instance, error) {
	return &instant{header: http.Header{"Content-Type": {"text/plain"}}, done: make(chan struct{}), never: func() {}}, nil
}

type instant struct {
	header http.Header
	done   chan struct{}
	never  func()
	mu     sync.Mutex
	watch  scope.Watch
}

// Call watches the context, as engines do.
func (i *instant) Call(ctx context.Context, c *mayfly.Call) (mayfly.Reply, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.watch.Start(ctx, i.never)
	defer i.watch.Stop()
	return mayfly.Reply{Status: 200, Header: i.header, Body: c.Body}, ctx.Err()
}

func (i *instant) Done() <-chan struct{} { return i.done }
func (*instant) Err() error              { return nil }
func (i *instant) Stop(context.Context)  { close(i.done) }
func (*instant) Usage() runner.Usage     { return runner.Usage{} }

// A ran is one function of a runner.
type ran struct {
	functionsFunc
	*runner.Runner
	unit mayfly.Unit
}

func (r *ran) Function(name mayfly.Name) (*mayfly.Unit, bool) {
	if name != r.unit.Name {
		return nil, false
	}
	return &r.unit, false
}

func (r *ran) Call(ctx context.Context, name mayfly.Name, c *mayfly.Call) (mayfly.Reply, error) {
	return r.Runner.Call(ctx, name, c)
}

// openInstant returns the address of a gateway with the function hello.
func openInstant(t testing.TB) string {
	t.Helper()
	r := runner.New(runner.Options{Engines: map[mayfly.Engine]runner.Engine{mayfly.EngineHTTP: instantly{}}})
	f := mayfly.Unit{Name: "hello", Revision: 1, Program: mayfly.Program{Engine: mayfly.EngineHTTP}}
	f.Concurrency, f.Instances.Max = 64, 1
	if err := r.Set(f, func(context.Context) (string, error) { return "/", nil }); err != nil {
		t.Fatal(err)
	}
	lines := telemetry.NewBatch(io.Discard)
	g := newGateway(t, replying(reply(200, "")), directory{}, gateway.Options{
		Functions: &ran{Runner: r, unit: f}, Access: telemetry.NewAccessLog(lines, "json", false),
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- g.Run(ctx) }()
	go func() { done <- lines.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("Run = %v", err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return g.Addr().String()
}

// A caller sends the same request again and again.
type caller struct {
	conn net.Conn
	text []byte
	in   *bufio.Reader
}

func dialInstant(t testing.TB, addr, request string) *caller {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &caller{conn: conn, text: []byte(request), in: bufio.NewReader(conn)}
}

var okLine = []byte("HTTP/1.1 200 OK\r\n")

// call sends the request and reads the answer, which has a Content-Length.
func (c *caller) call(t testing.TB) {
	if _, err := c.conn.Write(c.text); err != nil {
		t.Fatal(err)
	}
	length := 0
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil || first && !bytes.Equal(line, okLine) {
			t.Fatalf("answer begins with %q, %v", line, err)
		}
		if len(line) == 2 { // the empty line
			break
		}
		if text, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(text)))
		}
	}
	if _, err := c.in.Discard(length); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkCall makes calls of a function through the node's whole path, one after another
// on each connection.
func BenchmarkCall(b *testing.B) {
	for _, request := range []struct{ name, text string }{{"get", getRequest}, {"post", postRequest}} {
		b.Run(request.name, func(b *testing.B) {
			addr := openInstant(b)
			b.ReportAllocs()
			b.SetParallelism(32) // times GOMAXPROCS: 64 connections on two cores
			b.RunParallel(func(pb *testing.PB) {
				c := dialInstant(b, addr, request.text)
				for pb.Next() {
					c.call(b)
				}
			})
		})
	}
}

// Memory of short life is a fifth of a call's cost, and grows unnoticed. A change that needs
// more has a reason to raise these.
func TestCallAllocatesLittle(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		most          float64
	}{
		{"get", getRequest, 11},
		{"post", postRequest, 13},
	} {
		c := dialInstant(t, openInstant(t), tt.request)
		if n := testing.AllocsPerRun(1000, func() { c.call(t) }); n > tt.most {
			t.Errorf("%s: a call makes %v allocations, want at most %v", tt.name, n, tt.most)
		}
	}
}
