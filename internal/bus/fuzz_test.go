package bus_test

import (
	"net/http"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go"
)

func FuzzDecodeReply(f *testing.F) {
	for _, h := range []string{
		"", "NATS/1.0\r\n\r\n", "NATS/1.0 503\r\n\r\n",
		"NATS/1.0\r\nx-a: 1\r\nX-A: 2\r\nMayfly-Status: 201\r\n\r\n",
		"NATS/1.0\r\nNats-Service-Error: no\r\nNats-Service-Error-Code: 404\r\nNats-Rollup: all\r\n\r\n",
		"NATS/1.0 100 Idle\r\nmayfly-status: 99\r\nSTATUS: x\r\n\r\n",
	} {
		f.Add([]byte(h), []byte("body"))
	}
	f.Fuzz(func(t *testing.T, header, body []byte) {
		m := &nats.Msg{Data: body}
		if len(header) > 0 {
			h, err := nats.DecodeHeadersMsg(header)
			if err != nil {
				return // nats.go gives us no such message
			}
			m.Header = h
		}
		r, err := bus.Decode(m)
		if err != nil {
			if mayfly.CodeOf(err) != mayfly.Crashed {
				t.Errorf("error = %v", err)
			}
			return
		}
		if r.Status < 200 || r.Status > 599 || string(r.Body) != string(body) {
			t.Errorf("reply = %+v", r)
		}
		for name := range r.Header {
			if mayfly.IsReserved(name) || name != http.CanonicalHeaderKey(name) {
				t.Errorf("header %q came out", name)
			}
		}
	})
}
