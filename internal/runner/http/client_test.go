//go:build unix

package httpengine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
)

// answer reads one request and writes the reply, one write per part.
func answer(c net.Conn, parts ...string) {
	if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
		return
	}
	for _, part := range parts {
		_, _ = io.WriteString(c, part)
	}
}

func TestRequestCarriesTheCall(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	bodies := make(chan string, 1)
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- r
		bodies <- string(b)
	})
	deadline := time.Now().Add(time.Minute)
	_, err := c.call(ctxOf(t), &mayfly.Call{
		ID: "c7", Method: "PUT", Path: "/a%20b/ü", Query: "q=1&ß=2", Host: "shop.example:81", Remote: "10.0.0.1:99", Deadline: deadline,
		Header: http.Header{
			"X-Two": {"a", "b"}, "mayfly-param-id": {"7"}, "Transfer-Encoding": {"gzip"}, "content-length": {"1"},
			"Connection": {"close"}, "Mayfly-Call": {"forged"}, "Traceparent": {"00-1"}, "Expect": {"100-continue"},
		},
		Body: []byte("hello"),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := <-got
	if r.Method != "PUT" || r.RequestURI != "/a%20b/%C3%BC?q=1&%C3%9F=2" || r.Host != "shop.example:81" || r.ContentLength != 5 || r.Close {
		t.Errorf("request is %s %s of %s, length %d, close %t", r.Method, r.RequestURI, r.Host, r.ContentLength, r.Close)
	}
	if b := <-bodies; b != "hello" {
		t.Errorf("body is %q", b)
	}
	want := http.Header{
		"X-Two": {"a", "b"}, "Mayfly-Param-Id": {"7"}, "Traceparent": {"00-1"}, "Content-Length": {"5"},
		"Mayfly-Call": {"c7"}, "Mayfly-Remote": {"10.0.0.1:99"}, "Mayfly-Deadline": {fmt.Sprint(deadline.UnixMilli())},
	}
	if !maps.EqualFunc(r.Header, want, slices.Equal) {
		t.Errorf("headers are %v, want %v", r.Header, want)
	}
}

func TestCallWithoutAnHTTPFaceIsPOST(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Method, " ", r.URL.Path, " ", r.Host, " ", r.ContentLength, " ", r.Header["Mayfly-Deadline"] != nil)
	})
	r, err := c.call(ctxOf(t), &mayfly.Call{})
	if err != nil || string(r.Body) != "POST / localhost 0 true" {
		t.Errorf("reply is %q, %v", r.Body, err)
	}
}

