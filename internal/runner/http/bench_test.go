//go:build unix

package httpengine

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
)

// BenchmarkCall makes small calls, one after another, to a Go function. Most of its
// allocations are the function's: BenchmarkCallRaw has none of them.
func BenchmarkCall(b *testing.B) {
	c := serve(b, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	benchmarkCall(b, c)
}

func benchmarkCall(b *testing.B, c *client) {
	ctx := b.Context()
	body := make([]byte, 128)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			call := mayfly.Call{
				ID: "0123456789abcdef0123456789abcdef", Method: "POST", Path: "/a/b", Host: "localhost:8080", Remote: "127.0.0.1:1234",
				Header: http.Header{
					"Accept": {"*/*"}, "User-Agent": {"bench"}, "Content-Type": {"application/json"},
					"Traceparent": {"00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"},
				},
				Body: body, Deadline: time.Now().Add(30 * time.Second),
			}
			if r, err := c.call(ctx, &call); err != nil || len(r.Body) != len(body) {
				b.Fatal(err, len(r.Body))
			}
		}
	})
}

// BenchmarkCallRaw calls a function that costs almost nothing, so it counts the client's
// allocations per call.
func BenchmarkCallRaw(b *testing.B) {
	l := listen(b, "unix")
	c := clientOf(b, l)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nhi")
		for in := make([]byte, 4096); ; {
			if _, err := conn.Read(in); err != nil {
				return
			}
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	}()
	b.Cleanup(func() {
		_ = l.Close()
		c.close()
		<-ended
	})
	call := &mayfly.Call{
		ID: "0123456789abcdef0123456789abcdef", Method: "GET", Path: "/a/b", Host: "localhost:8080", Remote: "127.0.0.1:1234",
		Header: http.Header{"Accept": {"*/*"}, "User-Agent": {"bench"}, "Traceparent": {"00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"}},
	}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if r, err := c.call(ctx, call); err != nil || len(r.Body) != 2 {
			b.Fatal(err)
		}
	}
}
