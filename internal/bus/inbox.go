package bus

import (
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// inboxes are where answers may go. The server checks the subject that a client
// publishes to, not the reply subject inside, and we publish with all our rights: an
// answer to $KV.x would write a bucket, one to $JS.API.STREAM.PURGE.x empty a stream.
type inboxes struct {
	own      []string // prefixes of our own logins
	rejected atomic.Uint64
}

// add allows the prefix of a connection: a NATS context may set one.
func (i *inboxes) add(nc *nats.Conn) { i.own = append(i.own, nc.Opts.InboxPrefix+".") }

// has reports whether subject is an inbox: of a client (_INBOX.x, or _INBOX_name.x where
// each login has one of its own), of an import of another account (_R_.x), or ours.
func (i *inboxes) has(subject string) bool {
	first, _, more := strings.Cut(subject, ".")
	if !more {
		return false
	}
	if first == "_INBOX" || strings.HasPrefix(first, "_INBOX_") || strings.HasPrefix(first, "_R_") {
		return true
	}
	for _, prefix := range i.own {
		if len(prefix) > 1 && strings.HasPrefix(subject, prefix) {
			return true
		}
	}
	return false
}

// check removes a reply subject that is not an inbox: the message is then one that was only
// published.
func (i *inboxes) check(m *nats.Msg) *nats.Msg {
	if m.Reply != "" && !i.has(m.Reply) {
		m.Reply = ""
		i.rejected.Add(1)
	}
	return m
}

// checked has handle receive only messages whose reply subject is an inbox.
func (i *inboxes) checked(handle nats.MsgHandler) nats.MsgHandler {
	return func(m *nats.Msg) { handle(i.check(m)) }
}
