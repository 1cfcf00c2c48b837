package bus_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go"
)

// BenchmarkCall sets our reply multiplexer beside nats.go's own, over the same
// server and service.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 64} {
		for _, connections := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("bus/callers=%d/connections=%d", callers, connections), func(b *testing.B) {
				n := open(b, bus.Options{Server: &bus.ServerOptions{Store: b.TempDir()}, Connections: connections})
				natstest.Serve(b, natstest.Connect(b, n), "echo", func(m *nats.Msg) { m.Respond(m.Data) })
				body := make([]byte, 128)
				parallel(b, callers, func() error {
					_, err := n.Call(b.Context(), mayfly.Call{Subject: "echo", Body: body, Deadline: soon()})
					return err
				})
			})
		}
		// The same message by both multiplexers, without what Call does around it.
		b.Run(fmt.Sprintf("replies/callers=%d", callers), func(b *testing.B) {
			n := natstest.New(b)
			natstest.Serve(b, natstest.Connect(b, n), "echo", func(m *nats.Msg) { m.Respond(m.Data) })
			body := make([]byte, 128)
			parallel(b, callers, func() error {
				m := nats.NewMsg("echo")
				m.Data = body
				m.Header.Set(mayfly.HeaderDeadline, "1234567890123")
				_, err := n.Raw(b.Context(), m, soon())
				return err
			})
		})
		b.Run(fmt.Sprintf("nats.go/callers=%d", callers), func(b *testing.B) {
			n := natstest.New(b)
			natstest.Serve(b, natstest.Connect(b, n), "echo", func(m *nats.Msg) { m.Respond(m.Data) })
			nc := natstest.Connect(b, n)
			body := make([]byte, 128)
			parallel(b, callers, func() error {
				m := nats.NewMsg("echo")
				m.Data = body
				m.Header.Set(mayfly.HeaderDeadline, "1234567890123")
				_, err := nc.RequestMsg(m, soonIn)
				return err
			})
		})
	}
}

// parallel lets so many callers run f at once.
func parallel(b *testing.B, callers int, f func() error) {
	b.ReportAllocs()
	b.ResetTimer()
	if callers == 1 {
		for range b.N {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	b.SetParallelism(callers / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := f(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
