package front

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// read reads one answer and its body.
func read(t *testing.T, r *bufio.Reader) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	return resp, string(body)
}

func TestClientThatLeavesEndsTheContext(t *testing.T) {
	t.Parallel()
	end := func(c net.Conn) { c.Close() }
	half := func(c net.Conn) { c.(*net.TCPConn).CloseWrite() }
	reset := func(c net.Conn) {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	for _, tt := range []struct {
		name, request string
		leave         func(net.Conn)
	}{
		{"without a body", ask("GET /"), end},
		{"with a body", post("/", "hello"), end},
		{"by a reset", ask("GET /"), reset},
		{"with its sending half", ask("GET /"), half},
		{"while the handler streams", ask("GET /stream"), half},
		{"in the middle of its body", ask("POST /", "Content-Length: 10") + "hello", end},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			entered, ended := make(chan struct{}), make(chan time.Time)
			addr := serve(t, newServer(func(w http.ResponseWriter, r *http.Request) {
				entered <- struct{}{}
				io.Copy(io.Discard, r.Body)
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				for r.Context().Err() == nil {
					select {
					case <-r.Context().Done():
					case <-tick.C:
						if r.URL.Path == "/stream" {
							io.WriteString(w, "event\n")
							w.(http.Flusher).Flush()
						}
					}
				}
				ended <- time.Now()
			}))
			// It always ends. A busy machine may sometimes hide how soon.
			best := time.Hour
			for range 10 {
				c := dial(t, addr)
				io.WriteString(c, tt.request)
				<-entered
				left := time.Now()
				tt.leave(c)
				select {
				case at := <-ended:
					best = min(best, at.Sub(left))
				case <-time.After(time.Minute):
					t.Fatal("the context does not end")
				}
				if best <= 50*time.Millisecond {
					return
				}
			}
			t.Errorf("the context ends after %s at best", best)
		})
	}
}

func TestContextEndsWithTheHandler(t *testing.T) {
	t.Parallel()
	contexts := make(chan context.Context, 1)
	addr := serve(t, newServer(func(_ http.ResponseWriter, r *http.Request) { contexts <- r.Context() }))
	c := dial(t, addr)
	io.WriteString(c, ask("GET /"))
	ctx := <-contexts
	select {
	case <-ctx.Done():
	case <-time.After(time.Minute):
		t.Error("the context outlives its request")
	}
	if ctx.Value(http.LocalAddrContextKey).(net.Addr).String() != addr {
		t.Errorf("local address %v", ctx.Value(http.LocalAddrContextKey))
	}
}

// What a client sends before its answer arrives is the next request, not a disconnect.
func TestRequestSentAheadIsAnswered(t *testing.T) {
	t.Parallel()
	entered, proceed := make(chan struct{}, 4), make(chan struct{})
	s := newServer(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-proceed
		fmt.Fprint(w, r.URL.Path, r.Context().Err())
	})
	c := dial(t, serve(t, s))
	r := bufio.NewReader(c)
	io.WriteString(c, ask("GET /1"))
	<-entered
	until(t, s, func(c *conn) bool { return c.watcher.state == watchReading })
	io.WriteString(c, ask("GET /2")[:10])
	until(t, s, func(c *conn) bool { return c.end-c.start == 10 })
	io.WriteString(c, ask("GET /2")[10:]+ask("GET /3"))
	close(proceed)
	for _, want := range []string{"/1<nil>", "/2<nil>", "/3<nil>"} {
		if _, body := read(t, r); body != want {
			t.Errorf("%q, want %q", body, want)
		}
	}
}

// The body of a request that a client sent ahead before it left is no request.
func TestBodySentAheadByAClientThatLeft(t *testing.T) {
	t.Parallel()
	s := newServer(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done() // the client has left
		}
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %q %v", r.URL.Path, body, err)
	})
	c := dial(t, serve(t, s))
	body := ask("GET /body")
	io.WriteString(c, ask("GET /slow")+ask("POST /whole", "Content-Length: "+strconv.Itoa(len(body)))+body+
		ask("POST /part", "Content-Length: 10")+"half")
	if err := closeWrite(c); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for _, want := range []string{`/slow "" <nil>`, fmt.Sprintf("/whole %q <nil>", body), `/part "half" unexpected EOF`} {
		if _, body := read(t, r); body != want {
			t.Errorf("%s, want %s", body, want)
		}
	}
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Errorf("then %q, %v", rest, err)
	}
}

