package instance_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/mayfly-run/mayfly/internal/frame"
	"github.com/mayfly-run/mayfly/internal/instance"
)

const typicalHead = "POST /fn/echo?a=1\nHost:shop.example.com\nAccept:*/*\nUser-Agent:curl/8.5.0\nContent-Type:application/json\n" +
	"Mayfly-Call:5hpx2c9a\nMayfly-Remote:10.0.0.1:51234\nMayfly-Deadline:1764525600000\nX-Forwarded-For:10.0.0.1\nContent-Length:128\n"

// BenchmarkServe makes calls of an echo, so many at once, in this process.
func BenchmarkServe(b *testing.B) {
	for _, width := range []int{1, 64} {
		b.Run(fmt.Sprint(width), func(b *testing.B) {
			link := filepath.Join(b.TempDir(), "l")
			l, err := net.Listen("unix", link)
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			served := make(chan error, 1)
			go func() {
				served <- instance.Serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/plain")
					io.Copy(w, r.Body)
				}), instance.Options{Link: link})
			}()
			conn, err := l.Accept()
			if err != nil {
				b.Fatal(err)
			}
			reader, err := frame.NewReader(conn)
			if err != nil {
				b.Fatal(err)
			}
			io.WriteString(conn, frame.Preface)
			body := make([]byte, 128)
			var out []byte
			b.ReportAllocs()
			b.ResetTimer()
			for n := uint32(1); n <= uint32(b.N); n += uint32(width) {
				out = out[:0]
				for i := range uint32(width) {
					out = frame.Append(out, frame.Frame{Call: n + i, Kind: frame.Head, End: true, Head: []byte(typicalHead), Body: body})
				}
				if _, err := conn.Write(out); err != nil {
					b.Fatal(err)
				}
				for range width {
					if _, err := reader.Next(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			stop()
			<-served
		})
	}
}
