package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"
)

const (
	pingInterval  = 5 * time.Second // a server silent for two of them is given up
	reconnectWait = 200 * time.Millisecond
	dialTimeout   = 2 * time.Second
	writeTimeout  = 2 * time.Second // a server that accepts no bytes for this long is given up; callers wait that long, at worst twice
	drainTimeout  = 5 * time.Second
)

// A link is one NATS connection with its reply multiplexer. nats.go reconnects forever
// by itself; a connection that still closes for good (a protocol error, a revoked user)
// is replaced by keep, under the same inbox.
type link struct {
	remote  Remote
	name    string
	log     *slog.Logger
	replies *replies

	conn   atomic.Pointer[conn]
	up     atomic.Bool  // connected right now; read by every call, so it takes no lock
	since  atomic.Int64 // when it last came up, in Unix nanoseconds
	silent atomic.Int32 // echoes missed in a row
	state  sync.Mutex   // keeps up in step with conn

	answersMu sync.Mutex
	answers   map[string]nats.MsgHandler // by subject; subscribed on every connection
	connected func(*nats.Conn) error     // makes the other subscriptions; may be nil

	refusalsMu sync.Mutex
	refusals   map[*func(error)]struct{} // called for permissions that the server denies

	keeper sync.WaitGroup
	cancel context.CancelFunc
}

// A conn is a connection and a signal of its end.
type conn struct {
	*nats.Conn
	closed chan struct{} // closed after the connection's last callback
}

// openLink connects, and retries until ctx ends if the server is not up yet. Permanent
// problems (a wrong password, an unreadable file) are an error at once.
func openLink(ctx context.Context, remote Remote, name string, log *slog.Logger) (*link, error) {
	l := &link{
		remote: remote, name: name, log: log,
		answers: map[string]nats.MsgHandler{}, refusals: map[*func(error)]struct{}{},
	}
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	keep, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.keeper.Go(func() { l.keep(keep) })
	return l, nil
}

// keep replaces connections that closed for good, until ctx ends.
func (l *link) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.conn.Load().closed:
		}
		l.log.Warn("connection replaced")
		for l.connect(ctx) != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	}
}

// connect makes a connection and subscribes to its replies.
func (l *link) connect(ctx context.Context) error {
	for {
		c, err := l.dial()
		if err == nil {
			if err = l.subscribe(c.Conn); err == nil {
				l.conn.Store(c)
				l.refresh(c.Conn)
				return nil
			}
			c.Close()
			<-c.closed
		}
		if !worthRetrying(err) {
			return l.remote.explain(err)
		}
		select {
		case <-ctx.Done():
			return l.remote.explain(err)
		case <-time.After(reconnectWait):
		}
	}
}

// refresh records whether nc can take calls, if nc is in use. It checks the state
// instead of trusting the callback it runs in: the state may have changed again.
func (l *link) refresh(nc *nats.Conn) {
	l.state.Lock()
	defer l.state.Unlock()
	if c := l.conn.Load(); c != nil && c.Conn == nc {
		l.up.Store(nc.IsConnected())
		l.since.Store(time.Now().UnixNano())
	}
}

