package shim_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/frame"
)

func TestAsyncPython(t *testing.T) {
	t.Parallel()
	i := startPython(t, "later.py")
	long := strings.Repeat("0123456789", 30_000)
	for _, tt := range []struct {
		call   string // method, path and body
		status int
		body   string
	}{
		{"GET /status", 201, "made"},
		{"GET /none", 204, ""},
		{"HEAD /status", 201, ""},
		{"POST /text grüß", 200, "grüß"},
		{"POST /text " + long, 200, long},
		{"POST /json [1]", 200, "[1]"},
		{"POST /json {", 400, "the request's body is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)\n"},
		{"POST /counts " + long, 200, `{"bytes":300000}`},
		{"POST /in-thread " + long, 200, long},
		{"GET /plain-generator", 200, "012"},
		{"HEAD /plain-generator", 200, ""},
		{"GET /exit", 502, "SystemExit: leaving\n"},
		{"GET /nobody", 502, "KeyError: '/nobody'\n"},
	} {
		t.Run(strings.Fields(tt.call)[1], func(t *testing.T) {
			t.Parallel()
			method, rest, _ := strings.Cut(tt.call, " ")
			path, body, _ := strings.Cut(rest, " ")
			r, err := i.do(method, path, body)
			if err != nil {
				t.Fatalf("%v\n%s", err, i.stderr)
			}
			if r.status != tt.status || r.body != tt.body && !(tt.status == 502 && strings.HasSuffix(r.body, tt.body)) {
				t.Errorf("%d %.200q, want %d %.200q\n%s", r.status, r.body, tt.status, tt.body, i.stderr)
			}
		})
	}
	if r, err := i.try("/late"); r.body != "begun" || err == nil {
		t.Errorf("read %q, %v; want what came, and an error", r.body, err)
	}
	i.get(t, "/talk", mayfly.HeaderCall, "c7")
	mark := mayfly.LineMark + "c7" + mayfly.LineMark
	i.stdout.wait(t, mark+"said\n"+mark+"and in a thread\n")
}

func TestAsyncPythonClientThatLeavesEndsTheCall(t *testing.T) {
	t.Parallel()
	i := startPython(t, "later.py")
	for path, tt := range map[string]struct{ begins, ended string }{
		"/forever": {"waiting", "canceled"},
		"/ticks":   {"", "async generator closed"},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			r, err := http.NewRequestWithContext(ctx, "GET", "http://localhost"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			var gone sync.WaitGroup
			defer gone.Wait()
			begun := make(chan struct{})
			gone.Go(func() {
				defer close(begun)
				if resp, err := i.client.Do(r); err == nil {
					t.Cleanup(func() { resp.Body.Close() })
				}
			})
			if tt.begins != "" {
				i.stdout.wait(t, tt.begins)
			} else {
				<-begun
			}
			leave()
			i.stdout.wait(t, tt.ended+"\n")
		})
	}
}

func TestAsyncPythonFinishesCallsBeforeItStops(t *testing.T) {
	t.Parallel()
	i := startPython(t, "later.py")
	i.stopAtTheGate(t)
	if i.err != nil || i.stderr.String() != "" {
		t.Errorf("it ended with %v\n%s", i.err, i.stderr)
	}
}

// Calls that block, and clients that do not read, hold up nobody.
func TestPythonSlowCallsHoldUpNobody(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"function.py", "later.py"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			i := startPython(t, file)
			slow, err := i.client.Get("http://localhost/long")
			if err != nil {
				t.Fatal(err)
			}
			defer slow.Body.Close()
			blocked, path := 1, "/status"
			if file == "function.py" {
				blocked = 8
			}
			body, gate := io.Pipe()
			defer gate.Close()
			for n := range blocked {
				go func() {
					path := map[string]string{"function.py": "/busy", "later.py": "/forever"}[file]
					i.do("GET", path, "", mayfly.HeaderCall, fmt.Sprint("c", n))
				}()
			}
			if file == "function.py" {
				for n := range blocked {
					i.stdout.wait(t, fmt.Sprintf("%[1]sc%[2]d%[1]sbusy\n", mayfly.LineMark, n))
				}
				go func() {
					if resp, err := i.client.Post("http://localhost/gate", "", body); err == nil {
						resp.Body.Close()
					}
				}()
				i.stdout.wait(t, "at the gate\n")
			}
			for range 50 {
				if r := i.get(t, path); r.status != 201 || r.body != "made" {
					t.Fatalf("%d %q", r.status, r.body)
				}
			}
			if n, err := io.Copy(io.Discard, slow.Body); n != 16<<20 || err != nil {
				t.Errorf("the slow one read %d bytes, %v", n, err)
			}
		})
	}
}