func TestNothingIsInjected(t *testing.T) {
	t.Parallel()
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the function was reached") })
	for _, tt := range []struct {
		name string
		call mayfly.Call
	}{
		{"line in the method", mayfly.Call{Method: "GET / HTTP/1.1\r\nX: 1\r\n\r\nGET"}},
		{"space in the method", mayfly.Call{Method: "GET /x"}},
		{"line in the path", mayfly.Call{Path: "/ HTTP/1.1\r\nX: 1"}},
		{"space in the path", mayfly.Call{Path: "/a b"}},
		{"path without a slash", mayfly.Call{Path: "a"}},
		{"whole URL as the path", mayfly.Call{Path: "http://other/"}},
		{"line in the query", mayfly.Call{Query: "a\nb"}},
		{"NUL in the query", mayfly.Call{Query: "a\x00b"}},
		{"line in the host", mayfly.Call{Host: "a\r\nX: 1"}},
		{"line in the id", mayfly.Call{ID: "a\r\nX: 1"}},
		{"line in the remote", mayfly.Call{Remote: "a\r\nX: 1"}},
		{"line in a value", mayfly.Call{Header: http.Header{"A": {"b\r\nX: 1"}}}},
		{"CR in a value", mayfly.Call{Header: http.Header{"A": {"b\rc"}}}},
		{"LF in a value", mayfly.Call{Header: http.Header{"A": {"b\nc"}}}},
		{"NUL in a value", mayfly.Call{Header: http.Header{"A": {"b\x00c"}}}},
		{"line in a name", mayfly.Call{Header: http.Header{"A: b\r\nX": {"1"}}}},
		{"framing behind a space", mayfly.Call{Header: http.Header{"Transfer-Encoding ": {"chunked"}}}},
		{"empty name", mayfly.Call{Header: http.Header{"": {"1"}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := c.call(ctxOf(t), &tt.call)
			wantCode(t, err, mayfly.Invalid)
		})
	}
}

func TestRepliesOfAllShapes(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", wholeBody+1)
	for _, tt := range []struct {
		name, method string
		wire         []string
		status       int
		header       http.Header
		body         string
		stream       bool
		length       int64
	}{
		{"a length", "GET", []string{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"}, 200, http.Header{}, "hi", false, 0},
		{"no reason", "GET", []string{"HTTP/1.1 404\r\nContent-Length: 2\r\n\r\nno"}, 404, http.Header{}, "no", false, 0},
		{"in pieces", "GET", []string{"HT", "TP/1.1 200 OK\r", "\n", "A: b\r\nContent-Le", "ngth: 2\r\n", "\r\nh", "i"}, 200, http.Header{"A": {"b"}}, "hi", false, 0},
		{"names in any case", "GET", []string{"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nX-aB-c:  d \t\r\nx-AB-C: e\r\n\r\n"}, 200, http.Header{"X-Ab-C": {"d", "e"}}, "", false, 0},
		{"line feeds alone", "GET", []string{"HTTP/1.1 200 OK\nA: b\nContent-Length: 2\n\nhi"}, 200, http.Header{"A": {"b"}}, "hi", false, 0},
		{"what belongs to the connection", "GET", []string{"HTTP/1.1 200 OK\r\nConnection: X-Mine, keep-alive\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"}, 200, http.Header{}, "", false, 0},
		{"what belongs to Mayfly", "GET", []string{"HTTP/1.1 200 OK\r\nMayfly-Status: 500\r\nNats-Msg-Id: 1\r\nContent-Length: 0\r\n\r\n"}, 200, http.Header{}, "", false, 0},
		{"no content", "GET", []string{"HTTP/1.1 204 No Content\r\n\r\n"}, 204, http.Header{}, "", false, 0},
		{"not modified with a length", "GET", []string{"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"}, 304, http.Header{}, "", false, 0},
		{"HEAD", "HEAD", []string{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"}, 200, http.Header{"Content-Length": {"9"}}, "", false, 0},
		{"HEAD of chunks", "HEAD", []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"}, 200, http.Header{}, "", false, 0},
		{"after 100 and 103", "GET", []string{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"}, 200, http.Header{}, "hi", false, 0},
		{"chunks in one piece", "GET", []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n000\r\nTrailer: 1\r\n\r\n"}, 200, http.Header{}, "hi", false, 0},
		{"chunks that come", "GET", []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "A\r", "\n01234", "56789\r\n0", "\r\n\r\n"}, 200, http.Header{}, "0123456789", true, -1},
		{"until the connection ends", "GET", []string{"HTTP/1.1 200 OK\r\n\r\nhi"}, 200, http.Header{}, "hi", true, -1},
		{"of HTTP/1.0", "GET", []string{"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"}, 200, http.Header{}, "hi", false, 0},
		{"long", "GET", []string{fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(big), big)}, 200, http.Header{}, big, true, int64(len(big))},
		{"many headers", "GET", []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + strings.Repeat("A: "+strings.Repeat("b", 100)+"\r\n", 500) + "\r\n"}, 200, http.Header{"A": slices.Repeat([]string{strings.Repeat("b", 100)}, 500)}, "", false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := serveRaw(t, "unix", func(_ int, conn net.Conn) { answer(conn, tt.wire...) })
			call := get("/")
			call.Method = tt.method
			r, err := c.call(ctxOf(t), call)
			if err != nil {
				t.Fatal(err)
			}
			// Pieces may arrive together, so a reply that could be a stream may be whole.
			if (r.Stream != nil) != tt.stream && !(r.Stream == nil && tt.length < 0) {
				t.Errorf("a stream: %t, want %t", r.Stream != nil, tt.stream)
			}
			if r.Stream != nil && r.Length != tt.length {
				t.Errorf("length is %d, want %d", r.Length, tt.length)
			}
			if r.Status != tt.status || !maps.EqualFunc(r.Header, tt.header, slices.Equal) {
				t.Errorf("reply is %d %v, want %d %v", r.Status, r.Header, tt.status, tt.header)
			}
			if b := bodyOf(t, r); b != tt.body {
				t.Errorf("body is %.100q, want %.100q", b, tt.body)
			}
		})
	}
}

func TestMalformedReplyIsACrash(t *testing.T) {
	t.Parallel()
	ok := "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct{ name, wire, says string }{
		{"nothing", "", "closed the connection before it replied"},
		{"half a head", ok + "A: b\r\n", "closed the connection in the middle of its reply"},
		{"another protocol", "SSH-2.0-OpenSSH_9\r\n\r\n", "first line"},
		{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "first line"},
		{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", "first line"},
		{"status of letters", "HTTP/1.1 2x0 OK\r\n\r\n", "first line"},
		{"no such status", "HTTP/1.1 999 OK\r\n\r\n", "not an HTTP status"},
		{"an upgrade", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "upgrades are not supported"},
		{"endless 100s", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100), "interim (1xx) responses"},
		{"a header without a colon", ok + "A\r\n\r\n", "invalid header line"},
		{"a space before the colon", ok + "Content-Length : 2\r\n\r\nhi", "invalid header line"},
		{"a folded header", ok + "A: b\r\n c\r\n\r\n", "invalid header line"},
		{"a control character", ok + "A: \x1b[31m\r\n\r\n", "control character"},
		{"a lone CR", ok + "A: b\rSet-Cookie: c\r\n\r\n", "control character"},
		{"two lengths", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nhi", "Content-Length"},
		{"a list of lengths", ok + "Content-Length: 2, 2\r\n\r\nhi", "Content-Length"},
		{"a negative length", ok + "Content-Length: -1\r\n\r\nhi", "Content-Length"},
		{"a length beyond counting", ok + "Content-Length: 99999999999999999999\r\n\r\nhi", "Content-Length"},
		{"length and chunks", ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "both"},
		{"chunks of HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0"},
		{"an unknown encoding", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding"},
		{"a chunk without a size", ok + "Transfer-Encoding: chunked\r\n\r\n\r\n", "chunk size"},
		{"a chunk of letters", ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunk size"},
		{"a chunk beyond counting", ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "chunk size"},
		{"a chunk that goes on", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nhello\r\n0\r\n\r\n", "longer than its size"},
		{"headers without end", ok + strings.Repeat("A: b\r\n", maxHead/6), "longer than"},
		{"a line without end", ok + "A: " + strings.Repeat("b", 2*maxHead), "longer than"},
		{"a body cut short", ok + "Content-Length: 5\r\n\r\nhi", "closed the connection in the middle of its reply"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := serveRaw(t, "unix", func(_ int, conn net.Conn) { answer(conn, tt.wire) })
			r, err := c.call(ctxOf(t), get("/"))
			if err == nil {
				t.Fatalf("it is a reply: %+v", r)
			}
			wantCode(t, err, mayfly.Crashed)
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error is %q, want it to say %q", err, tt.says)
			}
		})
	}
}

func TestStreamThatIsCutShortSaysSo(t *testing.T) {
	t.Parallel()
	for name, wire := range map[string]string{
		"a length":      "Content-Length: 100000\r\n\r\nhi",
		"within chunks": "Transfer-Encoding: chunked\r\n\r\n9\r\nhi",
		"after a chunk": "Transfer-Encoding: chunked\r\n\r\n2\r\nhi",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serveRaw(t, "unix", func(_ int, conn net.Conn) { answer(conn, "HTTP/1.1 200 OK\r\n"+wire) })
			r, err := c.call(ctxOf(t), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Stream.Close()
			b, err := io.ReadAll(r.Stream)
			if string(b) != "hi" || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "in the middle of its reply") {
				t.Errorf("read %q, %v; want hi and the end before its time", b, err)
			}
		})
	}
}

func TestConnectionIsUsedAgain(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stream":
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			fmt.Fprint(w, "streamed")
		case "/large":
			w.Header().Set("Content-Length", fmt.Sprint(1<<20))
			_, _ = w.Write(make([]byte, 1<<20))
		default:
			_, _ = io.Copy(w, r.Body)
		}
	})
	large := get("/")
	large.Method, large.Body = "POST", make([]byte, 1<<20)
	for _, call := range []*mayfly.Call{get("/"), get("/stream"), get("/large"), {Body: []byte("b")}, get("/")} {
		r, err := c.call(ctxOf(t), call)
		if err != nil {
			t.Fatal(err)
		}
		bodyOf(t, r)
	}
	r, err := c.call(ctxOf(t), get("/large"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, r.Stream, r.Length); err != nil { // without reading the EOF
		t.Fatal(err)
	}
	r.Stream.Close()
	if n := len(c.idle); n != 1 {
		t.Errorf("%d connections lie idle, want 1", n)
	}
}

// A second reply to one request must never be taken for the next request's.
func TestUnaskedReplyReachesNobody(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			l := listen(t, network)
			c := clientOf(t, l)
			late, said := make(chan struct{}), make(chan struct{})
			var serving sync.WaitGroup
			serving.Go(func() {
				for n := 1; ; n++ {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					serving.Go(func() {
						defer conn.Close()
						reply := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n)
						answer(conn, reply)
						if n == 1 {
							<-late
							_, _ = io.WriteString(conn, reply)
							close(said)
						}
						_, _ = io.Copy(io.Discard, conn)
					})
				}
			})
			t.Cleanup(func() {
				c.close()
				_ = l.Close()
				serving.Wait()
			})
			if r, err := c.call(ctxOf(t), &mayfly.Call{}); err != nil || string(r.Body) != "1" {
				t.Fatalf("first reply is %q, %v", r.Body, err)
			}
			close(late)
			<-said
			if r, err := c.call(ctxOf(t), &mayfly.Call{}); err != nil || string(r.Body) != "2" {
				t.Errorf("second reply is %q, %v: it was sent before it was asked for", r.Body, err)
			}
		})
	}
}

