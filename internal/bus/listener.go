package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
)

// A Listener receives the messages of many subjects on one channel, over its own
// connection: nats.go's default, a goroutine and an inbox per subject, is expensive
// with thousands of functions.
type Listener struct {
	bus      *Bus
	link     *link
	own      bool // listens on Mayfly's own subjects
	messages chan *nats.Msg

	mu   sync.Mutex                      // one change at a time
	conn *nats.Conn                      // holds the subscriptions
	subs map[Interest]*nats.Subscription // nil for one that waits for the next connection
}

// An Interest is a subject to listen on. Each message goes to one of the listeners with
// the same Queue; without a Queue, to all.
type Interest struct{ Subject, Queue string }

// inboundRoom is how many messages may wait for Next. Callers of Next must be quick:
// messages that do not fit are dropped and logged.
const inboundRoom = 64 << 10

// Listen opens a Listener on the first interests. It listens on Mayfly's own subjects
// or on users', never both: the first one decides, and the default is users'. ctx
// bounds the opening only.
func (b *Bus) Listen(ctx context.Context, first ...Interest) (*Listener, error) {
	l := &Listener{bus: b, messages: make(chan *nats.Msg, inboundRoom), subs: map[Interest]*nats.Subscription{}}
	remote, name := b.remote, b.name+" functions"
	if l.own = len(first) > 0 && own(first[0].Subject); l.own {
		if _, err := b.state(); err != nil {
			return nil, err
		}
		remote, name = b.ours, b.name+" questions"
	}
	var err error
	if l.link, err = openLink(ctx, remote, name, b.log); err != nil {
		return nil, err
	}
	l.conn = l.link.conn.Load().Conn
	l.link.onConnect(l.resubscribe)
	if err := l.Change(first, nil); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// resubscribe repeats every subscription on a connection that replaces one that closed
// for good.
func (l *Listener) resubscribe(nc *nats.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = nc
	for interest := range l.subs {
		sub, err := nc.ChanQueueSubscribe(interest.Subject, interest.Queue, l.messages)
		if err != nil {
			return err
		}
		l.subs[interest] = sub
	}
	return nil
}

// Change starts listening on some subjects and stops on others. When it returns, the
// server knows, and what it had sent before is ready for Next.
func (l *Listener) Change(add, drop []Interest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	reconnects := l.conn.Stats().Reconnects
	var draining []<-chan nats.SubStatus
	for _, interest := range drop {
		if closed := l.end(interest); closed != nil {
			draining = append(draining, closed)
		}
	}
	for _, interest := range add {
		if own(interest.Subject) != l.own {
			return mayfly.Errorf(mayfly.Internal, "%s is a subject of the other account", interest.Subject)
		}
		if _, there := l.subs[interest]; there {
			continue
		}
		sub, err := l.conn.ChanQueueSubscribe(interest.Subject, interest.Queue, l.messages)
		if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			return fmt.Errorf("listen on %s: %w", interest.Subject, unavailable(err))
		}
		l.subs[interest] = sub
	}
	if err := l.conn.FlushTimeout(dialTimeout); err != nil && l.conn.IsConnected() {
		return fmt.Errorf("listen: %w", unavailable(err))
	}
	if len(draining) > 0 && !await(draining) || l.conn.Stats().Reconnects != reconnects {
		l.conn.Close() // a reconnect brings back what is being drained; a new connection does not
	}
	return nil // without a server now, it learns when we reconnect
}

// end stops listening on a subject. Calls on their way still arrive: the channel tells when
// no more can. It is nil for other subjects: discovery may miss one question.
func (l *Listener) end(interest Interest) (closed <-chan nats.SubStatus) {
	sub := l.subs[interest]
	delete(l.subs, interest)
	if sub == nil {
		return nil
	}
	if strings.HasPrefix(interest.Subject, mayfly.SubjectFunctions+".") && l.conn.IsConnected() {
		if closed = sub.StatusChanged(nats.SubscriptionClosed); sub.Drain() == nil {
			return closed
		}
	}
	_ = sub.Unsubscribe() // a closed connection has no subscriptions
	return nil
}

// await reports whether all subscriptions closed in time.
func await(closed []<-chan nats.SubStatus) bool {
	late := time.After(dialTimeout)
	for _, c := range closed {
		select {
		case <-c:
		case <-late:
			return false
		}
	}
	return true
}

// Next waits for a message. It returns false when ctx has ended and none is pending.
func (l *Listener) Next(ctx context.Context) (Inbound, bool) {
	select {
	case m := <-l.messages:
		return Inbound{l.bus.inboxes.check(m), l}, true
	default:
	}
	select {
	case m := <-l.messages:
		return Inbound{l.bus.inboxes.check(m), l}, true
	case <-ctx.Done():
		return Inbound{}, false
	}
}

// Close flushes and closes the connection.
func (l *Listener) Close() error {
	l.link.close()
	return nil
}

// An Inbound is a message that a Listener received.
type Inbound struct {
	message  *nats.Msg
	listener *Listener
}