func TestPythonTakesLongBodiesBothWays(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789abcdef", 10<<20/16)
	for file, path := range map[string]string{"function.py": "/body", "later.py": "/text", "wsgi.py": "/echo", "asgi.py": "/echo"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			i := startPython(t, file)
			r, err := i.do("POST", path, long)
			if err != nil || r.body != long {
				t.Errorf("%d: %d bytes, %v\n%s", r.status, len(r.body), err, i.stderr)
			}
		})
	}
}

func TestPythonHeadersMayHoldAnyBytes(t *testing.T) {
	t.Parallel()
	i := startPython(t, "function.py")
	r := i.get(t, "/latin", "X-A", "São 日本")
	if got := r.header.Get("X-B"); got != "São 日本" || r.header.Get("X-A") != "\xe9" {
		t.Errorf("header = %q", r.header)
	}
}

// frames returns frames as bytes.
func frames(all ...frame.Frame) (b []byte) {
	for _, f := range all {
		b = frame.Append(b, f)
	}
	return b
}

func TestPythonDropsFramesOfNoCall(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"function.py", "later.py"} {
		i := startPython(t, file)
		i.get(t, "/status")
		credit := binary.BigEndian.AppendUint32(nil, 5)
		i.link.Send(frames(
			frame.Frame{Call: 1, Kind: frame.Cancel}, frame.Frame{Call: 900, Kind: frame.Cancel},
			frame.Frame{Call: 1, Kind: frame.Data, Body: []byte("x"), End: true}, frame.Frame{Call: 900, Kind: frame.Credit, Body: credit},
			frame.Frame{Call: 1, Kind: frame.Error, Head: []byte("gone")},
		))
		if r := i.get(t, "/status"); r.status != 201 {
			t.Errorf("%s: %+v", file, r)
		}
		i.stop(t)
		if said := i.stderr.String(); said != "" {
			t.Errorf("%s said %s", file, said)
		}
	}
}

// What breaks the rules ends the process, with one line that says what it was.
func TestPythonRejectsWhatIsNoFrame(t *testing.T) {
	t.Parallel()
	header := func(size, call uint32, kind, flags byte, head uint16) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		b = append(binary.BigEndian.AppendUint32(b, call), kind, flags)
		return binary.BigEndian.AppendUint16(b, head)
	}
	data := frame.Frame{Call: 1, Kind: frame.Data, Body: []byte(strings.Repeat("x", frame.MaxBody))}
	for file, unread := range map[string]string{"function.py": "/busy", "later.py": "/forever"} {
		for _, tt := range []struct {
			sent []byte
			want string
		}{
			{header(0, 1, 9, 0, 0), "the node sent a frame of the unknown kind 9\n"},
			{header(0, 1, 0, 0, 0), "the node sent a frame of the unknown kind 0\n"},
			{header(0, 1, 1, 2, 0), "the node sent a frame with the unknown flags 0x2\n"},
			{header(0, 0, 1, 0, 0), "the node sent a frame of no call\n"},
			{header(1<<32-1, 1, 1, 0, 5), "the node sent a frame of kind 1 and 4294967295 bytes, 5 of them head\n"},
			{header(4, 1, 1, 0, 5), "the node sent a frame of kind 1 and 4 bytes, 5 of them head\n"},
			{header(5, 1, 2, 0, 5), "the node sent a frame of kind 2 and 5 bytes, 5 of them head\n"},
			{header(1, 1, 4, 0, 0), "the node sent a frame of kind 4 and 1 bytes, 0 of them head\n"},
			{frames(data, data, data), "the node sent more of a body than it was granted\n"},
		} {
			t.Run(file+" "+strings.TrimSpace(tt.want), func(t *testing.T) {
				t.Parallel()
				i := startPython(t, file)
				i.link.Raw("POST "+unread+"\n", "", false)
				i.link.Send(tt.sent)
				<-i.ended
				if i.process.ProcessState.ExitCode() != 1 || i.stderr.String() != tt.want {
					t.Errorf("%v: %q, want %q", i.err, i.stderr, tt.want)
				}
			})
		}
	}
}

