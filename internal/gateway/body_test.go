package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/dispatch"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/natstest"
)

func TestBodyLimitIsNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		maxBody int64
		size    int
		status  int
		want    []string
	}{
		{"all that fits", 1000, 1000, 200, nil},
		{"one byte over gateway.maxbody", 1000, 1001, 413, []string{"1000 bytes", "gateway.maxbody"}},
		{"far over gateway.maxbody", 1000, 3 << 20, 413, []string{"1000 bytes", "gateway.maxbody"}},
		{"over max_payload", 0, 1<<20 + 1, 413, []string{"1048576 bytes", "max_payload"}},
		{"over max_payload with the headers only", 0, 1 << 20, 413, []string{"1048576", "max_payload"}},
		{"3 MB", 0, 3_000_000, 413, []string{"1048576 bytes", "max_payload"}},
		{"more than the sockets hold", 0, 16_000_000, 413, []string{"1048576 bytes", "max_payload"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, _ := openSeen(t, gateway.Options{}, dispatch.Options{MaxBody: tt.maxBody})
			body := strings.Repeat("x", tt.size)
			// A client that sends everything before it reads, as simple ones do.
			for name, request := range map[string]string{
				"known length": fmt.Sprintf("POST /seen HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", tt.size, body),
				"chunked":      fmt.Sprintf("POST /seen HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", tt.size, body),
			} {
				a := d.raw(t, request)
				if a.StatusCode != tt.status {
					t.Errorf("%s: %d %.200s", name, a.StatusCode, a.body)
				}
				for _, want := range tt.want {
					if !strings.Contains(a.body, want) {
						t.Errorf("%s: %s does not name %q", name, a.body, want)
					}
				}
			}
		})
	}
}