// until waits until the server's only connection, whose watch has started, satisfies as.
func until(t *testing.T, s *Server, as func(*conn) bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); runtime.Gosched() {
		s.mu.Lock()
		for c := range s.conns {
			c.watcher.mu.Lock()
			is := as(c)
			c.watcher.mu.Unlock()
			if is {
				s.mu.Unlock()
				return
			}
		}
		s.mu.Unlock()
	}
	t.Fatal("the connection does not get there")
}

func TestFlushedEventArrivesAtOnce(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	addr := serve(t, newServer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		control := http.NewResponseController(w)
		control.Flush() // the head alone
		for event := range next {
			io.WriteString(w, event)
			if err := control.Flush(); err != nil {
				t.Error(err)
			}
		}
	}))
	c := dial(t, addr)
	io.WriteString(c, ask("GET /"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.TransferEncoding[0] != "chunked" {
		t.Fatalf("%v %v", resp, err)
	}
	got := make([]byte, 100<<10)
	for _, event := range []string{"a", strings.Repeat("b", 3000), strings.Repeat("c", 100<<10), "d"} {
		next <- event // the handler sends the next one only after this one has arrived
		if _, err := io.ReadFull(resp.Body, got[:len(event)]); err != nil || string(got[:len(event)]) != event {
			t.Fatalf("%v, %.20q", err, got)
		}
	}
	close(next)
	if n, err := resp.Body.Read(got); n != 0 || err != io.EOF {
		t.Errorf("after the last event: %d, %v", n, err)
	}
}

func TestBothSidesStreamInFullDuplex(t *testing.T) {
	t.Parallel()
	addr := serve(t, newServer(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		line := make([]byte, 5)
		for {
			if _, err := io.ReadFull(r.Body, line); err != nil {
				return
			}
			w.Write(line)
			control.Flush()
		}
	}))
	c := dial(t, addr)
	io.WriteString(c, ask("POST /", "Content-Length: 15"))
	io.WriteString(c, "line1")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	for _, next := range []string{"line2", "line3", ""} {
		if _, err := io.ReadFull(resp.Body, line); err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, next)
	}
	if string(line) != "line3" {
		t.Errorf("%q", line)
	}
	if n, err := resp.Body.Read(line); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
	io.WriteString(c, ask("POST /", "Content-Length: 5")+"again")
	if _, body := read(t, r); body != "again" {
		t.Errorf("the next request on the connection: %q", body)
	}
}

// A gigabyte goes in and out, and the heap grows by only a few buffers.
func TestLongBodiesAreNotHeld(t *testing.T) {
	const size = 256 << 20
	addr := serve(t, newServer(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
		if n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r.Body}, make([]byte, 256<<10)); n != size || err != nil {
			t.Errorf("copied %d: %v", n, err)
		}
	}))
	c := dial(t, addr)
	c.SetDeadline(time.Now().Add(time.Minute))
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, ask("POST /", fmt.Sprintf("Content-Length: %d", size)))
		block := make([]byte, 256<<10)
		for n := 0; n < size && err == nil; n += len(block) {
			_, err = c.Write(block)
		}
		sent <- err
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	resp, err := http.ReadResponse(bufio.NewReaderSize(c, 256<<10), nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{resp.Body}, make([]byte, 256<<10))
	runtime.ReadMemStats(&after)
	if n != size || err != nil || <-sent != nil {
		t.Errorf("%d of %d bytes came back: %v", n, size, err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
		t.Errorf("%d MiB were allocated on the way", grown>>20)
	}
}

