package bus_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// states are one of each kind.
func states() []bus.State {
	return []bus.State{
		{KeyValue: &jetstream.KeyValueConfig{Bucket: "things", History: 4}, Layout: 2, Percent: 1, Bytes: 4 << 20},
		{Objects: &jetstream.ObjectStoreConfig{Bucket: "files"}, Layout: 2, Percent: 10, Bytes: 8 << 20},
		{Stream: &jetstream.StreamConfig{Name: "LINES", Subjects: []string{"lines.*"}}, Layout: 2, Bytes: 4 << 20},
	}
}

// streams returns the configuration of what is there, by name.
func streams(t *testing.T, b *bus.Bus) map[string]jetstream.StreamConfig {
	t.Helper()
	js, err := b.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]jetstream.StreamConfig{}
	for info := range js.ListStreams(t.Context()).Info() {
		found[info.Config.Name] = info.Config
	}
	return found
}

func openStore(t *testing.T, store string, size int64) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Options{Server: &bus.ServerOptions{Store: store, MaxStore: size}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestStatesGetTheirShareOfTheStore(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	for _, tt := range []struct {
		name string
		size int64 // of the store
		want string
	}{
		{"new", 200 << 20, "2 20 4"},
		{"twice as large", 400 << 20, "4 40 4"},
		{"a little larger", 500 << 20, "4 40 4"},
		{"smaller again", 200 << 20, "4 40 4"},
	} {
		b := openStore(t, store, tt.size)
		if err := b.Keep(t.Context(), states()...); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		s := streams(t, b)
		// A percentage is not a round number of bytes.
		got := fmt.Sprint((s["KV_things"].MaxBytes+1<<19)>>20, (s["OBJ_files"].MaxBytes+1<<19)>>20, s["LINES"].MaxBytes>>20)
		if got != tt.want {
			t.Errorf("%s: %s MiB, want %s", tt.name, got, tt.want)
		}
		b.Close()
	}
}

func TestFullStoreGivesWhatItHas(t *testing.T) {
	t.Parallel()
	b := openStore(t, t.TempDir(), 8<<20)
	for i := range 9 {
		large := bus.State{Stream: &jetstream.StreamConfig{Name: fmt.Sprint("LARGE", i)}, Layout: 1, Bytes: 1 << 30}
		err := b.Keep(t.Context(), large)
		switch {
		case err == nil:
		case i == 0 || mayfly.CodeOf(err) != mayfly.Exhausted || mayfly.HintOf(err) == "":
			t.Fatalf("state %d: %v (hint %q)", i, err, mayfly.HintOf(err))
		default:
			return // nothing is left
		}
	}
	t.Error("a store of 8 MiB has 9 states of 1 MiB and more")
}

// A cluster says that it has no room in the words of a missing server.
func TestLackOfRoomIsTold(t *testing.T) {
	t.Parallel()
	fault := func(code jetstream.ErrorCode, text string) error {
		return fmt.Errorf("create: %w", &jetstream.APIError{ErrorCode: code, Description: text})
	}
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"one server", fault(10047, "insufficient storage resources available"), true},
		{"a cluster", fault(10005, "no suitable peers for placement, insufficient storage"), true},
		{"too few servers", fault(10005, "no suitable peers for placement"), false},
		{"an account's own limit", fault(10002, "resource limits exceeded for account"), false},
		{"something else", errors.New("insufficient storage"), false},
	} {
		if got := bus.NoRoom(tt.err); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestLayoutDecidesWhatIsChanged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, layout string
		want         string // whose description is there afterwards
	}{
		{"a newer Mayfly's", "3", "theirs"},
		{"an operator's, of our own layout", "2", "theirs"},
		{"an older Mayfly's", "1", "ours"},
		{"somebody else's", "", "ours"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := natstest.New(t)
			s := bus.State{Stream: &jetstream.StreamConfig{Name: "LINES", Description: "ours"}, Layout: 2, Bytes: 4 << 20}
			if err := b.Keep(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			c := streams(t, b)["LINES"]
			c.Description, c.Metadata["mayfly.layout"] = "theirs", tt.layout
			js, err := b.JetStream()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.UpdateStream(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if err := b.Keep(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if got := streams(t, b)["LINES"].Description; got != tt.want {
				t.Errorf("description is %s, want %s", got, tt.want)
			}
		})
	}
}

// A stream whose files are not on the disk after a power loss is not loaded.
func TestNewStatesAreCommitted(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	committed := make(chan struct{}, 1)
	b.CommitWith(func() error {
		select {
		case committed <- struct{}{}:
		default:
		}
		return nil
	})
	if err := b.Keep(t.Context(), states()...); err != nil {
		t.Fatal(err)
	}
	select {
	case <-committed:
	case <-time.After(soonIn):
		t.Error("nobody committed what was made")
	}
}

func TestManyMayKeepTheSameAtOnce(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := b.Keep(t.Context(), states()...); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if s := streams(t, b); len(s) != 3 {
		t.Errorf("streams: %v", s)
	}
}

// A server that forbids something does not answer: it says so beside.
func TestForbiddenStateIsDeniedAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{StoreDir: t.TempDir(), Users: []*server.User{{
		Username: "ada", Password: "s3cret",
		Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.CREATE.>", "elsewhere"}}},
	}}})
	b, err := bus.Open(t.Context(), bus.Options{Remote: bus.Remote{URL: s.ClientURL(), User: "ada", Password: "s3cret"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	err = b.Keep(t.Context(), states()...)
	if mayfly.CodeOf(err) != mayfly.Denied || mayfly.HintOf(err) == "" {
		t.Errorf("error = %v (hint %q)", err, mayfly.HintOf(err))
	}
}

func TestFaultTellsWhatToDo(t *testing.T) {
	t.Parallel()
	ours := mayfly.Errorf(mayfly.Conflict, "somebody was faster")
	for _, tt := range []struct {
		name    string
		err     error
		code    mayfly.Code
		passing bool
	}{
		{"ours", fmt.Errorf("on the way: %w", ours), mayfly.Conflict, false},
		{"full store", &jetstream.APIError{Code: 503, ErrorCode: 10047}, mayfly.Exhausted, false},
		{"full stream", &jetstream.APIError{Code: 503, ErrorCode: 10077}, mayfly.Exhausted, false},
		{"no leader", &jetstream.APIError{Code: 503, ErrorCode: 10008}, mayfly.Unavailable, true},
		{"a question that makes no sense", &jetstream.APIError{Code: 400, ErrorCode: 10003}, mayfly.Unavailable, false},
		{"silence", nats.ErrTimeout, mayfly.Timeout, true},
		{"nothing", nil, mayfly.Internal, false},
		{"away", nats.ErrDisconnected, mayfly.Unavailable, true},
		{"forbidden", fmt.Errorf("%w: for Publish to \"x\"", nats.ErrPermissionViolation), mayfly.Denied, false},
	} {
		got := bus.Fault("store it", tt.err)
		if tt.err == nil {
			if got != nil {
				t.Errorf("nothing became %v", got)
			}
			continue
		}
		if mayfly.CodeOf(got) != tt.code || tt.code != mayfly.Conflict && mayfly.HintOf(got) == "" {
			t.Errorf("%s: %v (code %s, hint %q), want %s", tt.name, got, mayfly.CodeOf(got), mayfly.HintOf(got), tt.code)
		}
		if bus.Passing(tt.err) != tt.passing {
			t.Errorf("%s: passing is %v", tt.name, !tt.passing)
		}
	}
	if !errors.Is(bus.Fault("store it", ours), ours) {
		t.Error("an error of ours was changed")
	}
}
