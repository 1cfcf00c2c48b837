package bus

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/mod/semver"
)

// Options say where NATS is. Exactly one of Server and Remote is used.
type Options struct {
	Server *ServerOptions // run a server inside this process
	Remote Remote         // or use an existing one
	Core   Remote         // how to reach the account of Mayfly's state on it; the zero value if it is the same account

	Name        string        // client name shown to the server; "mayfly" if empty
	Connections int           // connections that calls are spread over; 1 if zero
	Wait        time.Duration // how long to wait for a Remote at the start; 5 s if zero
	NoJetStream bool          // do not ask for JetStream at the start: commands that only call and look do not need it
	Log         *slog.Logger  // discards if nil
}

// oldest is the first server version with everything Mayfly's state needs.
const oldest = "v2.12.0"

// A Bus is our access to NATS: one or more connections that reconnect by themselves,
// and the server behind them if we run it.
type Bus struct {
	log     *slog.Logger
	name    string
	server  *server.Server // nil for a Remote
	store   string         // folder of its files
	remote  Remote         // the users' account
	links   []*link        // to it
	ours    Remote         // the account of our state
	core    *link          // to it; links[0] where both are one
	hidden  hidden
	inboxes inboxes
	health  *health
	off     func() error           // see Storeless
	wedged  atomic.Pointer[string] // what our server said when a stream's disk failed

	starts    starts      // of its JetStream
	committer *committer  // nil for a Remote
	synced    atomic.Bool // a Remote's committer has answered, so it exists

	onNobody atomic.Pointer[func(subject string)] // see OnNobody

	nobody  atomic.Uint64
	retried atomic.Uint64
}

// Open returns a connected Bus, or an error that says why not and what to do. ctx
// bounds the start only.
func Open(ctx context.Context, o Options) (_ *Bus, err error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Name = cmp.Or(o.Name, "mayfly")
	o.Wait = cmp.Or(o.Wait, 5*time.Second)
	b := &Bus{log: o.Log, name: o.Name, remote: o.Remote, ours: o.Core}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if o.Server != nil {
		s := *o.Server
		s.Log = cmp.Or(s.Log, o.Log)
		s.wedged = &b.wedged
		s.CoreKey = cmp.Or(s.CoreKey, rand.Text())
		b.store = s.Store
		if b.server, err = startServer(ctx, s); err != nil {
			return nil, err
		}
		if b.committer, err = openCommitter(s.Store, s.Log); err != nil {
			return nil, err
		}
		b.remote = Remote{URL: b.server.ClientURL(), User: s.User, Password: s.Password, Token: s.Token}
		b.ours = b.remote.WithCoreKey(s.CoreKey)
	}
	start, cancel := context.WithTimeout(ctx, o.Wait)
	defer cancel()
	for range max(1, o.Connections) {
		l, err := openLink(start, b.remote, o.Name, o.Log)
		if err != nil {
			return nil, err
		}
		b.links = append(b.links, l)
	}
	if err := b.openCore(start); err != nil {
		return nil, err
	}
	b.inboxes.add(b.links[0].conn.Load().Conn)
	b.inboxes.add(b.core.conn.Load().Conn)
	if err := b.checkServer(); err != nil {
		return nil, err
	}
	b.off = sync.OnceValue(b.askStore)
	if !o.NoJetStream {
		off, err := b.awaitJetStream(start)
		if err != nil {
			return nil, err
		}
		b.off = func() error { return off }
	}
	if b.committer != nil {
		if err := b.core.answer(mayfly.SubjectSync, b.inboxes.checked(b.committer.ask)); err != nil {
			return nil, unavailable(err)
		}
	}
	b.health = &health{enabled: make(chan struct{})}
	switch {
	case o.NoJetStream:
		b.health.start(b, nil)
	case b.off() != nil:
		b.health.start(b, b.health.awaitJetStream)
	default:
		if err := b.announceCore(); err != nil {
			return nil, err
		}
		b.health.start(b, b.health.watchJetStream)
	}
	return b, nil
}

// checkServer rejects a server that lacks what we need. The error names what it is and
// what it should be.
func (b *Bus) checkServer() error {
	if v := "v" + b.ServerVersion(); semver.Compare(strings.TrimSuffix(v, semver.Prerelease(v)), oldest) < 0 { // an invalid one is the lowest
		return mayfly.Errorf(mayfly.Unavailable, "the server at %s is nats-server %s: Mayfly needs %s or newer", b.remote, v[1:], oldest[1:]).
			WithHint("upgrade it, or leave out --nats to use the server inside Mayfly")
	}
	return nil
}