func TestCallIsSentAgainOnlyIfItWasNotRead(t *testing.T) {
	t.Parallel()
	hi := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
	for _, network := range []string{"unix", "tcp"} {
		for _, tt := range []struct {
			name string
			end  func(c net.Conn, in *bufio.Reader) // of the first connection, after one reply
			ok   bool
		}{
			{"closed while idle", func(net.Conn, *bufio.Reader) {}, true},
			{"closed after it was read", func(_ net.Conn, in *bufio.Reader) { _, _ = http.ReadRequest(in) }, false},
			{"half of a reply came", func(c net.Conn, in *bufio.Reader) {
				_, _ = http.ReadRequest(in)
				_, _ = io.WriteString(c, "HTTP/1.1 2")
			}, false},
		} {
			t.Run(network+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				closed := make(chan struct{})
				var again atomic.Bool
				c := serveRaw(t, network, func(nth int, conn net.Conn) {
					if nth > 0 {
						again.Store(true)
						answer(conn, hi)
						return
					}
					in := bufio.NewReader(conn)
					_, _ = http.ReadRequest(in)
					_, _ = io.WriteString(conn, hi)
					if !tt.ok {
						close(closed)
					}
					tt.end(conn, in)
					_ = conn.Close()
					if tt.ok {
						close(closed)
					}
				})
				if _, err := c.call(ctxOf(t), get("/")); err != nil {
					t.Fatal(err)
				}
				<-closed
				_, err := c.call(ctxOf(t), &mayfly.Call{Method: "POST", Body: []byte("{}")})
				if tt.ok && err != nil {
					t.Errorf("error = %v, want the call to be made again", err)
				}
				if !tt.ok {
					wantCode(t, err, mayfly.Crashed)
				}
				if again.Load() != tt.ok {
					t.Errorf("it was sent again: %t", again.Load())
				}
			})
		}
	}
}

