package bus_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A bundle of several chunks, and how many lines of logs there are.
var oldBundle = bytes.Repeat([]byte("mayfly"), 100_000)

const oldLines = 500

// oldStore returns a store as earlier builds left it: everything in one account.
func oldStore(t *testing.T) string {
	t.Helper()
	store := t.TempDir()
	var o server.Options
	if err := o.ProcessConfigString("accounts { MAYFLY: {jetstream: enabled}, SYS: {} }\nsystem_account: SYS"); err != nil {
		t.Fatal(err)
	}
	o.StoreDir = store
	o.Users = []*server.User{{Username: "mayfly", Account: o.Accounts[0]}}
	if o.Accounts[0].Name != "MAYFLY" {
		o.Users[0].Account = o.Accounts[1]
	}
	o.NoAuthUser = "mayfly"
	s := startServer(t, o)
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	put := func(bucket, key, value string) {
		t.Helper()
		kv, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, History: 32})
		if err == nil {
			_, err = kv.PutString(t.Context(), key, value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(mayfly.BucketMeta, "format", `{"v":1,"format":1}`)
	for _, revision := range []string{"one", "two", "three"} {
		put(mayfly.BucketRegistry, "function/hello", revision)
	}
	put(mayfly.BucketSecrets, "api-key", "sealed")
	put("orders", "1", "a user's")
	code, err := js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: mayfly.BucketCode})
	if err == nil {
		_, err = code.PutBytes(t.Context(), "bundle", oldBundle)
	}
	if err == nil {
		_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: mayfly.StreamLogs, Subjects: []string{mayfly.SubjectLogs + ".*.*"}})
	}
	for i := 0; i < oldLines && err == nil; i++ {
		_, err = js.Publish(t.Context(), mayfly.SubjectLogs+".hello.a", fmt.Appendf(nil, "line %d", i))
	}
	if err != nil {
		t.Fatal(err)
	}
	stopServer(s)
	return store
}

// wantSeparated opens a store and finds everything where it belongs.
func wantSeparated(t *testing.T, store string) {
	t.Helper()
	b := open(t, bus.Options{Server: &bus.ServerOptions{Store: store}})
	defer b.Close()
	ours, err := b.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	users, err := jetstream.New(natstest.Connect(t, b))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		js                       jetstream.JetStream
		bucket, key, value       string
		revisions, otherAccounts int
	}{
		{ours, mayfly.BucketMeta, "format", `{"v":1,"format":1}`, 1, 0},
		{ours, mayfly.BucketRegistry, "function/hello", "three", 3, 0},
		{ours, mayfly.BucketSecrets, "api-key", "sealed", 1, 0},
		{users, "orders", "1", "a user's", 1, 0},
	} {
		kv, err := want.js.KeyValue(t.Context(), want.bucket)
		if err != nil {
			t.Errorf("%s: %v", want.bucket, err)
			continue
		}
		history, err := kv.History(t.Context(), want.key)
		if err != nil || len(history) != want.revisions || string(history[len(history)-1].Value()) != want.value {
			t.Errorf("%s: %v, error %v", want.bucket, history, err)
		}
	}
	code, err := ours.ObjectStore(t.Context(), mayfly.BucketCode)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := code.GetBytes(t.Context(), "bundle"); err != nil || !bytes.Equal(got, oldBundle) {
		t.Errorf("bundle of %d bytes, error %v", len(got), err)
	}
	lines, err := ours.Stream(t.Context(), mayfly.StreamLogs)
	if err != nil {
		t.Fatal(err)
	}
	if n := lines.CachedInfo().State.Msgs; n != oldLines {
		t.Errorf("%d lines", n)
	}
	if m, err := lines.GetMsg(t.Context(), oldLines); err != nil || string(m.Data) != fmt.Sprintf("line %d", oldLines-1) {
		t.Errorf("last line %v, error %v", m, err)
	}
	names := users.StreamNames(t.Context())
	for name := range names.Name() {
		if name != "KV_orders" {
			t.Errorf("users' account still has %s", name)
		}
	}
}

// Wherever the moving stops, everything is there after the next start.
func TestSeparationSurvivesAStopAtEachStep(t *testing.T) {
	t.Parallel()
	old := oldStore(t)
	for stop := 0; ; stop++ {
		store := filepath.Join(t.TempDir(), "store")
		if err := os.CopyFS(store, os.DirFS(old)); err != nil {
			t.Fatal(err)
		}
		stopped := bus.SeparateUntil(store, stop)
		for range 2 { // once more changes nothing
			if left, err := bus.SeparateState(store); err != nil || left != nil {
				t.Fatalf("after a stop at step %d: left %v, error %v", stop, left, err)
			}
		}
		wantSeparated(t, store)
		if stopped == nil {
			if stop < 10 {
				t.Errorf("there were only %d steps to stop at", stop)
			}
			return
		}
		if mayfly.CodeOf(stopped) != mayfly.Unavailable || mayfly.HintOf(stopped) == "" {
			t.Errorf("error %v", stopped)
		}
	}
}

// What is in both accounts stays in both.
func TestSeparationOverwritesNothing(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	path := func(account string) string {
		return filepath.Join(store, "jetstream", account, "streams", "KV_"+mayfly.BucketRegistry, "meta.inf")
	}
	for _, account := range []string{mayfly.AccountMayfly, mayfly.AccountCore} {
		if err := os.MkdirAll(filepath.Dir(path(account)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path(account), []byte(account), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	left, err := bus.SeparateState(store)
	if err != nil || len(left) != 1 || left[0] != filepath.Dir(path(mayfly.AccountMayfly)) {
		t.Errorf("left %v, error %v", left, err)
	}
	for _, account := range []string{mayfly.AccountMayfly, mayfly.AccountCore} {
		if data, err := os.ReadFile(path(account)); err != nil || string(data) != account {
			t.Errorf("%s has %q, error %v", account, data, err)
		}
	}
	if left, err := bus.SeparateState(filepath.Join(store, "none")); err != nil || left != nil {
		t.Errorf("without a store: left %v, error %v", left, err)
	}
}
