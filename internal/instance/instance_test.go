package instance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/frame"
	"github.com/mayfly-run/mayfly/internal/frametest"
	"github.com/mayfly-run/mayfly/internal/instance"
)

// A served handler is an instance in this process.
type served struct {
	*http.Client
	node *frametest.Node
	stop context.CancelFunc // as a signal does
	err  chan error         // what Serve returned
}

// serve serves a handler until the end of the test, and wants that to end well unless the test
// takes the error.
func serve(t *testing.T, h http.HandlerFunc) *served {
	t.Helper()
	link := filepath.Join(short(t), "l")
	node := frametest.Listen(t, link)
	ctx, stop := context.WithCancel(context.Background())
	s := &served{Client: &http.Client{Transport: node, Timeout: time.Minute, CheckRedirect: stay}, node: node, stop: stop, err: make(chan error, 1)}
	go func() { s.err <- instance.Serve(ctx, h, instance.Options{Link: link}) }()
	select {
	case <-node.Linked():
	case err := <-s.err:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		select {
		case err := <-s.err:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-node.Gone():
		}
	})
	return s
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// short returns a folder with a path that is short enough for sockets.
func short(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "fn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

// get returns the whole reply to a GET.
func (s *served) get(t *testing.T, path string) string {
	t.Helper()
	resp, err := s.Get("http://localhost" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestServeFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	began, gate := make(chan bool), make(chan bool)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		began <- true
		<-gate
		io.WriteString(w, strings.Repeat("x", 300<<10))
	})
	var call sync.WaitGroup
	call.Go(func() {
		if n := len(s.get(t, "/")); n != 300<<10 {
			t.Errorf("the call got %d bytes", n)
		}
	})
	<-began
	s.stop()
	close(gate)
	call.Wait()
	if err := <-s.err; err != nil {
		t.Errorf("Serve: %v", err)
	}
	<-s.node.Gone()
}

func TestBurstOfLongCallsBeginsAtOnce(t *testing.T) {
	t.Parallel()
	const burst = 200 // more than the workers that are kept
	var began sync.WaitGroup
	gate := make(chan bool)
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		began.Done()
		<-gate
	})
	for range 2 {
		began.Add(burst)
		for range burst {
			s.node.Raw("GET /\n", "", true)
		}
		began.Wait()
	}
	close(gate)
}

func TestServeEndsWithItsNode(t *testing.T) {
	t.Parallel()
	ended, began := make(chan error, 1), make(chan bool)
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		ended <- r.Context().Err()
	})
	s.node.Raw("GET /\n", "", true)
	<-began
	s.node.Close()
	if err := <-s.err; err == nil || err.Error() != "the node closed the connection" {
		t.Errorf("Serve: %v", err)
	}
	if err := <-ended; err != context.Canceled {
		t.Errorf("the handler saw %v", err)
	}
}