// A server that closes a connection with part of the request unread resets it, as if it
// had closed before the request. But it may have acted on that part.
func TestCallThatWasReadInPartIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for _, size := range []int{oneRead, oneWrite, 2 * oneWrite} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			var again atomic.Bool
			c := serveRaw(t, "unix", func(nth int, conn net.Conn) {
				in := bufio.NewReader(conn)
				_, _ = http.ReadRequest(in)
				if nth > 0 {
					again.Store(true)
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
				_, _ = http.ReadRequest(in) // and only as much of the body as arrived with it
			})
			if _, err := c.call(ctxOf(t), get("/")); err != nil {
				t.Fatal(err)
			}
			_, err := c.call(ctxOf(t), &mayfly.Call{Method: "POST", Path: "/orders", Body: make([]byte, size)})
			wantCode(t, err, mayfly.Crashed)
			if again.Load() {
				t.Error("the function got the call twice")
			}
		})
	}
}

func TestContextEndsTheRequest(t *testing.T) {
	t.Parallel()
	begun, left := make(chan string, 1), make(chan struct{}, 1)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/stream" {
			fmt.Fprint(w, "begun")
			_ = http.NewResponseController(w).Flush()
		}
		begun <- r.URL.Path
		<-r.Context().Done()
		left <- struct{}{}
	})
	t.Run("before the reply", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctxOf(t))
		go func() {
			<-begun
			cancel()
		}()
		_, err := c.call(ctx, get("/"))
		wantCode(t, err, mayfly.Timeout)
		<-left
	})
	t.Run("within a stream", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctxOf(t))
		defer cancel()
		r, err := c.call(ctx, get("/stream"))
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		cancel()
		b, err := io.ReadAll(r.Stream)
		if string(b) != "begun" {
			t.Errorf("read %q", b)
		}
		wantCode(t, err, mayfly.Timeout)
		<-left
		r.Stream.Close()
	})
	t.Run("by its deadline", func(t *testing.T) {
		call := get("/")
		call.Deadline = time.Now().Add(20 * time.Millisecond)
		_, err := c.call(ctxOf(t), call)
		wantCode(t, err, mayfly.Timeout)
		<-begun
		<-left
	})
	t.Run("over before it begins", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := c.call(ctx, get("/"))
		wantCode(t, err, mayfly.Timeout)
		select {
		case <-begun:
			t.Error("the function was reached")
		default:
		}
	})
	t.Run("by Close", func(t *testing.T) {
		r, err := c.call(ctxOf(t), get("/stream"))
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		ended := make(chan error)
		go func() {
			_, err := io.ReadAll(r.Stream)
			ended <- err
		}()
		r.Stream.Close()
		if err := <-ended; err == nil {
			t.Error("a Read that waited saw the body's end")
		}
		<-left
	})
}