// A client that sends faster than its body is read must wait.
func TestUnreadBodyHoldsItsClientBack(t *testing.T) {
	t.Parallel()
	proceed := make(chan struct{})
	addr := serve(t, newServer(func(_ http.ResponseWriter, r *http.Request) {
		<-proceed
		io.Copy(io.Discard, r.Body)
	}))
	c := dial(t, addr)
	const size = 64 << 20
	io.WriteString(c, ask("POST /", fmt.Sprintf("Content-Length: %d", size)))
	c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	n, err := c.Write(make([]byte, size))
	if !isTimeout(err) {
		t.Fatalf("%d of %d bytes were taken though nobody reads: %v", n, size, err)
	}
	c.SetWriteDeadline(time.Now().Add(time.Minute))
	close(proceed)
	if _, err := c.Write(make([]byte, size-n)); err != nil {
		t.Fatal(err)
	}
	if resp, _ := read(t, bufio.NewReader(c)); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

// The server drains a short unread body; otherwise the connection ends, but only after
// the client had time to read its answer.
func TestUnreadBodyIsDrainedOrTheConnectionEnds(t *testing.T) {
	t.Parallel()
	addr := serve(t, newServer(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "answer") }))
	for size, kept := range map[int]bool{100: true, mostDrained: true, mostDrained + 5000: false, 20 << 20: false} {
		c := dial(t, addr)
		r := bufio.NewReader(c)
		// A simple client sends everything before it reads; a connection reset may
		// interrupt that.
		io.WriteString(c, post("/", strings.Repeat("x", size)))
		resp, body := read(t, r)
		if body != "answer" || resp.Close == kept {
			t.Errorf("%d bytes: %q, close %v", size, body, resp.Close)
		}
		if kept {
			io.WriteString(c, ask("GET /"))
			if _, body := read(t, r); body != "answer" {
				t.Errorf("%d bytes, the next request: %q", size, body)
			}
		}
	}
}

// In full duplex the server does not know what the handler will read, so the connection
// ends without notice; the client still has time to read its answer.
func TestUnreadBodyInFullDuplexLosesNoAnswer(t *testing.T) {
	t.Parallel()
	for _, close := range []bool{false, true} {
		addr := serve(t, newServer(func(w http.ResponseWriter, _ *http.Request) {
			if close {
				w.Header().Set("Connection", "close")
			}
			http.NewResponseController(w).EnableFullDuplex()
			io.WriteString(w, "answer")
		}))
		c := dial(t, addr)
		if _, err := io.WriteString(c, post("/", strings.Repeat("x", 8<<20))); err != nil {
			t.Errorf("close %v: %v", close, err)
		}
		if _, body := read(t, bufio.NewReader(c)); body != "answer" {
			t.Errorf("close %v: %q", close, body)
		}
	}
}

func TestBodyIsClosedWithItsRequest(t *testing.T) {
	t.Parallel()
	bodies := make(chan io.ReadCloser, 1)
	addr := serve(t, newServer(func(_ http.ResponseWriter, r *http.Request) { bodies <- r.Body }))
	c := dial(t, addr)
	io.WriteString(c, post("/", "hello"))
	read(t, bufio.NewReader(c))
	body := <-bodies
	io.WriteString(c, ask("GET /"))
	<-bodies // the next request has begun
	if n, err := body.Read(make([]byte, 5)); n != 0 || err != http.ErrBodyReadAfterClose {
		t.Errorf("read %d, %v after the request", n, err)
	}
}

// A handler that writes after it returned must not write into the next answer.
func TestHandlerIsNotHeardAfterItsReturn(t *testing.T) {
	t.Parallel()
	writers := make(chan http.ResponseWriter, 2)
	addr := serve(t, newServer(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		writers <- w
	}))
	c := dial(t, addr)
	r := bufio.NewReader(c)
	io.WriteString(c, ask("GET /"))
	read(t, r)
	w := <-writers
	control := http.NewResponseController(w)
	_, err := io.WriteString(w, "ghost")
	for what, err := range map[string]error{
		"Write": err, "Flush": control.Flush(),
		"SetReadDeadline": control.SetReadDeadline(longAgo), "SetWriteDeadline": control.SetWriteDeadline(longAgo),
	} {
		if err == nil {
			t.Errorf("%s succeeds", what)
		}
	}
	w.WriteHeader(500)
	io.WriteString(c, ask("GET /"))
	if resp, body := read(t, r); resp.StatusCode != 200 || body != "hello" {
		t.Errorf("%s %q", resp.Status, body)
	}
}