// curl asks before it sends a large body; then it need not send it at all.
func TestTooLargeBodyIsNotAskedFor(t *testing.T) {
	t.Parallel()
	d, _ := openSeen(t, gateway.Options{}, dispatch.Options{MaxBody: 10})
	_, r := d.send(t, "POST /seen HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\nExpect: 100-continue\r\n\r\n")
	if a := read(t, r); a.StatusCode != 413 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	conn, r := d.send(t, "POST /seen HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "hello")
	if a := read(t, r); a.StatusCode != 200 || a.body != "hello" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestSlowBodyIsGivenUp(t *testing.T) {
	t.Parallel()
	// The time to write is shorter than the time to read: the 408 must arrive anyhow.
	d, _ := openSeen(t, gateway.Options{BodyTimeout: 50 * time.Millisecond, WriteTimeout: 20 * time.Millisecond})
	for _, framing := range []string{"Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		a := d.raw(t, "POST /seen HTTP/1.1\r\nHost: localhost\r\n"+framing)
		if a.StatusCode != 408 || !strings.Contains(a.body, "gateway.bodytimeout") {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
}

func TestSlowCallOutlivesTheWriteTimeout(t *testing.T) {
	t.Parallel()
	slow := route(t, "silent", "/silent", "silent", "")
	slow.Timeout = mayfly.Duration(200 * time.Millisecond)
	d := open(t, gateway.Options{Functions: projects{slow}, BodyTimeout: 20 * time.Millisecond, WriteTimeout: 30 * time.Millisecond})
	if _, err := d.nc.Subscribe("silent", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	d.nc.Flush()
	if a := d.ask(t, "GET", "/silent", ""); a.StatusCode != 504 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// HTTP/2 ends a stream when its time to write is over, even if nothing is written
// yet.
func TestSlowCallOutlivesTheWriteTimeoutOfHTTP2(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	certFile, keyFile := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	pool := writeCertificate(t, certFile, keyFile, "slow")
	slow := route(t, "slow", "/slow", "slow", "")
	slow.Timeout = mayfly.Duration(20 * time.Second)
	caller := callerFunc(func(ctx context.Context, _ mayfly.Call) (mayfly.Reply, error) {
		select {
		case <-ctx.Done(): // the stream was cut
			return mayfly.Reply{}, ctx.Err()
		case <-time.After(200 * time.Millisecond):
			return reply(200, "late"), nil
		}
	})
	d := run(t, caller, directory{}, gateway.Options{
		Cert: certFile, Key: keyFile, Functions: projects{slow}, BodyTimeout: 20 * time.Millisecond, WriteTimeout: 30 * time.Millisecond,
	})
	d.url = d.URL()
	d.client.TLSClientConfig, d.client.ForceAttemptHTTP2 = &tls.Config{RootCAs: pool}, true
	if a := d.ask(t, "GET", "/slow", ""); a.Proto != "HTTP/2.0" || a.StatusCode != 200 || a.body != "late" {
		t.Errorf("%s %d %s", a.Proto, a.StatusCode, a.body)
	}
}

func TestSlowHeadersAreGivenUp(t *testing.T) {
	t.Parallel()
	d := open(t, gateway.Options{HeaderTimeout: 50 * time.Millisecond})
	_, r := d.send(t, "GET / HTTP/1.1\r\nHost: loc")
	if b, _ := io.ReadAll(r); bytes.Contains(b, []byte(" 200 ")) {
		t.Errorf("answer %q", b)
	}
}

func TestTimeoutComesFromRouteAndMetadata(t *testing.T) {
	t.Parallel()
	timed := func(name string, timeout time.Duration) mayfly.Route {
		r := route(t, name, "/"+name, name, "")
		r.Timeout = mayfly.Duration(timeout)
		return r
	}
	services := directory{{Name: "S", ID: "1", Endpoints: []mayfly.Endpoint{
		{Name: "own", Subject: "s.own", Metadata: map[string]string{mayfly.MetaTimeout: "7s", mayfly.MetaHTTP: "/meta"}},
		{Name: "bad", Subject: "s.bad", Metadata: map[string]string{mayfly.MetaTimeout: "soon"}},
	}}}
	byName := mayfly.Route{Name: "n", Service: "S", Endpoint: "own", Project: "test"}
	for _, tt := range []struct {
		path string
		want time.Duration
	}{
		{"/default", 3 * time.Second},
		{"/long", time.Minute},
		{"/svc/S/own", 7 * time.Second},
		{"/svc/S/bad", 3 * time.Second},
		{"/meta", 7 * time.Second},
		{"/named", 7 * time.Second},
		{"/named-short", time.Second},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			named, short := byName, byName
			named.Pattern, short.Pattern = pattern(t, "/named"), pattern(t, "/named-short")
			short.Timeout = mayfly.Duration(time.Second)
			caller := &recorder{}
			g := newGateway(t, caller, services, gateway.Options{
				Functions: projects{timed("default", 0), timed("long", time.Minute), named, short},
			}, dispatch.Options{Timeout: 3 * time.Second})
			before := time.Now()
			w := serve(g, "GET "+tt.path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
			after := time.Now()
			if w.Code != 200 || len(caller.all()) != 1 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if got := caller.all()[0].Deadline; got.Before(before.Add(tt.want)) || got.After(after.Add(tt.want)) {
				t.Errorf("deadline in %s, want %s", got.Sub(before), tt.want)
			}
		})
	}
}

// pattern parses a pattern that must be one.
func pattern(t testing.TB, s string) mayfly.Pattern {
	t.Helper()
	p, err := mayfly.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestClientThatLeavesEndsTheWait(t *testing.T) {
	t.Parallel()
	entered, ended := make(chan struct{}), make(chan error, 1)
	caller := callerFunc(func(ctx context.Context, _ mayfly.Call) (mayfly.Reply, error) {
		close(entered)
		<-ctx.Done()
		ended <- ctx.Err()
		return mayfly.Reply{}, ctx.Err()
	})
	d := run(t, caller, directory{}, gateway.Options{Functions: projects{route(t, "r", "/r", "r", "")}})
	conn, _ := d.send(t, "POST /r HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
	<-entered
	conn.Close()
	if err := <-ended; err == nil {
		t.Error("the call's context did not end")
	}
}

// A client may close its sending half and read on. It counts as gone, but must
// not take silence for success.
func TestHalfClosedClientIsToldTheTruth(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	caller := callerFunc(func(ctx context.Context, _ mayfly.Call) (mayfly.Reply, error) {
		close(entered)
		<-ctx.Done()
		return mayfly.Reply{}, ctx.Err()
	})
	d := run(t, caller, directory{}, gateway.Options{Functions: projects{route(t, "r", "/r", "r", "")}})
	conn, r := d.send(t, "GET /r HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-entered
	conn.(interface{ CloseWrite() error }).CloseWrite()
	if a := read(t, r); a.StatusCode != 499 || !strings.Contains(a.body, "Client Closed Request") || strings.Contains(a.body, "context") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after the answer: %v", err)
	}
	if s := d.Stats(); s.Statuses[499] != 1 || s.Statuses[504] != 0 {
		t.Errorf("statuses %v", s.Statuses)
	}
}

func TestRespondAsyncIsSentNotStored(t *testing.T) {
	t.Parallel()
	d := open(t, gateway.Options{Functions: projects{route(t, "nobody", "/nobody", "nobody", "")}})
	done := make(chan string, 1)
	s := natstest.AddService(t, d.nc, "Work", "1.0.0", natstest.Endpoint{Name: "do", Answer: func(r micro.Request) {
		err := r.Respond([]byte("done"))
		done <- fmt.Sprint(string(r.Data()), err)
	}})
	a := d.ask(t, "POST", "/svc/Work/do", "payload", "Prefer", "handling=strict, Respond-Async; wait=10")
	if a.StatusCode != http.StatusAccepted || a.body != "" || a.Header.Get("Location") != "" || a.Header.Get("X-Call-Id") == "" {
		t.Errorf("%d %q %v", a.StatusCode, a.body, a.Header)
	}
	if a.Header.Get("Preference-Applied") != "respond-async" || a.ContentLength != 0 {
		t.Errorf("%v", a.Header)
	}
	if got := <-done; got != "payload<nil>" {
		t.Errorf("the service got and answered %q", got)
	}
	d.ask(t, "POST", "/svc/Work/do", "again") // its statistics are written after the handler
	<-done
	if e := s.Stats().Endpoints[0]; e.NumErrors != 0 || e.LastError != "" {
		t.Errorf("the service counts errors: %+v", e)
	}
	if a := d.ask(t, "POST", "/nobody", "x", "Prefer", "respond-async"); a.StatusCode != 503 {
		t.Errorf("nobody there: %d %s", a.StatusCode, a.body)
	}
	for _, prefer := range []string{"wait=10", "respond-asynchronously", ""} {
		if a := d.ask(t, "POST", "/svc/Work/do", "x", "Prefer", prefer); a.StatusCode != 200 || a.body != "done" {
			t.Errorf("Prefer %q: %d %s", prefer, a.StatusCode, a.body)
		}
		<-done
	}
}
