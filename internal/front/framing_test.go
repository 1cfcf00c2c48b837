package front

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestTwoFramingsEndTheConnection(t *testing.T) {
	t.Parallel()
	length, coded, end := "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n"
	const start = "POST /x HTTP/1.1\r\nHost: localhost\r\n"
	chunked := start + coded + end
	for _, tt := range []struct {
		name   string
		server *Server
		sent   []string // each in a write of its own
		again  bool     // the connection continues
	}{
		{"the length first", &Server{}, []string{start + length + coded + end}, false},
		{"the length last", &Server{}, []string{start + coded + length + end}, false},
		{"in small letters", &Server{}, []string{start + strings.ToLower(coded+length) + end}, false},
		{"in pieces", &Server{}, []string{start + coded + "Conte", "nt-Leng", "th: 3\r\n" + end}, false},
		{"after other requests", &Server{}, []string{chunked, chunked, start + coded + length + end}, false},
		{"one chunked, one with a length", &Server{}, []string{chunked, start + "Content-Length: 5\r\n\r\nhello"}, true},
		{"by net/http alone", &Server{Off: true}, []string{start + length + coded + end}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.server.ErrorLog = quiet()
			tt.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
			c := dial(t, serve(t, tt.server))
			r := bufio.NewReader(c)
			var resp *http.Response
			for _, piece := range tt.sent {
				io.WriteString(c, piece)
				if body := ""; strings.HasSuffix(piece, end) || strings.HasSuffix(piece, "hello") {
					if resp, body = read(t, r); body != "hello" {
						t.Fatalf("%q", body)
					}
				}
			}
			if resp.Close == tt.again {
				t.Errorf("Close = %v", resp.Close)
			}
		})
	}
}

func TestHeadersAreCutAtTheirLimit(t *testing.T) {
	t.Parallel()
	s := newServer(func(http.ResponseWriter, *http.Request) {})
	s.MaxHeaderBytes = 16 << 10
	addr := serve(t, s)
	for size, want := range map[int]int{100: 200, 16<<10 - 100: 200, 16<<10 + 100: 431, 19 << 10: 431} {
		request := ask("GET /", "X: ")
		c := dial(t, addr)
		io.WriteString(c, ask("GET /", "X: "+strings.Repeat("x", size-len(request))))
		if resp, _ := read(t, bufio.NewReader(c)); resp.StatusCode != want {
			t.Errorf("%d bytes: %d, want %d", size, resp.StatusCode, want)
		}
	}
}
