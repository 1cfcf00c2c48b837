package link

import (
	"context"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/frame"
	"github.com/mayfly-run/mayfly/internal/scope"
)

// answerAll replies to every call with its body, many in one write.
func (p *peer) answerAll() {
	r, err := frame.NewReader(p.Conn)
	if err != nil {
		return
	}
	head := []byte("200\ncontent-type:text/plain;charset=UTF-8\n")
	var b []byte
	for {
		f, err := r.Next()
		if err != nil {
			return
		}
		b = frame.Append(b, frame.Frame{Call: f.Call, Kind: frame.Head, End: true, Head: head, Body: f.Body})
		if !r.Buffered() {
			if _, err := p.Write(b); err != nil {
				return
			}
			b = b[:0]
		}
	}
}

// BenchmarkCall measures calls of 128 bytes: one at a time, and 64 at once.
func BenchmarkCall(b *testing.B) {
	for name, callers := range map[string]int{"alone": 1, "64": 64} {
		b.Run(name, func(b *testing.B) {
			l, p := connect(b, Options{})
			go p.answerAll()
			c := &mayfly.Call{
				ID: "5hpx2c9a", Method: "POST", Path: "/fn/hello", Host: "localhost:8080", Remote: "127.0.0.1:51234",
				Header: map[string][]string{"Accept": {"*/*"}, "User-Agent": {"bench"}, "Content-Type": {"text/plain"}}, Body: make([]byte, 128),
			}
			b.ReportAllocs()
			if callers == 1 {
				for b.Loop() {
					var ctx scope.Context
					ctx.Begin(context.Background())
					if _, err := l.Call(&ctx, c); err != nil {
						b.Fatal(err)
					}
					ctx.End(nil)
				}
				return
			}
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					var ctx scope.Context // as the runner's
					ctx.Begin(context.Background())
					r, err := l.Call(&ctx, c)
					ctx.End(nil)
					if err != nil || len(r.Body) != 128 {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
