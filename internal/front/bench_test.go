package front

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkServe compares this server with net/http's: the same handler, sequential
// requests on kept connections, over loopback. The client is as cheap as possible, so
// the benchmark measures the server and the kernel.
func BenchmarkServe(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header()["Content-Type"] = []string{"text/plain; charset=utf-8"}
		io.WriteString(w, "Hello, "+strconv.FormatInt(n, 10))
	})
	const headers = " HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n"
	requests := []struct{ name, text string }{
		{"get", "GET /fn/hello?name=Ada" + headers + "\r\n"},
		{"post", "POST /fn/hello" + headers + "Content-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024)},
	}
	for _, request := range requests {
		for _, s := range []struct {
			name string
			make func() server
		}{
			{"front", func() server { return &Server{Handler: handler} }},
			{"net-http", func() server { return &http.Server{Handler: handler} }},
		} {
			b.Run(request.name+"/"+s.name, func(b *testing.B) {
				addr := serve(b, s.make())
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						b.Error(err)
						return
					}
					defer c.Close()
					out, in := []byte(request.text), bufio.NewReader(c)
					for pb.Next() {
						if _, err := c.Write(out); err != nil {
							b.Error(err)
							return
						}
						if err := readAnswer(in); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

// readAnswer reads an answer with a Content-Length.
func readAnswer(in *bufio.Reader) error {
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 { // the empty line
			_, err := in.Discard(length)
			return err
		}
		if text, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(text))
		}
	}
}