func TestEventsComeAtOnce(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", n)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	r, err := c.call(ctxOf(t), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	for n := range 3 {
		// The function waits, so holding back an event hangs here.
		got, err := r.Stream.Read(buf)
		if want := fmt.Sprintf("data: %d\n\n", n); err != nil || string(buf[:got]) != want {
			t.Errorf("read %q, %v; want %q", buf[:got], err, want)
		}
		next <- struct{}{}
	}
	if n, err := r.Stream.Read(buf); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d, %v; want the end", n, err)
	}
	r.Stream.Close()
	r.Stream.Close() // harmless
}

// A counting reader yields n bytes and counts them.
type counting struct {
	n     int64
	given atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n := min(int64(len(p)), c.n-c.given.Load())
	if n == 0 {
		return 0, io.EOF
	}
	c.given.Add(n)
	return int(n), nil
}

func TestUploadHasBackPressure(t *testing.T) {
	t.Parallel()
	const size, most = 32 << 20, 4 << 20 // what all buffers of the system may hold
	for name, length := range map[string]int64{"with a length": size, "in chunks": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := &counting{n: size}
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				var read int64
				for buf := make([]byte, 64<<10); ; {
					n, err := r.Body.Read(buf)
					read += int64(n)
					if ahead := body.given.Load() - read; ahead > most {
						t.Errorf("%d bytes were taken from the caller before the function read them", ahead)
						return
					}
					if err != nil {
						break
					}
				}
				fmt.Fprint(w, read, " ", r.ContentLength)
			})
			r, err := c.call(ctxOf(t), &mayfly.Call{Stream: body, Length: length})
			if want := fmt.Sprint(size, " ", length); err != nil || string(r.Body) != want {
				t.Errorf("reply is %q, %v; want %q", r.Body, err, want)
			}
		})
	}
}

