package micro_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/micro"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go"
)

// functionInfo returns a node's answer to INFO for the function hello; node is "" for one of
// an earlier build.
func functionInfo(node, id string) string {
	metadata := `{}`
	if node != "" {
		metadata = fmt.Sprintf(`{"mayfly.node":%q}`, node)
	}
	return fmt.Sprintf(`{"type":"io.nats.micro.v1.info_response","name":"hello","id":%q,"version":"1.0.1","metadata":%s,`+
		`"endpoints":[{"name":"call","subject":"fn.hello","queue_group":"q"}]}`, id, metadata)
}

// A fakeNode answers discovery for the function hello until it is frozen.
type fakeNode struct {
	nc     *nats.Conn
	frozen atomic.Bool
}

func newFakeNode(t *testing.T, nc *nats.Conn, node, id string) *fakeNode {
	t.Helper()
	f := &fakeNode{nc: nc}
	answer := func(text string) nats.MsgHandler {
		return func(m *nats.Msg) {
			if !f.frozen.Load() {
				m.Respond([]byte(text))
			}
		}
	}
	pong := fmt.Sprintf(`{"type":"io.nats.micro.v1.ping_response","name":"hello","id":%q,"version":"1.0.1"}`, id)
	for subject, text := range map[string]string{
		"$SRV.INFO": functionInfo(node, id), "$SRV.INFO.hello": functionInfo(node, id), "$SRV.PING.hello." + id: pong,
	} {
		if _, err := nc.Subscribe(subject, answer(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return f
}

// A node that freezes stays subscribed, and gets no new calls.
func TestSilentNodeIsPassedBy(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	a := newFakeNode(t, natstest.Connect(t, b), "a", "a-hello-1")
	c := newFakeNode(t, natstest.Connect(t, b), "c", "c-hello-1")
	d := openDirectory(t, b)
	reach := func(want string) func(*micro.Picture) bool {
		return func(p *micro.Picture) bool {
			at, signs := p.Reach("hello")
			return len(p.Services) > 0 && signs && string(at) == want
		}
	}
	waitFor(t, d, "both nodes", func(p *micro.Picture) bool { return len(p.Services) == 2 })
	if !reach("")(d.Picture()) {
		t.Error("NATS may not choose between two nodes that answer")
	}
	a.frozen.Store(true)
	began := time.Now()
	waitFor(t, d, "a is passed by", reach("fn.hello.c"))
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("a silent node was noticed after %v", took)
	}
	c.frozen.Store(true)
	waitFor(t, d, "nobody answers, so NATS chooses", reach(""))
	a.frozen.Store(false)
	waitFor(t, d, "c is passed by", reach("fn.hello.a"))
	c.nc.Close()
	waitFor(t, d, "NATS dropped c", func(p *micro.Picture) bool { return len(p.Services) == 1 && reach("")(p) })
}

// A node that does not take a function's calls anymore is forgotten at the first one, which
// counts for nothing if another node takes it.
func TestNodeThatHasLeftIsNotCalledAgain(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	a := newFakeNode(t, natstest.Connect(t, b), "a", "a-hello-1")
	newFakeNode(t, natstest.Connect(t, b), "c", "c-hello-1") // takes no calls
	d := openDirectory(t, b)
	at := func(want mayfly.Subject) func(*micro.Picture) bool {
		return func(p *micro.Picture) bool { at, _ := p.Reach("hello"); return len(p.Services) == 2 && at == want }
	}
	waitFor(t, d, "both nodes", at(""))
	a.frozen.Store(true)
	waitFor(t, d, "a is passed by", at("fn.hello.c"))
	if _, err := b.Call(t.Context(), mayfly.Call{Subject: "fn.hello.c", Once: true}); !errors.Is(err, mayfly.ErrNobody) {
		t.Fatalf("error %v", err)
	}
	waitFor(t, d, "c is forgotten", at(""))
	waitFor(t, d, "c has answered a question", at("fn.hello.c"))
	if err := b.Send(t.Context(), mayfly.Call{Subject: "fn.hello.c", Once: true}); !errors.Is(err, mayfly.ErrNobody) {
		t.Fatalf("error %v", err)
	}
	waitFor(t, d, "c is forgotten again", at(""))
	if s := b.Stats(); s.Nobody != 0 || s.Retried != 0 {
		t.Errorf("%d calls found nobody, %d were sent again", s.Nobody, s.Retried)
	}
}

// A gateway that starts beside a frozen node does not know it; a call that falls silent
// shows that there is one.
func TestUnknownSilentNodeIsPassedBy(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	newFakeNode(t, natstest.Connect(t, b), "a", "a-hello-1")
	d := openDirectory(t, b)
	at := func(want string) func(*micro.Picture) bool {
		return func(p *micro.Picture) bool { at, signs := p.Reach("hello"); return signs && string(at) == want }
	}
	waitFor(t, d, "a", at(""))
	d.Doubt("hello")
	waitFor(t, d, "calls go to a alone", at("fn.hello.a"))
}

// A node of an earlier build sends no signs, so silence of the function proves nothing.
func TestNodeOfAnEarlierBuildSendsNoSigns(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	newFakeNode(t, natstest.Connect(t, b), "a", "a-hello-1")
	d := openDirectory(t, b)
	waitFor(t, d, "a", func(p *micro.Picture) bool { _, signs := p.Reach("hello"); return signs })
	newFakeNode(t, natstest.Connect(t, b), "", "old-hello-1")
	waitFor(t, d, "the old one", func(p *micro.Picture) bool { _, signs := p.Reach("hello"); return !signs && len(p.Services) == 2 })
	if _, signs := d.Reach("nobody"); signs {
		t.Error("a function that nobody has sends signs")
	}
}
