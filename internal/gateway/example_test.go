package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/dispatch"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/micro"
	"github.com/nats-io/nats.go"
)

// A gateway hands calls to a dispatcher, which needs a bus and a directory of the
// services on it.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	store, _ := os.MkdirTemp("", "store")
	defer os.RemoveAll(store)
	b, err := bus.Open(ctx, bus.Options{Server: &bus.ServerOptions{Store: store}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	directory := micro.OpenDirectory(b, nil)
	defer directory.Close()

	// A worker, as it would be in a program of its own.
	nc, _ := nats.Connect(b.URL())
	defer nc.Close()
	nc.Subscribe("greet", func(m *nats.Msg) { m.Respond([]byte("Hello, " + string(m.Data) + ".")) })
	nc.Flush()

	pattern, _ := mayfly.ParsePattern("GET /hello/{name}")
	subject, _ := mayfly.ParseSubjectPattern("greet")
	payload, _ := mayfly.ParseTemplate("{name}")
	g, err := gateway.New(dispatch.New(b, directory, dispatch.Options{}), gateway.Options{Directory: directory, Ready: b.Ready, Functions: projects{
		{Name: "hello", Pattern: pattern, Subject: subject, Payload: payload, Project: "demo"},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- g.Run(ctx) }()

	answer, err := http.Get(g.URL() + "/hello/Ada")
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	fmt.Println(answer.StatusCode, string(body))

	stop() // stops accepting, answers what is in flight
	fmt.Println(<-served)
	// Output:
	// 200 Hello, Ada.
	// <nil>
}
