package bus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	probeEvery   = 500 * time.Millisecond
	probeTimeout = time.Second

	// hungAfter is how many echoes in a row a server may miss before we try another.
	// TCP alone does not notice a stopped server.
	hungAfter = 3
)

// health polls the server and its JetStream, so that readiness is answered from memory.
type health struct {
	cancel    context.CancelFunc
	done      sync.WaitGroup
	err       atomic.Pointer[error] // nil: all is well
	jetStream atomic.Pointer[jetstream.AccountInfo]
	enabled   chan struct{} // closed once JetStream is enabled after all
}

// start begins with the links and, unless it is nil, watch.
func (h *health) start(b *Bus, watch func(context.Context, *Bus)) {
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	if b.server == nil { // our own server lives and dies with us
		for _, l := range b.all() {
			h.done.Go(func() { l.watchEcho(ctx) })
		}
	}
	if watch != nil {
		h.done.Go(func() { watch(ctx, b) })
	}
}

func (h *health) close() {
	if h.cancel == nil {
		return // Open failed before the start
	}
	h.cancel()
	h.done.Wait()
}

// watchEcho moves the link to another server (or the same one, restarted) when the
// current one accepts bytes but does not process them. After a first missed echo it
// tries again at once: calls are being lost.
func (l *link) watchEcho(ctx context.Context) {
	every(ctx, probeEvery, func() {
		for ctx.Err() == nil {
			err := l.echo(ctx, time.Now().Add(probeTimeout))
			if mayfly.CodeOf(err) != mayfly.Timeout {
				l.silent.Store(0)
				return
			}
			if ctx.Err() == nil && l.silent.Add(1)%hungAfter == 0 {
				l.leave()
				return
			}
		}
	})
}

// leave gives up the current server. From now on calls are rejected rather than lost,
// since leaving may take a while: nats.go holds its lock while it still writes to a
// server that no longer reads.
func (l *link) leave() {
	l.log.Warn("server does not answer, connecting again")
	l.up.Store(false)
	if err := l.conn.Load().ForceReconnect(); err != nil {
		l.log.Warn("reconnect failed", "err", err)
	}
}

func (h *health) watchJetStream(ctx context.Context, b *Bus) {
	m := newMender(b)
	every(ctx, probeEvery, func() {
		m.try()
		info, err := b.jetStream(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			h.err.Store(&err)
		default:
			h.jetStream.Store(info)
			h.err.Store(nil)
		}
	})
}

// every calls f now and then each d after it returned, until ctx ends.
func every(ctx context.Context, d time.Duration, f func()) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f()
			t.Reset(d)
		}
	}
}

// jetStream queries the account of our state. It asks our own server directly, so that
// the trace shows the user's traffic and not ours; the answer then includes the users'
// account. Errors are NATS's own.
func (b *Bus) jetStream(ctx context.Context) (*jetstream.AccountInfo, error) {
	if b.server != nil {
		return jetStreamOf(b.server)
	}
	js, err := jetstream.New(b.core.conn.Load().Conn)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return js.AccountInfo(ctx)
}

func jetStreamOf(s *server.Server) (*jetstream.AccountInfo, error) {
	info := &jetstream.AccountInfo{}
	for _, name := range []string{mayfly.AccountCore, mayfly.AccountMayfly} {
		account, err := s.LookupAccount(name)
		if err != nil {
			return nil, mayfly.Errorf(mayfly.Internal, "find account %s: %w", name, err)
		}
		if !s.JetStreamEnabled() || !account.JetStreamEnabled() { // as after a full disk
			return nil, mayfly.Errorf(mayfly.Unavailable, "JetStream is disabled")
		}
		usage := account.JetStreamUsage()
		info.Streams += usage.Streams
		info.Consumers += usage.Consumers
		info.Memory += usage.Memory
		info.Store += usage.Store
		info.API.Errors += usage.API.Errors
	}
	if c := s.JetStreamConfig(); c != nil {
		info.Limits.MaxStore = c.MaxStore
	}
	return info, nil
}

// Ready returns nil while calls can be made and JetStream answers, or why not. It does
// not recover from a disk that lost data (see Sync). It notices an outage within 2 s
// and never waits.
func (b *Bus) Ready() error {
	if b.committer != nil {
		if err := b.committer.err(); err != nil {
			return err
		}
	}
	if said := b.wedged.Load(); said != nil {
		failed := mayfly.Errorf(mayfly.Unavailable, "the disk of the NATS server's store failed: %s", *said)
		if fullDisk(*said) {
			return failed.WithHint("free space on it; the node goes on by itself within seconds")
		}
		return failed.WithHint("check the disk, then restart the node: streams reject writes until then")
	}
	for _, l := range b.all() {
		if !l.up.Load() || l.silent.Load() > 0 {
			return mayfly.Errorf(mayfly.Unavailable, "NATS at %s does not answer", b.remote).
				WithHint("check the NATS server; Mayfly keeps reconnecting")
		}
	}
	if err := b.health.err.Load(); err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "JetStream at %s does not answer: %w", b.remote, *err).
			WithHint("check the NATS server; in a cluster, its leader and quorum")
	}
	return nil
}

// Stats are what the bus has seen since it was opened.
type Stats struct {
	Connected   int    // connections that are up
	Connections int    // connections there should be
	Reconnects  uint64 // connections restored
	MessagesIn  uint64
	MessagesOut uint64
	BytesIn     uint64
	BytesOut    uint64
	Waiting     int                   // calls that wait for a reply
	Inboxes     int                   // that are open
	Late        uint64                // replies that arrived after the call had ended
	Retried     uint64                // calls sent a second time, for lack of responders
	Nobody      uint64                // calls without responders the second time too
	Rejected    uint64                // replies not sent: the reply subject is not an inbox
	JetStream   jetstream.AccountInfo // as last seen
}

// Stats returns a snapshot.
func (b *Bus) Stats() Stats {
	s := Stats{Connections: len(b.all()), Retried: b.retried.Load(), Nobody: b.nobody.Load(), Rejected: b.inboxes.rejected.Load()}
	for _, l := range b.all() {
		if l.up.Load() {
			s.Connected++
		}
		n := l.conn.Load().Stats()
		s.Reconnects += n.Reconnects
		s.MessagesIn += n.InMsgs
		s.MessagesOut += n.OutMsgs
		s.BytesIn += n.InBytes
		s.BytesOut += n.OutBytes
		s.Waiting += l.replies.waitingNow()
		s.Inboxes += l.replies.listening()
		s.Late += l.replies.late.Load()
	}
	if info := b.health.jetStream.Load(); info != nil {
		s.JetStream = *info
	}
	return s
}