func TestLyingFramesEndIt(t *testing.T) {
	t.Parallel()
	head := func(call uint32, text string) []byte {
		return frame.Append(nil, frame.Frame{Call: call, Kind: frame.Head, Head: []byte(text)})
	}
	flood := head(1, "POST /\n")
	for range 3 {
		flood = frame.Append(flood, frame.Frame{Call: 1, Kind: frame.Data, Body: make([]byte, frame.MaxBody)})
	}
	for name, tt := range map[string]struct {
		sent []byte
		want string
	}{
		"an unknown kind":     {[]byte{0, 0, 0, 0, 0, 0, 0, 1, 9, 0, 0, 0}, "the unknown kind 9"},
		"4 GiB":               {[]byte{255, 255, 255, 255, 0, 0, 0, 1, 2, 0, 0, 0}, "4294967295 bytes"},
		"a call twice":        {slices.Concat(head(1, "GET /\n"), head(1, "GET /\n")), "call 1 begins twice"},
		"more than granted":   {flood, "more body than was granted"},
		"no head":             {head(1, ""), `begins with ""`},
		"no target":           {head(1, "GET\n"), `begins with "GET"`},
		"another target":      {head(1, "GET a%zz\n"), "invalid URI"},
		"a line of no header": {head(1, "GET /\nHost\n"), `has the line "Host"`},
		"an endless line":     {head(1, "GET /\nHost:a"), `ends with "Host:a"`},
		"no length":           {head(1, "GET /\nContent-Length:x\n"), `Content-Length is "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			s.node.Send(tt.sent)
			if err := <-s.err; err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Serve: %v, want %q", err, tt.want)
			}
			<-s.node.Gone()
		})
	}
}

func TestFramesOfNoCallAreDropped(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	for kind := frame.Data; kind <= frame.Cancel; kind++ {
		f := frame.Frame{Call: 99, Kind: kind}
		if kind == frame.Credit {
			f.Body = make([]byte, 4)
		}
		s.node.Send(frame.Append(nil, f))
	}
	if got := s.get(t, "/"); got != "hello" {
		t.Errorf("got %q", got)
	}
}

func TestPanicsAreReported(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("begun") {
			io.WriteString(w, "begun")
		}
		switch r.URL.Path {
		case "/panic":
			fail("two\nlines\x00")
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/exit":
			runtime.Goexit()
		case "/short":
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "3 b")
		case "/head":
			w.Header().Set("X", strings.Repeat("x", 70<<10))
		case "/code":
			w.WriteHeader(42)
		}
	})
	for path, want := range map[string]string{
		"/panic": "panic: two", "/abort": "the handler aborted its reply", "/exit": "the handler called runtime.Goexit",
		"/short": "", "/head": "the reply's headers have 71687 bytes: at most 65535 fit", "/code": "panic: invalid WriteHeader code 42",
	} {
		resp, err := s.Get("http://localhost" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if got := resp.Header.Get("Mayfly-Crash"); want != "" && (resp.StatusCode != http.StatusBadGateway || got != want || err != nil) || want == "" && err == nil {
			t.Errorf("%s answers %d %q, %v, want %q", path, resp.StatusCode, got, err, want)
		}
		traced := strings.Contains(string(body), "instance_test.TestPanicsAreReported.func1\n") && !strings.Contains(string(body), "internal/instance.")
		if panicked := strings.HasPrefix(want, "panic"); traced != panicked || panicked && !strings.HasPrefix(string(body), want) {
			t.Errorf("%s answers %s", path, body)
		}
	}
	resp, err := s.Get("http://localhost/panic?begun")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != "begun" || err == nil {
		t.Errorf("a panic after the head: %d %q, %v", resp.StatusCode, body, err)
	}
	if got := s.get(t, "/"); got != "" {
		t.Errorf("afterwards: %q", got)
	}
}

func fail(text string) { panic(text) }

func TestServeWithoutANode(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	for _, o := range []instance.Options{{Socket: filepath.Join(short(t), "s"), Port: "1"}, {Port: port}} {
		network, address := "unix", o.Socket
		if o.Socket == "" {
			network, address = "tcp", "127.0.0.1:"+o.Port
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- instance.Serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }), o)
		}()
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
				var d net.Dialer
				if c, err := d.DialContext(ctx, network, address); err == nil || ctx.Err() != nil {
					return c, err
				}
			}
		}}
		resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Get("http://localhost/")
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "hello" || err != nil {
			t.Errorf("%+v answers %q, %v", o, body, err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := instance.Serve(t.Context(), nil, instance.Options{Link: "/nowhere"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a socket: %v", err)
	}
}

func TestSourceIsWhole(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(files, func(name string) bool {
		return strings.HasSuffix(name, "_test.go") || name == "doc.go" || name == "source.go"
	})
	got, err := fs.Glob(instance.Source, "*")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("the source has %v, want %v, %v", got, want, err)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/boom" {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == "/stream" {
			w.(http.Flusher).Flush()
		}
		io.Copy(w, r.Body)
	})
	var calls sync.WaitGroup
	for n := range 1000 {
		calls.Go(func() {
			path := []string{"/", "/stream", "/boom"}[n%3]
			want := strings.Repeat(fmt.Sprint(n, " "), 1+n*n%20_000)
			resp, err := s.Post("http://localhost"+path, "text/plain", struct{ io.Reader }{strings.NewReader(want)})
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if n%7 == 0 {
				return // in the middle of it
			}
			if got, err := io.ReadAll(resp.Body); path != "/boom" && (string(got) != want || err != nil) {
				t.Errorf("%s: %d bytes, %v, want %d", path, len(got), err, len(want))
			}
		})
	}
	calls.Wait()
}
