//go:build unix

package node_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/fn"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/mayfly-run/mayfly/internal/process"
)

// The test's program plays other parts too: a function in Go, a program that the
// exec engine starts, a node that can be killed, and that node's reaper, which is
// known by its only argument.
const (
	partVariable = "MAYFLY_TEST_PART"
	partFunction = "function"
	partFrames   = "frames" // the same, by frames
	partLines    = "lines"
	partNode     = "node"
	partReaper   = "reaper"

	// pipeVariable names a pipe that a function's processes hold open: when its
	// reader sees the end, none of them is left.
	pipeVariable = "PIPE"
)

// playPart plays the part that this process was started for, if it is not the test
// itself.
func playPart() bool {
	var err error
	switch part := os.Getenv(partVariable); {
	case slices.Equal(os.Args[1:], []string{partReaper}):
		err = process.Reap(os.Stdin)
	case part == partFunction:
		err = serveWeb()
	case part == partFrames:
		err = fn.Serve(http.HandlerFunc(answerWeb))
	case part == partLines:
		writeLines()
	case part == partNode:
		err = runNode()
	default:
		return false
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// web returns the function in Go, in a folder that it never looks into.
func web(name mayfly.Name, change ...func(*mayfly.Unit)) mayfly.Unit {
	f := mayfly.Unit{Name: name}
	f.Engine, f.Start, f.Env = mayfly.EngineHTTP, []string{os.Args[0]}, map[string]string{partVariable: partFunction}
	for _, c := range change {
		c(&f)
	}
	return f
}

// serveWeb is the function in Go: what it does is said by the path, whose first part
// is its name if that stands there.
func serveWeb() error {
	l, err := net.Listen("unix", os.Getenv(mayfly.EnvSocket))
	if err != nil {
		return err
	}
	return http.Serve(l, http.HandlerFunc(answerWeb))
}

func answerWeb(w http.ResponseWriter, r *http.Request) {
	what, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	h := w.Header()
	switch what {
	case "nothing":
		w.WriteHeader(http.StatusNoContent)
	case "status": // and what is said with it: /status/418/short and stout
		code, text, _ := strings.Cut(rest, "/")
		status, _ := strconv.Atoi(code)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	case "reply": // headers of the query, the body of the request
		for name, values := range r.URL.Query() {
			h[name] = values
		}
		replyBody(w, r)
	case "redirect":
		http.Redirect(w, r, "/elsewhere?x=1#part", http.StatusSeeOther)
	case "early":
		h.Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		_, _ = io.WriteString(w, "late")
	case "sized":
		h.Set("Content-Length", "7") // net/http sends no body for a HEAD
		_, _ = io.WriteString(w, "a sized")
	case "tagged":
		h.Set("Etag", `"1"`)
		_, _ = io.WriteString(w, "tagged")
	case "largetagged":
		h.Set("Etag", `"1"`)
		_, _ = w.Write(bytes.Repeat([]byte("tagged "), 20<<10))
	case "notmodified":
		h.Set("Etag", `"1"`)
		w.WriteHeader(http.StatusNotModified)
	case "gzip":
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Type", "text/plain")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, "small once it is packed")
		_ = z.Close()
	case "untyped":
		h["Content-Type"] = nil
		replyBody(w, r)
	case "pieces": // each is written by itself
		n, _ := strconv.Atoi(rest)
		for i := range n {
			_, _ = fmt.Fprintln(w, "piece", i)
			_ = http.NewResponseController(w).Flush()
		}
	case "large":
		n, _ := strconv.Atoi(rest)
		_, _ = io.CopyN(w, &pattern{}, int64(n))
	case "sum":
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		_, _ = fmt.Fprintf(w, "%d %s %v\n", n, hex.EncodeToString(sum.Sum(nil)), err)
	case "events":
		n, _ := strconv.Atoi(rest)
		sendEvents(w, r, n)
	case "hang":
		hang(r)
		panic(http.ErrAbortHandler)
	case "wait": // for as long as said, or the client leaves
		pause, _ := time.ParseDuration(rest)
		select {
		case <-time.After(pause):
		case <-r.Context().Done():
		}
	case "pid":
		_, _ = fmt.Fprint(w, os.Getpid())
	case "revision":
		_, _ = fmt.Fprint(w, os.Getenv(mayfly.EnvRevision))
	case "grandchild":
		c := exec.Command("/bin/sh", "-c", `exec 3>"$PIPE"; echo open >&3; trap "" TERM HUP INT; while :; do sleep 1; done`)
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		_, _ = fmt.Fprint(w, c.Start())
	case "exit":
		fmt.Fprintln(os.Stderr, "last words")
		os.Exit(3)
	case "crash": // as a shim says it
		h.Set(mayfly.HeaderCrash, "TypeError: x is not a function")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "TypeError: x is not a function\n    at handle (hello.js:3:1)\n")
	case "garbage":
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = io.WriteString(c, "HELO\r\n\r\n")
			_ = c.Close()
		}
	default:
		describe(w, r)
	}
}