func TestReplyMayBeginBeforeTheRequestEnds(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		for in := bufio.NewScanner(r.Body); in.Scan(); _ = rc.Flush() {
			fmt.Fprintln(w, strings.ToUpper(in.Text()))
		}
	})
	body, feed := io.Pipe()
	go fmt.Fprintln(feed, "one")
	r, err := c.call(ctxOf(t), &mayfly.Call{Stream: body, Length: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stream.Close()
	out := bufio.NewScanner(r.Stream)
	for _, word := range []string{"two", "three", ""} {
		out.Scan()
		if got, want := out.Text(), map[string]string{"two": "ONE", "three": "TWO", "": "THREE"}[word]; got != want {
			t.Errorf("line is %q, want %q", got, want)
		}
		if word == "" {
			feed.Close()
		} else {
			fmt.Fprintln(feed, word)
		}
	}
	if out.Scan() || out.Err() != nil {
		t.Errorf("after the end: %q, %v", out.Text(), out.Err())
	}
}

func TestEarlyReplyWins(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]*mayfly.Call{
		"over a stream":     {Stream: &counting{n: 64 << 20}, Length: 64 << 20},
		"over chunks":       {Stream: &counting{n: 64 << 20}, Length: -1},
		"over a large body": {Body: make([]byte, 8<<20)},
	} {
		for _, network := range []string{"unix", "tcp"} {
			t.Run(name+" on "+network, func(t *testing.T) {
				t.Parallel()
				c := serveRaw(t, network, func(_ int, conn net.Conn) {
					_, _ = http.ReadRequest(bufio.NewReader(conn)) // and nothing of the body
					_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
				})
				r, err := c.call(ctxOf(t), call)
				if err != nil || r.Status != 413 || string(r.Body) != "no" {
					t.Errorf("reply is %d %q, %v", r.Status, r.Body, err)
				}
			})
		}
	}
}

