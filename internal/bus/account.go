package bus

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Mayfly's state and the traffic between its nodes have their own NATS account:
// permissions within one account are not a boundary, because a server checks neither
// reply subjects nor a consumer's deliver subjects. Only this package knows of the two
// accounts. The subject decides: mayfly.> is Mayfly's own, all others are users'.

// own reports whether a subject is Mayfly's own.
func own(subject string) bool {
	first, _, _ := strings.Cut(subject, ".")
	return first == mayfly.SubjectInternal
}

// WithCoreKey returns the Remote that logs in to Mayfly's own account on the same
// server with the core key.
func (r Remote) WithCoreKey(key string) Remote {
	r.User, r.Password, r.Token, r.Creds = mayfly.UserCore, key, "", ""
	return r.withoutLogin()
}

// WithCoreCreds is WithCoreKey for a server that is not Mayfly's.
func (r Remote) WithCoreCreds(file string) Remote {
	r.User, r.Password, r.Token, r.Creds = "", "", "", file
	return r.withoutLogin()
}

// withoutLogin strips users and tokens from the URLs: NATS prefers them to any other
// login.
func (r Remote) withoutLogin() Remote {
	if r.Context == "" {
		r.URL = r.String()
	}
	return r
}

// OwnAccount reports whether Mayfly's state has its own account, out of reach of
// users' programs.
func (b *Bus) OwnAccount() bool { return b.core != b.links[0] }

// all returns every link.
func (b *Bus) all() []*link {
	if b.core == nil || b.core == b.links[0] {
		return b.links
	}
	return append(b.links[:len(b.links):len(b.links)], b.core)
}

// openCore opens the link to the account of our state, if it is a separate one.
func (b *Bus) openCore(ctx context.Context) (err error) {
	if b.ours == (Remote{}) {
		b.ours, b.core = b.remote, b.links[0]
		return nil
	}
	b.core, err = openLink(ctx, b.ours, b.name+" core", b.log)
	if mayfly.CodeOf(err) == mayfly.Denied {
		return mayfly.Errorf(mayfly.Denied, "NATS at %s rejected the login for the account of Mayfly's state", b.ours).
			WithHint("check --core.key, --core.creds or --core.context")
	}
	return err
}

// announceCore tells the users' account that our state is elsewhere, so that a process
// without a login for it does not create a second state there.
func (b *Bus) announceCore() error {
	if !b.OwnAccount() {
		b.log.Info("state shares the account with users")
		return nil
	}
	b.log.Info("state has an account of its own")
	return b.links[0].answer(mayfly.SubjectCore, b.inboxes.checked(func(m *nats.Msg) {
		if err := m.Respond([]byte(`{"v":1}`)); err != nil && m.Reply != "" {
			b.log.Debug("answer not sent", "subject", m.Subject, "err", err)
		}
	}))
}

// hidden caches whether the state is in an account that we have no login for.
type hidden struct {
	mu    sync.Mutex
	known bool
	err   error
}

// askCore is how long a server may take to say whether there is another account.
const askCore = 2 * time.Second

// state returns the link to the account of our state. The error, with code Denied,
// means that it is in one that we have no login for.
func (b *Bus) state() (*link, error) {
	if b.OwnAccount() {
		return b.core, nil
	}
	h := &b.hidden
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known {
		return b.core, h.err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer b.core.onRefusal(func(err error) {
		if strings.Contains(err.Error(), `"`+mayfly.SubjectCore+`"`) {
			cancel() // our nodes' users may ask, so this is not one of them
		}
	})()
	_, err := b.core.request(ctx, &nats.Msg{Subject: mayfly.SubjectCore}, time.Now().Add(askCore), meaningless)
	switch {
	case err == nil:
		h.known = true
		h.err = mayfly.Errorf(mayfly.Denied, "Mayfly's state at %s is in a separate NATS account, and this login is for users' programs", b.remote).
			WithHint("give --core.key FILE: core.key in the data folder of the node that runs the server; or --core.creds, --core.context")
	case errors.Is(err, mayfly.ErrNobody), ctx.Err() != nil:
		h.known = true
	}
	return b.core, h.err
}

// linkOf returns the link to the account that a subject belongs to.
func (b *Bus) linkOf(subject string) (*link, error) {
	if own(subject) {
		return b.state()
	}
	return b.links[0], nil
}

// KeepAmongUsers stores a value in a bucket of the users' account, for clients that
// know no other account. It does nothing on a server that is not ours: that account
// belongs to its operator.
func (b *Bus) KeepAmongUsers(ctx context.Context, s State, key string, value []byte) error {
	if b.server == nil {
		return nil
	}
	js, err := jetstream.New(b.links[0].conn.Load().Conn)
	if err != nil {
		return unavailable(err)
	}
	kv, err := js.KeyValue(ctx, s.KeyValue.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if err = s.put(ctx, js, 1, leastBytes); err == nil {
			kv, err = js.KeyValue(ctx, s.KeyValue.Bucket)
		}
	}
	if err != nil {
		return Fault("open "+s.name(), err)
	}
	if e, err := kv.Get(ctx, key); err == nil && bytes.Equal(e.Value(), value) {
		return nil
	}
	_, err = kv.Put(ctx, key, value)
	return Fault("write "+s.name(), err)
}
