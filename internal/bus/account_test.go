package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The two ways past a list of permissions end at the account: a reply subject, and
// the subject that a consumer delivers to.
func TestUsersReachNothingOfMayflysState(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	js, err := b.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: mayfly.BucketRegistry})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "x", "ours"); err != nil {
		t.Fatal(err)
	}
	user := natstest.Connect(t, b)
	natstest.Serve(t, user, "fn.echo", func(m *nats.Msg) { m.Respond(m.Data) })

	// Somebody else's answer, written over a key.
	if err := user.PublishRequest("fn.echo", "$KV."+mayfly.BucketRegistry+".x", []byte("evil")); err != nil {
		t.Fatal(err)
	}
	// A consumer that delivers the registry, made by hand: nats.go would refuse.
	stream := "KV_" + mayfly.BucketRegistry
	loot, err := user.SubscribeSync("loot")
	if err != nil {
		t.Fatal(err)
	}
	_, err = user.Request("$JS.API.CONSUMER.CREATE."+stream+".thief", []byte(`{"stream_name":"`+stream+`","config":{"name":"thief","deliver_subject":"loot","ack_policy":"none"}}`), soonIn)
	if err != nil {
		t.Fatalf("JetStream does not answer: %v", err)
	}
	// Plain requests.
	for _, ask := range []string{"$JS.API.STREAM.PURGE." + stream, "$JS.API.STREAM.DELETE." + stream, "$JS.API.STREAM.INFO." + stream} {
		if m, err := user.Request(ask, nil, soonIn); err != nil || !strings.Contains(string(m.Data), "stream not found") {
			t.Errorf("%s: %v, error %v", ask, m, err)
		}
	}
	// A server that has answered the next has done all before it.
	if _, err := user.Request("fn.echo", nil, soonIn); err != nil {
		t.Fatal(err)
	}
	if n, _, err := loot.Pending(); err != nil || n != 0 {
		t.Errorf("the thief got %d messages, error %v", n, err)
	}
	history, err := kv.History(t.Context(), "x")
	if err != nil || len(history) != 1 || string(history[0].Value()) != "ours" {
		t.Errorf("history %v, error %v", history, err)
	}
	all := user.Opts
	all.User, all.Password = mayfly.UserCore, "guess"
	if nc, err := all.Connect(); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("a guessed key: connection %v, error %v", nc, err)
	}
}