// Close stops taking calls, drains replies in flight, and stops the server if it is
// ours.
func (b *Bus) Close() error {
	if b.health != nil {
		b.health.close()
	}
	if b.committer != nil {
		b.committer.close()
	}
	for _, l := range b.all() {
		l.close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	return nil
}

// retryAfter is the delay before a call without responders is sent a second and last
// time: longer than a worker takes to resubscribe within a server, shorter than a
// person notices.
const retryAfter = 25 * time.Millisecond

// Call sends c and waits for the reply until its deadline, if it has one, or the end
// of ctx. It owns c.Header. A call without responders is sent once more, which is safe
// because it was not delivered, unless it has Once set.
//
// An error has the code Unavailable (cause mayfly.ErrNobody if nothing listens),
// Timeout, Invalid (cause mayfly.ErrTooLarge) or Crashed (a reply that breaks the
// protocol). A call of a function that nobody works on anymore fails after
// silenceLimit, as Crashed, or as Unavailable if perhaps nobody began. A service's own
// error is not an error here: see mayfly.Reply.Err.
//
// It only reaches the users' account, whatever the subject: the gateway calls subjects
// that users choose, and must not expose Mayfly's own.
func (b *Bus) Call(ctx context.Context, c mayfly.Call) (mayfly.Reply, error) {
	return b.call(ctx, b.link, c)
}

// Ask is Call for a subject of Mayfly's own.
func (b *Bus) Ask(ctx context.Context, c mayfly.Call) (mayfly.Reply, error) {
	l, err := b.linkOf(string(c.Subject))
	if err != nil {
		return mayfly.Reply{}, err
	}
	return b.call(ctx, func() *link { return l }, c)
}

// call sends c over a link that pick returns.
func (b *Bus) call(ctx context.Context, pick func() *link, c mayfly.Call) (mayfly.Reply, error) {
	left := timeLeft(c.Deadline)
	m, silence := encode(c, left), meaningOf(c, left)
	if silence != meaningless {
		m.Header[mayfly.HeaderSigns] = signsWanted
	}
	reply, err := pick().request(ctx, m, c.Deadline, silence)
	switch {
	case !errors.Is(err, mayfly.ErrNobody):
	case c.Once:
		b.tellNobody(m.Subject)
	default:
		reply, err = b.again(ctx, pick, m, c.Deadline, silence, err)
	}
	if err != nil {
		return mayfly.Reply{}, err
	}
	return decode(reply)
}

// again is the second try of a call without responders.
func (b *Bus) again(ctx context.Context, pick func() *link, m *nats.Msg, deadline time.Time, silence meaning, first error) (*nats.Msg, error) {
	if timeLeft(deadline) < retryAfter {
		return nil, first
	}
	select {
	case <-ctx.Done():
		return nil, first
	case <-time.After(retryAfter):
	}
	b.retried.Add(1)
	reply, err := pick().request(ctx, m, deadline, silence)
	if errors.Is(err, mayfly.ErrNobody) {
		b.nobody.Add(1)
		b.tellNobody(m.Subject)
	}
	return reply, err
}

func (b *Bus) tellNobody(subject string) {
	if f := b.onNobody.Load(); f != nil {
		(*f)(subject)
	}
}

// OnNobody registers f to be called with the subject of each call without responders.
// It replaces the previous function; nil removes it. f must not block.
func (b *Bus) OnNobody(f func(subject string)) {
	if f == nil {
		b.onNobody.Store(nil)
		return
	}
	b.onNobody.Store(&f)
}

// Send publishes c with an inbox that is never read, so that a service that replies
// succeeds, and returns once the server has accepted it and knows a subscriber: it is
// sent, not stored. Errors are those of Call without Crashed.
func (b *Bus) Send(ctx context.Context, c mayfly.Call) error {
	l := b.link()
	w, inbox := l.replies.register(meaningless)
	m := encode(c, timeLeft(c.Deadline))
	m.Reply = inbox
	if err := l.publish(m); err != nil {
		l.replies.giveUp(w, nil)
		return err
	}
	// A message to ourselves follows "no responders" on the same path. Once it is
	// back, nothing else is in flight.
	err := l.echo(ctx, c.Deadline)
	first, _ := l.replies.giveUp(w, nil)
	if err != nil {
		return err
	}
	if first != nil && nobody(first) {
		if c.Once {
			b.tellNobody(m.Subject)
		}
		return nobodyError(m.Subject)
	}
	return nil
}

// link returns the connection for the next call: any that is up, or any at all.
func (b *Bus) link() *link {
	first := mathrand.IntN(len(b.links))
	for i := range b.links {
		if l := b.links[(first+i)%len(b.links)]; l.up.Load() {
			return l
		}
	}
	return b.links[first]
}

// MaxPayload returns the maximum size of one message, body and headers, in bytes.
func (b *Bus) MaxPayload() int64 { return b.links[0].conn.Load().MaxPayload() }

// URL returns where other NATS clients reach the bus, without secrets.
func (b *Bus) URL() string { return b.remote.String() }

// InstanceURL returns where programs that Mayfly runs reach the bus. On our own server
// it includes our login; on any other, our login is never passed on.
func (b *Bus) InstanceURL() string {
	text := b.remote.String()
	u, err := url.Parse(text)
	if b.server == nil || err != nil {
		return text
	}
	switch {
	case b.remote.Token != "":
		u.User = url.User(b.remote.Token)
	case b.remote.User != "":
		u.User = url.UserPassword(b.remote.User, b.remote.Password)
	}
	return u.String()
}

// MonitorURL returns where our server's own HTTP monitoring is, or "".
func (b *Bus) MonitorURL() string {
	if b.server == nil || b.server.MonitorAddr() == nil {
		return ""
	}
	return "http://" + b.server.MonitorAddr().String()
}

// ServerVersion returns the version of the server we are connected to.
func (b *Bus) ServerVersion() string { return b.links[0].conn.Load().ConnectedServerVersion() }

// Embedded reports whether the server runs inside this process.
func (b *Bus) Embedded() bool { return b.server != nil }