// replyBody replies the request's body. It is read first: net/http reads no more of
// it once the reply was begun.
func replyBody(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

// describe replies what the function sees of a request, but for what differs from
// one call to the next.
func describe(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	_, _ = fmt.Fprintf(w, "%s %s %s\nhost %s\n", r.Method, r.RequestURI, r.Proto, r.Host)
	var lines []string
	for name, values := range r.Header {
		for _, v := range values {
			switch name {
			case mayfly.HeaderCall, mayfly.HeaderDeadline, mayfly.HeaderTrace:
				v = "..."
			case mayfly.HeaderRemote:
				v, _, _ = net.SplitHostPort(v)
			case "Content-Length": // of a chunked request only one carrier knows it
				continue
			}
			lines = append(lines, fmt.Sprintf("%s: %q\n", name, v))
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		nameA, _, _ := strings.Cut(a, ":")
		nameB, _, _ := strings.Cut(b, ":")
		return strings.Compare(nameA, nameB)
	})
	_, _ = fmt.Fprintf(w, "%s%d %x %v\n", strings.Join(lines, ""), len(body), sha256.Sum256(body), err)
}

// hang holds the pipe until the client has left. Without one it only waits.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if path := os.Getenv(pipeVariable); path != "" {
		if pipe, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
			defer pipe.Close()
			_, _ = io.WriteString(pipe, "open\n")
		}
	}
	<-r.Context().Done()
}

// sendEvents sends an event each 100 ms that says when it was written; without an
// end if n is 0. It holds the pipe, if there is one, while the client is there.
func sendEvents(w http.ResponseWriter, r *http.Request, n int) {
	if path := os.Getenv(pipeVariable); path != "" {
		if pipe, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
			defer pipe.Close()
			_, _ = io.WriteString(pipe, "open\n")
		}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; n == 0 || i < n; i++ {
		_, _ = fmt.Fprintf(w, "data: %d\n\n", time.Now().UnixNano())
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// writeLines is a program of the exec engine that says what sendEvents does.
func writeLines() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 5 {
		fmt.Printf("data: %d\n\n", time.Now().UnixNano())
		<-tick.C
	}
}

// A pattern is a body without end in which every place looks different.
type pattern struct{ at uint64 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte((p.at + p.at>>8 + p.at>>16) * 31)
		p.at++
	}
	return len(b), nil
}

// A started is a node in a process of its own, which a test can kill.
type started struct {
	node.Listening
	process *exec.Cmd
	exited  chan struct{} // closed when the process is gone
	in      io.Closer
	took    time.Duration // until it was ready
}

// A nodePart is what the process of a node is told.
type nodePart struct {
	Folder string
	Reaper []string
	NATS   string   // of another node; "" for a server of its own
	Labels []string // see config.Config
}

// startNode starts a node whose state is in folder, and returns when it is ready.
func startNode(t *testing.T, folder string, change ...func(*nodePart)) *started {
	t.Helper()
	began := time.Now()
	n, ready := launchNode(t, folder, change...)
	select {
	case err := <-ready:
		if err != nil {
			t.Fatalf("the node does not start: %v", err)
		}
	case <-time.After(patience):
		t.Fatalf("the node does not start in %s", patience)
	}
	n.took = time.Since(began)
	return n
}