// What nodes say to each other, users neither hear nor answer, and a call on behalf
// of a user does not get there.
func TestMayflysSubjectsAreApart(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	user, core := natstest.Connect(t, b), natstest.ConnectCore(t, b)
	heard, err := user.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := user.Flush(); err != nil {
		t.Fatal(err)
	}
	listener, err := b.Listen(t.Context(), bus.Interest{Subject: mayfly.SubjectNodes}, bus.Interest{Subject: mayfly.SubjectNode + ".a.state"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	if err := listener.Change([]bus.Interest{{Subject: "fn.a"}}, nil); mayfly.CodeOf(err) != mayfly.Internal {
		t.Errorf("a listener for both: %v", err)
	}
	go func() {
		for in, ok := listener.Next(t.Context()); ok; in, ok = listener.Next(t.Context()) {
			_ = in.Respond([]byte("fine"))
		}
	}()

	if answers, err := b.Gather(t.Context(), mayfly.SubjectNodes); err != nil || len(answers) != 1 {
		t.Errorf("gathered %v, error %v", answers, err)
	}
	ask := call(mayfly.SubjectNode+".a.state", "")
	if reply, err := b.Ask(t.Context(), ask); err != nil || string(reply.Body) != "fine" {
		t.Errorf("asked: %q, error %v", reply.Body, err)
	}
	if _, err := core.Request(mayfly.SubjectNodes, nil, soonIn); err != nil {
		t.Errorf("with the key: %v", err)
	}
	if n, _, err := heard.Pending(); n != 0 || err != nil {
		t.Errorf("a user heard %d messages, error %v", n, err)
	}
	if err := errors.Join(heard.Unsubscribe(), user.Flush()); err != nil { // it would count as somebody who listens
		t.Fatal(err)
	}
	if _, err := b.Call(t.Context(), ask); !errors.Is(err, mayfly.ErrNobody) {
		t.Errorf("a call of a user's: %v", err)
	}
}

// Whoever may come in, the key of Mayfly's state opens its account and no other
// login does.
func TestKeyOpensTheAccountOfTheState(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]bus.ServerOptions{
		"everybody": {}, "user": {User: "ada", Password: "s3cret"}, "token": {Token: "s3cret"},
		"user of that name": {User: mayfly.UserCore, Password: "s3cret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := newDiary("")
			o.Store, o.CoreKey = t.TempDir(), natstest.CoreKey
			b := open(t, bus.Options{Server: &o, Log: log.log()})
			login := bus.Remote{URL: b.URL(), User: o.User, Password: o.Password, Token: o.Token}

			with := open(t, bus.Options{Remote: login, Core: natstest.Core(b)})
			if !with.OwnAccount() {
				t.Error("both are one")
			}
			if err := with.Keep(t.Context(), bus.State{KeyValue: &jetstream.KeyValueConfig{Bucket: "kept"}, Layout: 1}); err != nil {
				t.Error(err)
			}
			if o.User != "" { // a context of the command line brings a login of its own
				text := fmt.Sprintf(`{"url":%q,"user":%q,"password":%q}`, b.URL(), o.User, o.Password)
				named := bus.Remote{Context: write(t, "work.json", []byte(text))}
				c := open(t, bus.Options{Remote: named, Core: named.WithCoreKey(natstest.CoreKey)})
				js, err := c.JetStream()
				if err == nil {
					_, err = js.KeyValue(t.Context(), "kept")
				}
				if err != nil {
					t.Errorf("a context with the key: %v", err)
				}
			}
			without := open(t, bus.Options{Remote: login})
			err := without.Keep(t.Context(), bus.State{KeyValue: &jetstream.KeyValueConfig{Bucket: "kept"}, Layout: 1})
			if mayfly.CodeOf(err) != mayfly.Denied || !strings.Contains(mayfly.HintOf(err), "--core.key") {
				t.Errorf("without the key: %v (hint %q)", err, mayfly.HintOf(err))
			}
			if _, err := without.Gather(t.Context(), mayfly.SubjectNodes); mayfly.CodeOf(err) != mayfly.Denied {
				t.Errorf("without the key: %v", err)
			}
			wrong := login.WithCoreKey("not-the-key-at-all")
			_, err = bus.Open(t.Context(), bus.Options{Remote: login, Core: wrong})
			if mayfly.CodeOf(err) != mayfly.Denied || strings.Contains(err.Error(), "not-the-key") {
				t.Errorf("with another key: %v", err)
			}
			if strings.Contains(b.InstanceURL(), natstest.CoreKey) {
				t.Errorf("instances are given the key: %s", b.InstanceURL())
			}
		})
	}
}

// On a server of somebody else's both are one account, or two logins.
func TestExistingServerMayHaveAnAccountForTheState(t *testing.T) {
	t.Parallel()
	var o server.Options
	err := o.ProcessConfigString(`accounts {
		STATE: {jetstream: enabled, users: [{user: state, password: s3cret}]}
		USERS: {users: [{user: ada, password: s3cret}]}
	}`)
	if err != nil {
		t.Fatal(err)
	}
	o.StoreDir = t.TempDir()
	s := startServer(t, o)
	users := bus.Remote{URL: s.ClientURL(), User: "ada", Password: "s3cret"}
	state := bus.Remote{URL: s.ClientURL(), User: "state", Password: "s3cret"}
	b := open(t, bus.Options{Remote: users, Core: state})
	if !b.OwnAccount() || b.Ready() != nil {
		t.Errorf("own account %v, ready %v", b.OwnAccount(), b.Ready())
	}
	if err := b.Keep(t.Context(), bus.State{KeyValue: &jetstream.KeyValueConfig{Bucket: "kept"}, Layout: 1}); err != nil {
		t.Error(err)
	}
	command := open(t, bus.Options{Remote: users, NoJetStream: true})
	if _, err := command.JetStream(); mayfly.CodeOf(err) != mayfly.Denied {
		t.Errorf("a command without the login: %v", err)
	}
	one := open(t, bus.Options{Remote: state})
	if one.OwnAccount() {
		t.Error("one login is two accounts")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := one.Keep(ctx, bus.State{KeyValue: &jetstream.KeyValueConfig{Bucket: "shared"}, Layout: 1}); err != nil {
		t.Error(err)
	}
}
