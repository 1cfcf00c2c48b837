package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go"
)

// A message may name any subject for its reply. Only inboxes get one, from every answerer.
func TestRepliesGoToInboxesAlone(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	for name, answerer := range map[string]struct {
		nc      *nats.Conn
		subject string
	}{
		"a listener on users' subjects": {natstest.Connect(t, b), "fn.echo"},
		"a listener on our subjects":    {natstest.ConnectCore(t, b), "mayfly.nodes"},
		"where the state is":            {natstest.Connect(t, b), string(mayfly.SubjectCore)},
		"the flush to disk":             {natstest.ConnectCore(t, b), string(mayfly.SubjectSync)},
	} {
		if name == "a listener on users' subjects" || name == "a listener on our subjects" {
			echo(t, b, answerer.subject)
		}
		replies, err := answerer.nc.SubscribeSync(">")
		if err != nil {
			t.Fatal(err)
		}
		before := b.Stats().Rejected
		bad := []string{"$KV.orders.17", "$JS.API.STREAM.PURGE.ORDERS", "_INBOX", "_inbox.a", "INBOX.a", "_R.a", "x._INBOX.a", "fn.echo2", answerer.subject + ".x"}
		good := []string{"_INBOX.a", "_INBOX_ada.b", "_R_x.d"} // a client may not write _R_. itself
		for _, reply := range append(bad, good...) {
			if err := answerer.nc.PublishRequest(answerer.subject, reply, []byte("evil")); err != nil {
				t.Fatal(err)
			}
		}
		got := map[string]bool{}
		for len(got) < len(good) {
			m, err := replies.NextMsg(10 * time.Second)
			if err != nil {
				t.Fatalf("%s: %v, replies on %v", name, err, got)
			}
			if m.Subject != answerer.subject {
				got[m.Subject] = true
			}
		}
		for _, reply := range good {
			if !got[reply] {
				t.Errorf("%s: no reply on %s but on %v", name, reply, got)
			}
		}
		if n := b.Stats().Rejected - before; n != uint64(len(bad)) {
			t.Errorf("%s: %d replies rejected, want %d", name, n, len(bad))
		}
		_ = replies.Unsubscribe()
	}
}

// echo answers on a subject with what it gets, until the end of the test.
func echo(t *testing.T, b *bus.Bus, subject string) {
	t.Helper()
	l, err := b.Listen(t.Context(), bus.Interest{Subject: subject})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			in, ok := l.Next(ctx)
			if !ok {
				return
			}
			c := in.Call()
			_ = in.Reply(mayfly.Reply{Status: 200, Body: c.Body})
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		l.Close()
	})
}
