package console_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/console"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a console until the end of the test.
func start(t *testing.T, o console.Options) *console.Console {
	t.Helper()
	c, err := console.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("console: %v", err)
		}
	})
	return c
}

// ask returns the status and body of an answer.
func ask(t *testing.T, c *console.Console, method, path, host string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	client := &http.Transport{DisableKeepAlives: true}
	resp, err := client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestConsoleShowsMetricsAndProfiles(t *testing.T) {
	t.Parallel()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "mayfly_calls_total 1\n") })
	with, without := start(t, console.Options{Metrics: metrics}), start(t, console.Options{})
	for _, tt := range []struct {
		name         string
		console      *console.Console
		method, path string
		host         string
		status       int
		want         string
	}{
		{"what there is", with, "GET", "/", "", 200, "/metrics"},
		{"metrics", with, "GET", "/metrics", "", 200, "mayfly_calls_total 1"},
		{"no metrics", without, "GET", "/metrics", "", 404, ""},
		{"metrics are read only", with, "POST", "/metrics", "", 405, ""},
		{"health", with, "GET", "/healthz", "", 200, "OK"},
		{"profiles", with, "GET", "/debug/pprof/", "", 200, "goroutine"},
		{"one profile", with, "GET", "/debug/pprof/goroutine?debug=1", "", 200, "goroutine profile"},
		{"symbols", with, "GET", "/debug/pprof/symbol", "", 200, "num_symbols"},
		{"symbols, as the tool asks", with, "POST", "/debug/pprof/symbol", "", 200, "num_symbols"},
		{"arguments may hold a password", with, "GET", "/debug/pprof/cmdline", "", 404, ""},
		{"unknown path", with, "GET", "/svc", "", 404, ""},
		{"our name", with, "GET", "/healthz", "localhost:1", 200, "OK"},
		{"a web page's name", with, "GET", "/metrics", "evil.test", 403, ""},
		{"a web page's name for profiles", with, "GET", "/debug/pprof/", "evil.test", 403, ""},
	} {
		status, body := ask(t, tt.console, tt.method, tt.path, tt.host)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %q, want %d %q", tt.name, status, body, tt.status, tt.want)
		}
	}
}

func TestConsoleRejectsHeadsOver16KiB(t *testing.T) {
	t.Parallel()
	c := start(t, console.Options{})
	for _, tt := range []struct {
		name string
		size int
		want string
	}{
		{"the limit", 16 << 10, "HTTP/1.1 200 "},
		{"over it", 16<<10 + 1, "HTTP/1.1 431 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", strings.TrimPrefix(c.URL(), "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			head := "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Long: "
			head += strings.Repeat("x", tt.size-len(head)-len("\r\n\r\n")) + "\r\n\r\n"
			if _, err := io.WriteString(conn, head); err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(conn) // a reset may follow the answer
			if !strings.HasPrefix(string(answer), tt.want) {
				t.Errorf("answered %q, want %s", answer, tt.want)
			}
		})
	}
}

func TestConsoleStopsWithItsRequests(t *testing.T) {
	t.Parallel()
	entered, ended := make(chan struct{}), make(chan struct{})
	metrics := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(ended)
	})
	c, err := console.New(console.Options{Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-entered
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	default:
		t.Error("Run returned before its request ended")
	}
}

func TestConsoleSaysWhatIsWrongWithItsAddress(t *testing.T) {
	t.Parallel()
	c, err := console.New(console.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = console.New(console.Options{Addr: strings.TrimPrefix(c.URL(), "http://")})
	if mayfly.CodeOf(err) != mayfly.Conflict || !strings.Contains(mayfly.HintOf(err), "admin.addr") {
		t.Errorf("a taken address: %v (hint %q)", err, mayfly.HintOf(err))
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