// Subject returns where it was sent.
func (in Inbound) Subject() string { return in.message.Subject }

// WantsReply reports whether the sender expects a reply, and in an inbox.
func (in Inbound) WantsReply() bool { return in.message.Reply != "" }

// maxTimeout is more than any call may take.
const maxTimeout = 365 * 24 * time.Hour

// Call reads the message as a call. A message of a plain NATS client, which does not
// know HTTP, is a POST to /.
func (in Inbound) Call() mayfly.Call {
	c := mayfly.Call{Subject: mayfly.Subject(in.message.Subject), Method: http.MethodPost, Path: "/", Body: in.message.Data}
	c.Header = make(http.Header, len(in.message.Header))
	timeout := ""
	for name, values := range in.message.Header {
		if len(values) == 0 {
			continue
		}
		switch name = textproto.CanonicalMIMEHeaderKey(name); name {
		case mayfly.HeaderMethod:
			c.Method = values[0]
		case mayfly.HeaderPath:
			c.Path = values[0]
		case mayfly.HeaderQuery:
			c.Query = values[0]
		case mayfly.HeaderHost:
			c.Host = values[0]
		case mayfly.HeaderRemote:
			c.Remote = values[0]
		case mayfly.HeaderCall:
			c.ID = values[0]
		case mayfly.HeaderTimeout:
			timeout = values[0]
		case mayfly.HeaderDeadline:
			if ms, err := strconv.ParseInt(values[0], 10, 64); err == nil {
				c.Deadline = time.UnixMilli(ms)
			}
		default:
			if !mayfly.IsReserved(name) || mayfly.IsParam(name) {
				c.Header[name] = values
			}
		}
	}
	if ms, err := strconv.ParseInt(timeout, 10, 64); err == nil { // clocks differ: what is left is better than a time
		c.Deadline = time.Now().Add(time.Duration(min(max(ms, 0), maxTimeout.Milliseconds())) * time.Millisecond)
	}
	if in.message.Header[mayfly.HeaderMethod] != nil && in.message.Header[mayfly.HeaderPath] == nil {
		c.Path = "" // asked for without its slash
	}
	return c
}

// Reply answers a call. It first reads a Stream to its end; a reply that does not fit
// in a message becomes an error that says so.
func (in Inbound) Reply(r mayfly.Reply) error {
	if r.Stream != nil {
		var err error
		most := in.listener.bus.MaxPayload()
		r.Body, err = io.ReadAll(io.LimitReader(r.Stream, most+1))
		_ = r.Stream.Close()
		r.Stream = nil
		if err != nil {
			return in.Fail(mayfly.Errorf(mayfly.Crashed, "the reply ended early: %w", err), false)
		}
	}
	header := nats.Header(r.Header)
	if header == nil {
		header = nats.Header{}
	}
	if r.Status != http.StatusOK {
		header[mayfly.HeaderStatus] = []string{strconv.Itoa(r.Status)}
	}
	if r.Error != "" {
		header[mayfly.HeaderError] = []string{oneLine(r.Error)}
		header[mayfly.HeaderErrorCode] = []string{strconv.Itoa(max(r.Status, http.StatusBadRequest))}
	}
	err := in.respond(header, r.Body)
	if errors.Is(err, mayfly.ErrTooLarge) {
		return in.Fail(mayfly.Errorf(mayfly.Crashed, "the reply does not fit into a NATS message (max_payload is %d bytes)", in.listener.bus.MaxPayload()).
			WithHint("call the function over HTTP on its own node, which streams, or make the reply smaller"), false)
	}
	return err
}

// Fail answers a call with an error. With trace, the body is the failure's mayfly.Trace,
// if any, for a developer.
func (in Inbound) Fail(failure error, trace bool) error {
	var body []byte
	if t, ok := errors.AsType[mayfly.Trace](failure); ok && trace {
		body = []byte(t)
	}
	return in.respond(faultHeader(failure), body)
}

// faultHeader returns the headers of an answer that is an error of ours.
func faultHeader(failure error) nats.Header {
	code := mayfly.CodeOf(failure)
	header := nats.Header{
		mayfly.HeaderError:     {oneLine(failure.Error())},
		mayfly.HeaderErrorCode: {strconv.Itoa(code.Status())},
		mayfly.HeaderFault:     {code.String()},
	}
	if hint := mayfly.HintOf(failure); hint != "" {
		header[mayfly.HeaderHint] = []string{oneLine(hint)}
	}
	return header
}

// Respond answers with bytes alone.
func (in Inbound) Respond(body []byte) error { return in.respond(nil, body) }

func (in Inbound) respond(header nats.Header, body []byte) error {
	if in.message.Reply == "" {
		return nil // published, not asked
	}
	return in.listener.link.publish(&nats.Msg{Subject: in.message.Reply, Header: header, Data: body})
}

// oneLine makes text fit in a header.
func oneLine(s string) string {
	const most = 1024
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