func TestSlowClientsAreCut(t *testing.T) {
	t.Parallel()
	const soon = 300 * time.Millisecond // a timely client must not be late on a busy machine
	type result struct {
		n   int64
		err error
	}
	handler := func(results chan<- result) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			switch r.URL.Path {
			case "/read":
				control.SetReadDeadline(time.Now().Add(soon))
				n, err := io.Copy(io.Discard, r.Body)
				results <- result{n, err}
			case "/reading": // the deadline is set while a read waits
				time.AfterFunc(soon, func() { control.SetReadDeadline(longAgo) })
				n, err := io.Copy(io.Discard, r.Body)
				results <- result{n, err}
			case "/write", "/writing":
				if r.URL.Path == "/write" {
					control.SetWriteDeadline(time.Now().Add(soon))
				}
				var err error
				for err == nil {
					_, err = w.Write(make([]byte, 1<<20))
				}
				results <- result{0, err}
			default:
				io.Copy(w, r.Body)
			}
		}
	}
	cut := func(t *testing.T, c net.Conn) {
		t.Helper()
		if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
			t.Errorf("%q, %v; want the end", b, err)
		}
	}
	for _, tt := range []struct {
		name   string
		server *Server
		play   func(t *testing.T, c net.Conn, results <-chan result)
	}{
		{"that send nothing", &Server{ReadHeaderTimeout: soon}, func(t *testing.T, c net.Conn, _ <-chan result) { cut(t, c) }},
		{"that send half a head", &Server{ReadHeaderTimeout: soon}, func(t *testing.T, c net.Conn, _ <-chan result) {
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: loc")
			cut(t, c)
		}},
		{"that send a head bit by bit", &Server{ReadHeaderTimeout: 2 * soon}, func(t *testing.T, c net.Conn, _ <-chan result) {
			begin := time.Now()
			go func() {
				for _, bit := range ask("GET /", "X: "+strings.Repeat("x", 100)) { // more pieces than a plain head may have
					if _, err := io.WriteString(c, string(bit)); err != nil {
						return
					}
					<-time.After(soon / 5)
				}
			}()
			io.Copy(io.Discard, c) // net/http may answer 400
			if took := time.Since(begin); took > 3*soon {
				t.Errorf("cut after %s: the time is that of the whole head", took)
			}
		}},
		{"that send half of a second head", &Server{ReadHeaderTimeout: soon, IdleTimeout: time.Hour}, func(t *testing.T, c net.Conn, _ <-chan result) {
			io.WriteString(c, ask("GET /")+"GET / HTTP/1.1\r\nHost: loc")
			r := bufio.NewReader(c)
			read(t, r)
			if _, err := r.ReadByte(); err != io.EOF {
				t.Error(err)
			}
		}},
		{"that send nothing more", &Server{ReadHeaderTimeout: time.Hour, IdleTimeout: soon}, func(t *testing.T, c net.Conn, _ <-chan result) {
			io.WriteString(c, ask("GET /"))
			r := bufio.NewReader(c)
			read(t, r)
			if _, err := r.ReadByte(); err != io.EOF {
				t.Error(err)
			}
		}},
		{"that send half a body", &Server{}, func(t *testing.T, c net.Conn, results <-chan result) {
			io.WriteString(c, ask("POST /read", "Content-Length: 10")+"hello")
			if got := <-results; got.n != 5 || !isTimeout(got.err) {
				t.Errorf("%+v", got)
			}
			if resp, _ := read(t, bufio.NewReader(c)); !resp.Close {
				t.Error("the connection goes on in the middle of a body")
			}
		}},
		{"that send half a body, by somebody else", &Server{}, func(t *testing.T, c net.Conn, results <-chan result) {
			io.WriteString(c, ask("POST /reading", "Content-Length: 10")+"hello")
			if got := <-results; got.n != 5 || !isTimeout(got.err) {
				t.Errorf("%+v", got)
			}
		}},
		{"that do not read, by the handler", &Server{}, func(t *testing.T, c net.Conn, results <-chan result) {
			io.WriteString(c, ask("GET /write"))
			if got := <-results; !isTimeout(got.err) {
				t.Errorf("%+v", got)
			}
		}},
		{"that do not read, by the server", &Server{WriteTimeout: soon}, func(t *testing.T, c net.Conn, results <-chan result) {
			io.WriteString(c, ask("GET /writing"))
			if got := <-results; !isTimeout(got.err) {
				t.Errorf("%+v", got)
			}
		}},
		{"but not those who send a body slowly", &Server{ReadHeaderTimeout: soon, IdleTimeout: soon, WriteTimeout: time.Hour}, func(t *testing.T, c net.Conn, _ <-chan result) {
			io.WriteString(c, ask("POST /", "Content-Length: 2")+"a")
			<-time.After(2 * soon) // longer than every deadline but the last
			io.WriteString(c, "b")
			if _, body := read(t, bufio.NewReader(c)); body != "ab" {
				t.Errorf("%q", body)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			results := make(chan result, 1)
			tt.server.Handler, tt.server.ErrorLog = handler(results), quiet()
			tt.play(t, dial(t, serve(t, tt.server)), results)
		})
	}
}
