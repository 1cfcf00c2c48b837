package bus_test

import (
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go"
)

func TestCallBringsTheReply(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	natstest.Serve(t, nc, "echo", func(m *nats.Msg) {
		r := nats.NewMsg(m.Reply)
		r.Data = m.Data
		r.Header.Set("method", m.Header.Get(mayfly.HeaderMethod))
		m.RespondMsg(r)
	})
	reply, err := b.Call(t.Context(), mayfly.Call{Subject: "echo", Method: "GET", Body: []byte("hi"), Deadline: time.Now().Add(5 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if string(reply.Body) != "hi" || reply.Status != 200 || reply.Header.Get("Method") != "GET" {
		t.Errorf("reply = %+v", reply)
	}
	if err := b.Ready(); err != nil {
		t.Error(err)
	}
}
