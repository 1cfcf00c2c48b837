package bus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go"
)

func ExampleBus_Call() {
	ctx := context.Background()
	store, _ := os.MkdirTemp("", "store")
	defer os.RemoveAll(store)
	b, err := bus.Open(ctx, bus.Options{Server: &bus.ServerOptions{Store: store}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	call := mayfly.Call{Subject: "tasks", Body: []byte("help please"), Deadline: time.Now().Add(5 * time.Second)}
	_, err = b.Call(ctx, call)
	fmt.Println(errors.Is(err, mayfly.ErrNobody), mayfly.CodeOf(err))

	nc, _ := nats.Connect(b.URL()) // a worker, as it would be in a program of its own
	defer nc.Close()
	nc.Subscribe("tasks", func(m *nats.Msg) { m.Respond([]byte("done: " + string(m.Data))) })
	nc.Flush()

	call.Header = nil // the first call owned it
	reply, err := b.Call(ctx, call)
	fmt.Println(string(reply.Body), err)
	// Output:
	// true unavailable
	// done: help please <nil>
}
