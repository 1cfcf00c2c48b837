package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/dispatch"
	"github.com/mayfly-run/mayfly/internal/gateway"
)

// handedOver makes front give a request to net/http, and means nothing else.
const handedOver = "Pragma: x\r\n"

func TestTooLargeBodyIsRefusedBeforeItComes(t *testing.T) {
	t.Parallel()
	unread := functionsFunc(func(context.Context, *mayfly.Call) (mayfly.Reply, error) { return reply(200, "unread"), nil })
	d := run(t, replying(reply(200, "ok")), directory{}, gateway.Options{
		Functions: newRouted(unread, route(t, "r", "/r", "r", "")),
	}, dispatch.Options{MaxBody: 10})
	for _, tt := range []struct {
		name, head string
		status     int
	}{
		{"a service's", "POST /r HTTP/1.1\r\nContent-Length: 11\r\n", 413},
		{"a service's, long", "POST /r HTTP/1.1\r\nContent-Length: 3000000\r\n", 413},
		{"a function's", "POST /fn/f HTTP/1.1\r\nContent-Length: 11\r\n", 413},
		{"a function's, long", "POST /fn/f HTTP/1.1\r\nContent-Length: 3000000\r\n", 413},
		{"of HTTP/1.0", "POST /r HTTP/1.0\r\nContent-Length: 3000000\r\n", 413},
		{"that nobody is there for", "POST /nobody HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", 404},
		{"that the function does not read", "POST /fn/f HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", 200},
	} {
		for _, odd := range []string{"", handedOver} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				conn, r := d.send(t, tt.head+odd+"Host: localhost\r\n\r\n")
				conn.SetDeadline(time.Now().Add(10 * time.Second)) // far less than the body may take
				if a := read(t, r); a.StatusCode != tt.status || !a.Close {
					t.Errorf("%d, close %v: %s", a.StatusCode, a.Close, a.body)
				}
				if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
					t.Errorf("after the answer: %q, %v", rest, err)
				}
			})
		}
	}
}

// A client that sends all of its body before it reads gets its answer, also if
// nobody wanted the body.
func TestEarlyAnswerIsNotLost(t *testing.T) {
	t.Parallel()
	unread := functionsFunc(func(context.Context, *mayfly.Call) (mayfly.Reply, error) { return reply(401, "who?"), nil })
	d := run(t, replying(reply(200, "ok")), directory{}, gateway.Options{Functions: unread})
	body := strings.Repeat("x", 16<<20)
	for _, framing := range []string{
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
		handedOver + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body),
	} {
		if a := d.raw(t, "POST /fn/f HTTP/1.1\r\nHost: localhost\r\n"+framing); a.StatusCode != 401 || a.body != "who?" || !a.Close {
			t.Errorf("%.30q: %d %q, close %v", framing, a.StatusCode, a.body, a.Close)
		}
	}
}

// A function may answer while its body is still being read; the answer does not
// wait for a client that sends nothing.
func TestEarlyAnswerOvertakesItsBody(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{}, 10)
	d := run(t, replying(reply(200, "ok")), directory{}, gateway.Options{
		Functions: functionsFunc(func(_ context.Context, c *mayfly.Call) (mayfly.Reply, error) {
			begun := make(chan struct{})
			go func() {
				var b [1]byte
				c.Stream.Read(b[:])
				close(begun)
				io.Copy(io.Discard, c.Stream)
				ended <- struct{}{}
			}()
			<-begun
			return reply(200, "done"), nil
		}),
	})
	for range 5 { // a busy machine may be as slow as a patient server, now and then
		conn, r := d.send(t, "POST /fn/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx")
		if _, err := r.Peek(1); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		default:
			conn.Close()
			<-ended
			return
		}
	}
	t.Error("the answer came after the body was given up")
}

// A stream that fails before its first byte is an error like another, where the
// answer was not begun for its type's sake.
func TestStreamThatFailsAtOnceIsAProblem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		header http.Header
		stream io.Reader
		want   string
	}{
		{"nothing came", http.Header{"Etag": {"1"}}, iotest.ErrReader(mayfly.Errorf(mayfly.Crashed, "it died")), "502 crashed"},
		{"an empty stream", nil, strings.NewReader(""), "200 "},
		{"a stream without a type", nil, iotest.OneByteReader(strings.NewReader("abc")), "200 abc"},
		{"a stream with one", http.Header{"Content-Type": {"text/plain"}}, iotest.OneByteReader(strings.NewReader("abc")), "200 abc"},
	} {
		d := run(t, replying(reply(200, "ok")), directory{}, gateway.Options{
			Functions: functionsFunc(func(context.Context, *mayfly.Call) (mayfly.Reply, error) {
				return mayfly.Reply{Status: 200, Header: tt.header, Stream: io.NopCloser(tt.stream), Length: -1}, nil
			}),
		})
		a := d.ask(t, "GET", "/fn/f", "")
		got := fmt.Sprint(a.StatusCode, " ", a.body)
		if strings.Contains(a.body, `"crashed"`) && a.Header.Get("Etag") == "" {
			got = fmt.Sprint(a.StatusCode, " crashed")
		}
		if got != tt.want || tt.want[:3] == "200" && a.Header.Get("Content-Type")[:10] != "text/plain" {
			t.Errorf("%s: %s %v, want %s", tt.name, got, a.Header, tt.want)
		}
	}
}

// What stands behind a body that could not be read to its end is the client's to
// choose, and must never be taken for its next request.
func TestRestOfABodyIsNoRequest(t *testing.T) {
	t.Parallel()
	var seen []string // one connection after another
	d := run(t, replying(reply(200, "ok")), directory{}, gateway.Options{
		Functions: functionsFunc(func(_ context.Context, c *mayfly.Call) (mayfly.Reply, error) {
			seen = append(seen, c.Path)
			if c.Stream == nil {
				return reply(200, "smuggled"), nil
			}
			var err error
			if c.Path == "/read" {
				_, err = io.Copy(io.Discard, c.Stream)
			}
			return reply(200, "done"), err
		}),
	}, dispatch.Options{MaxBody: 100 << 10})
	const smuggled = "GET /fn/f/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, path := range []string{"/read", "/unread"} {
		for _, body := range []string{
			"zz\r\n\r\n" + smuggled,
			"5\nhello\r\n" + smuggled,
			"5\r\nhelloworld\r\n" + smuggled,
			fmt.Sprintf("%x\r\n%s\r\nzz\r\n\r\n%s", 101<<10, strings.Repeat("x", 101<<10), smuggled),
		} {
			seen = nil
			_, r := d.send(t, "POST /fn/f"+path+" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"+body)
			a := read(t, r)
			if rest, _ := io.ReadAll(r); len(rest) > 0 || !a.Close {
				t.Errorf("%s with %.20q: %d, close %v, then %q", path, body, a.StatusCode, a.Close, rest)
			}
			if len(seen) != 1 {
				t.Errorf("%s with %.20q: calls of %q", path, body, seen)
			}
		}
	}
}

// A short body that is not read costs no connection.
func TestShortBodyThatIsNotReadIsReadInPassing(t *testing.T) {
	t.Parallel()
	d := run(t, replying(reply(200, "ok")), directory{}, gateway.Options{})
	for _, odd := range []string{"", handedOver} {
		request := "POST /nobody HTTP/1.1\r\nHost: localhost\r\n" + odd + "Content-Length: 5\r\n\r\nhello"
		_, r := d.send(t, request+request)
		for range 2 {
			if a := read(t, r); a.StatusCode != 404 || a.Close {
				t.Errorf("%d, close %v", a.StatusCode, a.Close)
			}
		}
	}
}
