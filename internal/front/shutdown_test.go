package front

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// A blocker is a handler that signals when it is entered and waits to proceed.
type blocker struct{ entered, proceed chan struct{} }

func newBlocker() *blocker { return &blocker{make(chan struct{}, 10), make(chan struct{})} }

func (b *blocker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/quick" {
		return
	}
	b.entered <- struct{}{}
	select {
	case <-b.proceed:
		io.WriteString(w, "late")
	case <-r.Context().Done():
	}
}

func TestShutdownLetsAnswersFinish(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"plain":       ask("GET /"),
		"handed over": "GET / HTTP/1.1\nHost: localhost\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBlocker()
			s := &Server{Handler: b, ErrorLog: quiet()}
			addr := serve(t, s)
			idle := dial(t, addr)
			io.WriteString(idle, ask("GET /quick"))
			idleAnswers := bufio.NewReader(idle)
			read(t, idleAnswers)
			silent := dial(t, addr)
			busy := dial(t, addr)
			io.WriteString(busy, request)
			<-b.entered
			done := make(chan error, 1)
			go func() { done <- s.Shutdown(context.Background()) }()
			if _, err := idleAnswers.ReadByte(); err != io.EOF {
				t.Errorf("the idle connection: %v", err)
			}
			if _, err := silent.Read(make([]byte, 1)); err == nil {
				t.Error("the silent connection is answered")
			}
			if c, err := net.Dial("tcp", addr); err == nil {
				c.Close()
				t.Error("still accepts")
			}
			select {
			case err := <-done:
				t.Fatalf("Shutdown = %v before the answer", err)
			default:
			}
			close(b.proceed)
			resp, body := read(t, bufio.NewReader(busy))
			if body != "late" || !resp.Close {
				t.Errorf("%q, close %v", body, resp.Close)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if err := s.Shutdown(context.Background()); err != nil {
				t.Errorf("again: %v", err)
			}
		})
	}
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBlocker()
	s := &Server{Handler: b, ErrorLog: quiet()}
	c := dial(t, serve(t, s))
	io.WriteString(c, ask("POST /", "Content-Length: 5")) // nothing reads its body
	<-b.entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown = %v", err)
	}
	if err := s.Close(); err != nil { // must cancel the handler's context, or the test hangs
		t.Error(err)
	}
	if b, err := io.ReadAll(c); len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
}

func TestServeAfterTheEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Server) error{
		"Close":    (*Server).Close,
		"Shutdown": func(s *Server) error { return s.Shutdown(context.Background()) },
	} {
		s := newServer(nil)
		if err := end(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(l); err != http.ErrServerClosed {
			t.Errorf("after %s: Serve = %v", name, err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after %s the listener is open: %v", name, err)
		}
	}
}

// Connections start and end while the server shuts down; goleak and Serve's return show
// that none is left.
func TestShutdownUnderLoad(t *testing.T) {
	t.Parallel()
	s := newServer(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	addr := serve(t, s)
	var clients sync.WaitGroup
	enough := make(chan struct{}, 1000)
	for i := range 8 {
		clients.Go(func() {
			for {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				r := bufio.NewReader(c)
				for range 20 {
					request := ask("GET /")
					if i == 0 {
						request = strings.ReplaceAll(request, "\r", "")
					}
					io.WriteString(c, request)
					resp, err := http.ReadResponse(r, nil)
					if err != nil {
						break // no answer at all
					}
					if body, err := io.ReadAll(resp.Body); string(body) != "hello" {
						t.Errorf("half an answer: %q, %v", body, err)
					}
					select {
					case enough <- struct{}{}:
					default:
					}
				}
				c.Close()
			}
		})
	}
	for range cap(enough) {
		<-enough
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	clients.Wait()
}

func TestPanicIsLoggedAndCutsTheConnection(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	s := newServer(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler)
		}
		panic("on purpose")
	})
	s.ErrorLog = log.New(&logged, "", 0)
	addr := serve(t, s)
	for _, path := range []string{"/abort", "/panic"} {
		c := dial(t, addr)
		io.WriteString(c, ask("GET "+path))
		if b, err := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	s.Close()
	if text := logged.String(); strings.Count(text, "panic serving") != 1 || !strings.Contains(text, "on purpose") {
		t.Errorf("logged %q", text)
	}
}