func (l *link) dial() (*conn, error) {
	c := &conn{closed: make(chan struct{})}
	opts := []nats.Option{
		nats.Name(l.name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.IgnoreAuthErrorAbort(),
		nats.SkipSubjectValidation(), // mayfly.Subject is the proof
		nats.ReconnectBufSize(-1),    // a call fails while there is no server, and is never sent later
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(dialTimeout),
		nats.DrainTimeout(drainTimeout),
		nats.FlusherTimeout(writeTimeout),
		nats.ReconnectOnFlusherError(),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			l.refresh(nc)
			if err != nil {
				l.log.Warn("connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			l.refresh(nc)
			l.log.Info("connection restored", "server", nc.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			if errors.Is(err, nats.ErrPermissionViolation) {
				l.refused(err)
			}
			l.log.Warn("connection reported an error", "subject", subject, "err", err)
		}),
		nats.ClosedHandler(func(nc *nats.Conn) {
			l.refresh(nc)
			close(c.closed)
		}),
	}
	opts = append(opts, l.remote.login()...) // before a context's own
	var err error
	if l.remote.Context != "" {
		c.Conn, _, err = natscontext.Connect(l.remote.Context, opts...)
	} else {
		c.Conn, err = nats.Connect(l.remote.URL, opts...)
	}
	return c, err
}

// subscribe listens for replies. The limits are far above what is ever pending: deliver
// only looks up a map. The first connection names the inbox, since a NATS context may
// set its prefix.
func (l *link) subscribe(nc *nats.Conn) error {
	if l.replies == nil {
		l.replies = newReplies(nc.NewInbox())
		l.replies.deaf = l.deaf
	}
	sub, err := nc.Subscribe(l.replies.prefix+"*", l.replies.deliver)
	if err != nil {
		return err
	}
	if err := sub.SetPendingLimits(1<<20, 512<<20); err != nil {
		return err
	}
	l.answersMu.Lock()
	defer l.answersMu.Unlock()
	for subject, handler := range l.answers {
		if _, err := nc.Subscribe(subject, handler); err != nil {
			return err
		}
	}
	if l.connected != nil {
		if err := l.connected(nc); err != nil {
			return err
		}
	}
	// A caller may publish at once; the server must know our inbox by then.
	return nc.FlushTimeout(dialTimeout)
}

// answer subscribes now, and again on every connection that replaces the current one.
func (l *link) answer(subject string, handler nats.MsgHandler) error {
	l.answersMu.Lock()
	defer l.answersMu.Unlock()
	nc := l.conn.Load()
	_, err := nc.Subscribe(subject, handler)
	if err == nil {
		err = nc.FlushTimeout(dialTimeout) // requests from now on are answered
	}
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	l.answers[subject] = handler
	return nil
}

// onConnect registers f to be called with every later connection.
func (l *link) onConnect(f func(*nats.Conn) error) {
	l.answersMu.Lock()
	defer l.answersMu.Unlock()
	l.connected = f
}

// onRefusal registers f to be called with each permission that the server denies,
// until stop is called. f must not block.
func (l *link) onRefusal(f func(error)) (stop func()) {
	l.refusalsMu.Lock()
	defer l.refusalsMu.Unlock()
	l.refusals[&f] = struct{}{}
	return func() {
		l.refusalsMu.Lock()
		defer l.refusalsMu.Unlock()
		delete(l.refusals, &f)
	}
}

func (l *link) refused(err error) {
	l.refusalsMu.Lock()
	defer l.refusalsMu.Unlock()
	for f := range l.refusals {
		(*f)(err)
	}
}

// deaf reports whether signs of life may have been lost on their way to us.
func (l *link) deaf() bool {
	return !l.up.Load() || l.silent.Load() > 0 || time.Since(time.Unix(0, l.since.Load())) < silenceLimit
}

// request sends m and waits for the reply. Its errors have the codes Unavailable
// (with cause mayfly.ErrNobody if nothing listens), Invalid (with cause
// mayfly.ErrTooLarge), Timeout, and those of a call that falls silent.
func (l *link) request(ctx context.Context, m *nats.Msg, deadline time.Time, silence meaning) (*nats.Msg, error) {
	w, inbox := l.replies.register(silence)
	m.Reply = inbox
	if err := l.publish(m); err != nil {
		l.replies.giveUp(w, nil)
		return nil, err
	}
	reply, err := l.replies.await(ctx, w, deadline)
	if err != nil {
		return nil, waitError(err, m.Subject)
	}
	if nobody(reply) {
		return nil, nobodyError(m.Subject)
	}
	return reply, nil
}

// echo sends a message to ourselves and waits until it is back: by then, everything
// that the server sent earlier has arrived.
func (l *link) echo(ctx context.Context, deadline time.Time) error {
	w, inbox := l.replies.register(meaningless)
	if err := l.publish(&nats.Msg{Subject: inbox}); err != nil {
		l.replies.giveUp(w, nil)
		return err
	}
	if _, err := l.replies.await(ctx, w, deadline); err != nil {
		return waitError(err, inbox)
	}
	return nil
}

// publish sends m if there is a server that takes it now.
func (l *link) publish(m *nats.Msg) error {
	if !l.up.Load() {
		return unavailable(nats.ErrDisconnected)
	}
	nc := l.conn.Load()
	err := nc.PublishMsg(m)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload): // detected before anything was sent
		return mayfly.Errorf(mayfly.Invalid, "the message has %d bytes with its headers, the server takes %d (max_payload): %w", wireSize(m), nc.MaxPayload(), mayfly.ErrTooLarge)
	default:
		return unavailable(err)
	}
}

