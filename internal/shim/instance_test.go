package shim_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/frametest"
	"github.com/mayfly-run/mayfly/internal/shim"
)

// An instance is what a build started: a process that connects to our link, or listens on
// a socket. Whichever comes first decides how it is called.
type instance struct {
	socket         string
	link           *frametest.Node
	process        *exec.Cmd
	client         *http.Client
	listener       *http.Transport // to the socket
	stdout, stderr *output
	ended          chan struct{} // closed when the process is gone
	err            error         // how it ended; after ended
}

// start runs a result in its folder, with more variables, until it is ready.
func start(t *testing.T, r shim.Result, folder string, env ...string) *instance {
	t.Helper()
	i := launch(t, r, folder, env...)
	for tick := time.NewTicker(2 * time.Millisecond); ; {
		if c, err := i.dial(t.Context()); err == nil {
			c.Close()
			tick.Stop()
			return i
		}
		select {
		case <-tick.C:
		case <-i.link.Linked():
			tick.Stop()
			return i
		case <-i.ended:
			t.Fatalf("exited at startup: %v\n%s", i.err, i.stderr)
		case <-t.Context().Done():
			t.Fatal("was never ready")
		}
	}
}

// launch runs a result in its folder, until the end of the test at most.
func launch(t *testing.T, r shim.Result, folder string, env ...string) *instance {
	t.Helper()
	// A test's own folder may be too long for the path of a socket.
	short, err := os.MkdirTemp("", "shim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	i := &instance{
		socket: filepath.Join(short, "s"), ended: make(chan struct{}),
		stdout: newOutput(), stderr: newOutput(),
	}
	link := filepath.Join(short, "l")
	i.link = frametest.Listen(t, link)
	i.process = exec.Command(r.Start[0], r.Start[1:]...)
	i.process.Dir = folder
	i.process.Env = append(append(i.process.Environ(), mayfly.EnvSocket+"="+i.socket, mayfly.EnvLink+"="+link), env...)
	i.process.Stdout, i.process.Stderr = i.stdout, i.stderr
	if err := i.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		i.err = i.process.Wait()
		close(i.ended)
	}()
	t.Cleanup(func() {
		i.process.Process.Kill()
		<-i.ended
	})
	i.listener = &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return i.dial(ctx) },
		MaxIdleConnsPerHost: 100,
		DisableCompression:  true,
	}
	i.client = &http.Client{
		Transport:     i,
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(i.listener.CloseIdleConnections)
	return i
}

// RoundTrip calls the instance in the way that it is ready for.
func (i *instance) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-i.link.Linked():
		return i.link.RoundTrip(r)
	default:
		return i.listener.RoundTrip(r)
	}
}

func (i *instance) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", i.socket)
}

// stop asks the process to end, and wants it to end well.
func (i *instance) stop(t *testing.T) {
	t.Helper()
	if err := i.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-i.ended
	if i.err != nil {
		t.Errorf("SIGTERM ended it with %v\n%s", i.err, i.stderr)
	}
}

// stopAtTheGate asks the process to end while a call waits for the rest of its body, which
// then comes. It returns when the process is gone.
func (i *instance) stopAtTheGate(t *testing.T) {
	t.Helper()
	body, gate := io.Pipe()
	replied := make(chan string, 1)
	var call sync.WaitGroup
	defer call.Wait()
	call.Go(func() {
		resp, err := i.client.Post("http://localhost/gate", "text/plain", body)
		if err != nil {
			replied <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		replied <- string(text)
	})
	i.stdout.wait(t, "at the gate")
	if err := i.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	io.WriteString(gate, "late")
	gate.Close()
	if got := <-replied; got != "late" {
		t.Errorf("the call in work got %q", got)
	}
	<-i.ended
}

// A reply is a whole response.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request and reads the reply to its end.
func (i *instance) do(method, path, body string, header ...string) (reply, error) {
	r, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for n := 0; n < len(header); n += 2 {
		if header[n] == "Host" {
			r.Host = header[n+1]
			continue
		}
		r.Header.Add(header[n], header[n+1])
	}
	resp, err := i.client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(text)}, err
}

func (i *instance) try(path string) (reply, error) { return i.do("GET", path, "") }

func (i *instance) get(t *testing.T, path string, header ...string) reply {
	t.Helper()
	r, err := i.do("GET", path, "", header...)
	if err != nil {
		t.Fatalf("GET %s: %v\n%s", path, err, i.stderr)
	}
	return r
}

// An output keeps what a process writes, and tells when there is more.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and made anew with each write
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.text.Write(data)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// wait returns once the output holds a text.
func (o *output) wait(t *testing.T, text string) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		o.mu.Lock()
		there, more := strings.Contains(o.text.String(), text), o.more
		o.mu.Unlock()
		if there {
			return
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("%q was never written; this was:\n%s", text, o)
		}
	}
}

// refused wants an Invalid error whose parts begin so.
func refused(t *testing.T, err error, message, hint, trace string) {
	t.Helper()
	if mayfly.CodeOf(err) != mayfly.Invalid || err == nil || err.Error() != message {
		t.Errorf("err = %v, want invalid: %s", err, message)
	}
	if got := mayfly.HintOf(err); !strings.HasPrefix(got, hint) || (got == "") != (hint == "") {
		t.Errorf("hint = %q, want %q", got, hint)
	}
	if got, _ := errors.AsType[mayfly.Trace](err); !strings.HasPrefix(string(got), trace) || (got == "") != (trace == "") {
		t.Errorf("trace = %q, want %q", got, trace)
	}
}

// write makes a folder of files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// tree returns the paths in a folder, sorted.
func tree(t *testing.T, folder string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, _ fs.DirEntry, err error) error {
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}
