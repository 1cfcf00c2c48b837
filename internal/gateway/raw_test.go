package gateway_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mayfly-run/mayfly/internal/natstest"
)

// send writes text to a connection of its own and returns it with a reader of the
// answers. Nothing stands between the test and the gateway.
func (d *door) send(t *testing.T, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute)) // a hang is a failure, not a wait
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// raw sends text as it is and returns the first answer.
func (d *door) raw(t *testing.T, text string) answer {
	t.Helper()
	_, r := d.send(t, text)
	return read(t, r)
}

// read reads one answer.
func read(t *testing.T, r *bufio.Reader) answer {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	return answer{resp, string(body)}
}

// A tap hears every message of the account.
type tap struct{ heard chan *nats.Msg }

// controlled is the subject of the calls by which a tap is known to hear.
const controlled = "control"

// tap starts to listen to everything. The gateway must have the route /control to
// the subject "control".
func (d *door) tap(t *testing.T) tap {
	t.Helper()
	nc := natstest.Connect(t, d.bus)
	p := tap{make(chan *nats.Msg, 1024)}
	if _, err := nc.ChanSubscribe(">", p.heard); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	natstest.Serve(t, d.nc, controlled, func(m *nats.Msg) { m.Respond(nil) })
	return p
}

// published returns the subjects of what the gateway published since the last
// time. It makes a good call and reads up to it: what the gateway published
// before must have come before, on the same connection.
func (d *door) published(t *testing.T, p tap) []*nats.Msg {
	t.Helper()
	control := d.ask(t, "GET", "/control", "")
	if control.StatusCode != http.StatusOK {
		t.Fatalf("the good call is answered %d %s", control.StatusCode, control.body)
	}
	id := control.Header.Get("X-Call-Id")
	var all []*nats.Msg
	for {
		select {
		case m := <-p.heard:
			if m.Header.Get("Mayfly-Call") == id && m.Subject == controlled {
				return all
			}
			if !background(m.Subject) {
				all = append(all, m)
			}
		case <-time.After(time.Minute):
			t.Fatal("the tap does not hear the good call")
		}
	}
}

// background reports whether the bus asks and answers so by itself.
func background(subject string) bool {
	return subject == "$JS.API.INFO" || subject == "$JS.EVENT.ADVISORY.API" || strings.HasPrefix(subject, "$SRV.INFO") || strings.HasPrefix(subject, "$SRV.STATS") ||
		strings.HasPrefix(subject, "_INBOX.") && !strings.Contains(subject, "hostile")
}

// subjects returns the subjects of messages.
func subjects(all []*nats.Msg) (list []string) {
	for _, m := range all {
		list = append(list, m.Subject)
	}
	return list
}