// close drains: replies in flight still arrive.
func (l *link) close() {
	l.cancel()
	l.keeper.Wait()
	c := l.conn.Load()
	// nats.go takes tens of milliseconds to drain.
	if l.idle() || c.Drain() != nil {
		c.Close()
	}
	select {
	case <-c.closed:
	case <-time.After(drainTimeout + time.Second):
		c.Close()
		<-c.closed
	}
}

// idle reports whether nothing in flight is awaited here.
func (l *link) idle() bool {
	l.answersMu.Lock()
	defer l.answersMu.Unlock()
	return len(l.answers) == 0 && l.connected == nil && l.replies.waitingNow() == 0
}

// nobody reports whether m is the server's "no responders".
func nobody(m *nats.Msg) bool {
	return len(m.Data) == 0 && len(m.Header) > 0 && m.Header.Get("Status") == "503"
}

func nobodyError(subject string) error {
	return mayfly.Errorf(mayfly.Unavailable, "cannot call subject %q: %w", subject, mayfly.ErrNobody).
		WithHint("start a service that listens there, or run mayfly list to see what is running")
}

func waitError(err error, subject string) error {
	if s, ok := errors.AsType[silence](err); ok {
		return s.explain(subject)
	}
	if errors.Is(err, context.Canceled) {
		return mayfly.Errorf(mayfly.Timeout, "canceled before a reply on subject %q: %w", subject, err)
	}
	return mayfly.Errorf(mayfly.Timeout, "no reply on subject %q in time: %w", subject, err).
		WithHint("the service may still be working; raise the timeout, or check its log")
}

func unavailable(err error) error {
	return mayfly.Errorf(mayfly.Unavailable, "no NATS server right now: %s", trimNATS(err)).
		WithHint("check the NATS server; Mayfly keeps reconnecting")
}

// worthRetrying tells a server that is not up yet from a permanent problem.
func worthRetrying(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return false // a TLS alert: the server is there and wants another certificate
	}
	if errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) {
		return true
	}
	// Not any net.Error: a missing file and an invalid URL are net.Errors too.
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	_, unknownHost := errors.AsType[*net.DNSError](err)
	return unknownHost || errors.Is(err, io.EOF) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrStaleConnection)
}

// A Remote says which NATS server to use and how to log in.
type Remote struct {
	URL      string // nats://host:port, comma-separated
	Creds    string // credentials file
	User     string
	Password string
	Token    string
	Cert     string // client certificate, with Key
	Key      string
	CA       string // authority that signed the server's certificate
	Context  string // context of the nats command line; replaces all of the above
}

func (r Remote) login() []nats.Option {
	var opts []nats.Option
	if r.User != "" {
		opts = append(opts, nats.UserInfo(r.User, r.Password))
	}
	if r.Token != "" {
		opts = append(opts, nats.Token(r.Token))
	}
	if r.Creds != "" {
		opts = append(opts, nats.UserCredentials(r.Creds))
	}
	if r.CA != "" {
		opts = append(opts, nats.RootCAs(r.CA))
	}
	if r.Cert != "" {
		opts = append(opts, nats.ClientCert(r.Cert, r.Key))
	}
	return opts
}

// String returns the servers' addresses without user, password and token.
func (r Remote) String() string {
	if r.Context != "" {
		return fmt.Sprintf("context %q", r.Context)
	}
	urls := strings.Split(r.URL, ",")
	for i, text := range urls {
		text = strings.TrimSpace(text)
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		// Show nothing of an address that does not parse: there is no telling where
		// its password ends.
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			urls[i] = u.Scheme + "://" + u.Host
		} else {
			urls[i] = "an unreadable address"
		}
	}
	return strings.Join(urls, ",")
}

// explain translates a failed connect to our error. It names the server without its
// secrets and never quotes a URL from the error's text.
func (r Remote) explain(err error) error {
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return mayfly.Errorf(mayfly.Denied, "NATS at %s rejected the login: %s", r, trimNATS(err)).
			WithHint("check --creds, --user and --password, --token or --context")
	case worthRetrying(err):
		return mayfly.Errorf(mayfly.Unavailable, "no NATS server answers at %s", r).
			WithHint("start one, or check the address given with --nats")
	default:
		text := trimNATS(err)
		if strings.Contains(text, "://") {
			text = "the address or a file is not usable"
		}
		return mayfly.Errorf(mayfly.Invalid, "cannot connect to %s: %s", r, text).
			WithHint("check --nats, --creds, --tls.cert, --tls.key, --tls.ca and --context")
	}
}