// launchNode is startNode without the wait: ready tells when it is, or that it failed.
func launchNode(t *testing.T, folder string, change ...func(*nodePart)) (n *started, ready <-chan error) {
	t.Helper()
	told := nodePart{Folder: folder, Reaper: []string{os.Args[0], partReaper}}
	for _, c := range change {
		c(&told)
	}
	part, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	n = &started{process: exec.Command(os.Args[0]), exited: make(chan struct{})}
	n.process.Env = append(os.Environ(), partVariable+"="+partNode, "PART="+string(part))
	n.process.Stderr = t.Output()
	in, err := n.process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := n.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.in = in
	if err := n.process.Start(); err != nil {
		t.Fatal(err)
	}
	decoded := make(chan error, 1)
	go func() {
		defer close(n.exited)
		decoded <- json.NewDecoder(out).Decode(&n.Listening)
		_, _ = io.Copy(io.Discard, out)
		_ = n.process.Wait() // killed, mostly
	}()
	t.Cleanup(func() {
		_ = n.process.Process.Kill()
		in.Close()
		<-n.exited
	})
	return n, decoded
}

// end sends a signal and returns how long the process took to go.
func (n *started) end(t *testing.T, s syscall.Signal) time.Duration {
	t.Helper()
	began := time.Now()
	if err := n.process.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.exited:
	case <-time.After(patience):
		t.Fatalf("the node is still there %s after %v", patience, s)
	}
	return time.Since(began)
}

// runNode is a node as `mayfly up` runs one, until SIGTERM or the end of stdin: so
// it never outlives its test.
func runNode() error {
	var part nodePart
	if err := json.Unmarshal([]byte(os.Getenv("PART")), &part); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	o, err := newOptions(part.Folder, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	o.Reaper = part.Reaper
	o.Config.Labels = part.Labels
	if part.NATS != "" {
		o.Config.NATS, o.Config.Core.Key = part.NATS, filepath.Join(part.Folder, "core.key")
	}
	n, err := node.New(ctx, o)
	if err != nil {
		return err
	}
	s := n.Status()
	if err := json.NewEncoder(os.Stdout).Encode(node.Listening{PID: os.Getpid(), NATS: s.NATS, Gateway: s.Gateway, Admin: s.Admin}); err != nil {
		return err
	}
	return n.Run(ctx)
}

// A pipe is the reading end of one that a function's processes hold open.
type pipe struct {
	path string
	read *os.File
	hold *os.File // keeps the pipe open until a program does
}

func newPipe(t *testing.T) *pipe {
	t.Helper()
	l := &pipe{path: filepath.Join(t.TempDir(), "pipe")}
	if err := syscall.Mkfifo(l.path, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if l.read, err = os.OpenFile(l.path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		t.Fatal(err)
	}
	if l.hold, err = os.OpenFile(l.path, os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.read.Close()
		l.hold.Close()
	})
	return l
}

// on lets a function hold the pipe.
func (l *pipe) on(f *mayfly.Unit) { f.Env[pipeVariable] = l.path }

// awaitOpen returns when a program has said that it holds the pipe.
func (l *pipe) awaitOpen(t *testing.T) {
	t.Helper()
	_ = l.read.SetReadDeadline(time.Now().Add(patience))
	text := make([]byte, len("open\n"))
	if _, err := io.ReadFull(l.read, text); err != nil || string(text) != "open\n" {
		t.Fatalf("no program opened the pipe: %q, %v", text, err)
	}
	l.hold.Close()
}

// awaitClosed returns when no process holds it any more, and how long that took.
func (l *pipe) awaitClosed(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	_ = l.read.SetReadDeadline(began.Add(patience))
	if _, err := io.Copy(io.Discard, l.read); err != nil {
		t.Fatalf("the pipe is still held after %s: %v", time.Since(began), err)
	}
	return time.Since(began)
}