func TestBrokenBodyOfACallIsTheCallersFault(t *testing.T) {
	t.Parallel()
	tooLarge := mayfly.Errorf(mayfly.Invalid, "too much: %w", mayfly.ErrTooLarge)
	for _, tt := range []struct {
		name string
		call mayfly.Call
		is   error
	}{
		{"it ends too soon", mayfly.Call{Stream: strings.NewReader("abc"), Length: 9}, io.ErrUnexpectedEOF},
		{"it fails", mayfly.Call{Stream: io.MultiReader(strings.NewReader("abc"), errReader{io.ErrClosedPipe}), Length: -1}, io.ErrClosedPipe},
		{"its reader knows better", mayfly.Call{Stream: errReader{tooLarge}, Length: -1}, mayfly.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			saw := make(chan error, 1)
			c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				saw <- err
			})
			_, err := c.call(ctxOf(t), &tt.call)
			wantCode(t, err, mayfly.Invalid)
			if !errors.Is(err, tt.is) {
				t.Errorf("error is %v, want the cause %v", err, tt.is)
			}
			if err := <-saw; err == nil {
				t.Error("the function took the part for the whole")
			}
		})
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestSilenceWithinAStreamEndsIt(t *testing.T) {
	t.Parallel()
	c := serveRaw(t, "unix", func(_ int, conn net.Conn) {
		answer(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
		_, _ = conn.Read(make([]byte, 1)) // until the client disconnects
	})
	c.idleTimeout = 20 * time.Millisecond
	r, err := c.call(ctxOf(t), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stream.Close()
	b, err := io.ReadAll(r.Stream)
	if string(b) != "hi" || !strings.Contains(fmt.Sprint(err), "20ms") {
		t.Errorf("read %q, %v", b, err)
	}
	wantCode(t, err, mayfly.Timeout)
}

func TestSilenceAfterAnUploadEndsTheCall(t *testing.T) {
	t.Parallel()
	c := serveRaw(t, "unix", func(_ int, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	c.timeout = 20 * time.Millisecond
	_, err := c.call(ctxOf(t), &mayfly.Call{Stream: &counting{n: 1 << 20}, Length: -1})
	wantCode(t, err, mayfly.Timeout)
}

func TestShimTellsACrash(t *testing.T) {
	t.Parallel()
	for name, trace := range map[string]string{"short": "at hello.js", "long": strings.Repeat("at ", 100_000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Mayfly-Crash", "x is not a function")
				w.WriteHeader(502)
				fmt.Fprint(w, trace)
			})
			_, err := c.call(ctxOf(t), get("/"))
			wantCode(t, err, mayfly.Crashed)
			got, ok := errors.AsType[mayfly.Trace](err)
			if err.Error() != "x is not a function" || !ok || string(got) != trace[:min(len(trace), maxTrace)] {
				t.Errorf("error is %q with a trace of %d bytes", err, len(got))
			}
		})
	}
}

func TestCallsDoNotMix(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	})
	var calls sync.WaitGroup
	for n := range 16 {
		calls.Go(func() {
			for round := range 60 {
				want := bytes.Repeat([]byte{byte(n), byte(round)}, 1+n*round*40)
				call := &mayfly.Call{Body: want}
				if round%3 == 0 {
					call = &mayfly.Call{Stream: bytes.NewReader(want), Length: -1}
				}
				ctx, cancel := context.WithCancel(ctxOf(t))
				if round%7 == 0 {
					go cancel() // at a random moment
				}
				r, err := c.call(ctx, call)
				if err == nil && r.Stream != nil {
					r.Body, err = io.ReadAll(r.Stream)
					r.Stream.Close()
				}
				if err == nil && !bytes.Equal(r.Body, want) {
					t.Errorf("got %d bytes that are not the %d of the call", len(r.Body), len(want))
				}
				if err != nil && round%7 != 0 {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	calls.Wait()
}

// The server accepts one connection at a time and queues another.
func TestFullQueueOfASocketIsWaitedFor(t *testing.T) {
	t.Parallel()
	path := shortDir(t) + "/s"
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	c := &client{network: "unix", address: path, timeout: time.Minute, idleTimeout: time.Minute}
	const n = 8
	served.Go(func() {
		for range n {
			conn, _, err := syscall.Accept(fd)
			if err != nil {
				t.Error(err)
				return
			}
			in := make([]byte, 4096)
			_, _ = syscall.Read(conn, in)
			_, _ = syscall.Write(conn, []byte("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
			_ = syscall.Close(conn)
		}
	})
	for range n {
		served.Go(func() {
			if _, err := c.call(ctxOf(t), get("/")); err != nil {
				t.Error(err)
			}
		})
	}
	served.Wait()
	_ = syscall.Close(fd)
}