func TestPythonNeedsALink(t *testing.T) {
	t.Parallel()
	r, out, err := buildPython(t, filepath.Join(write(t, map[string]string{"a.py": "def handle(r): pass"}), "a.py"))
	if err != nil {
		t.Fatal(err)
	}
	i := launch(t, r, out, mayfly.EnvLink+"=")
	<-i.ended
	if want := "this function was built for a newer Mayfly: MAYFLY_LINK is not set\n"; i.process.ProcessState.ExitCode() != 1 || i.stderr.String() != want {
		t.Errorf("%v: %q, want %q", i.err, i.stderr, want)
	}
}

// When the node has gone, nobody waits for anything.
func TestPythonEndsWithItsLink(t *testing.T) {
	t.Parallel()
	for file, path := range map[string]string{"function.py": "/busy", "later.py": "/forever"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			i := startPython(t, file)
			var call sync.WaitGroup
			call.Go(func() {
				if resp, err := i.client.Get("http://localhost" + path); err == nil {
					resp.Body.Close()
				}
			})
			i.stdout.wait(t, "\n")
			i.link.Close()
			<-i.ended
			call.Wait()
			if i.err != nil || i.stderr.String() != "" {
				t.Errorf("it ended with %v\n%s", i.err, i.stderr)
			}
		})
	}
}

// Whatever the mixture of calls, and whenever clients leave, the process goes on.
func TestPythonSurvivesClientsThatLeave(t *testing.T) {
	t.Parallel()
	for file, paths := range map[string][]string{
		"function.py": {"/status", "/ticks", "/idle", "/busy", "/long", "/body", "/gate", "/pieces", "/lines"},
		"later.py":    {"/status", "/ticks", "/forever", "/long", "/text", "/gate", "/in-thread", "/plain-generator"},
		"wsgi.py":     {"/parts", "/write", "/nothing", "/length"},
		"asgi.py":     {"/parts", "/echo", "/events", "/flood", "/long", "/hang", "/twice"},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			i := startPython(t, file)
			var callers sync.WaitGroup
			for n := range 16 {
				callers.Go(func() {
					random := rand.New(rand.NewPCG(uint64(n), 7))
					for range 40 {
						ctx, leave := context.WithTimeout(t.Context(), time.Duration(random.IntN(8_000))*time.Microsecond)
						body := io.LimitReader(everyZero{}, int64(random.IntN(3)*150_000))
						r, err := http.NewRequestWithContext(ctx, "POST", "http://localhost"+paths[random.IntN(len(paths))], body)
						if err != nil {
							t.Error(err)
						}
						if resp, err := i.client.Do(r); err == nil {
							io.Copy(io.Discard, resp.Body)
							resp.Body.Close()
						}
						leave()
					}
				})
			}
			callers.Wait()
			if r := i.get(t, paths[0]); r.body != "made" && r.body != "abcdef" {
				t.Errorf("afterwards %+v", r)
			}
			i.stop(t)
			if said := i.stderr.String(); strings.Contains(said, "mayfly_shim") || strings.Contains(said, "Gone") {
				t.Errorf("it said %s", said)
			}
		})
	}
}

// everyZero is a body without an end.
type everyZero struct{}

func (everyZero) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
