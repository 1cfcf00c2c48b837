package secrets_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/secrets"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, b *bus.Bus, o secrets.Options) *secrets.Secrets {
	t.Helper()
	s, err := secrets.Open(t.Context(), b, o)
	if err != nil {
		t.Fatalf("open secrets: %v", err)
	}
	return s
}

// bucket returns the bucket as another tool would use it.
func bucket(t *testing.T, b *bus.Bus) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(natstest.ConnectCore(t, b))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), mayfly.BucketSecrets)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func set(t *testing.T, s *secrets.Secrets, name mayfly.Name, value string) {
	t.Helper()
	if err := s.Set(t.Context(), name, []byte(value)); err != nil {
		t.Fatalf("set %s: %v", name, err)
	}
}

func wantCode(t *testing.T, err error, want mayfly.Code, words ...string) {
	t.Helper()
	if err == nil || mayfly.CodeOf(err) != want {
		t.Fatalf("error = %v (%v), want code %v", err, mayfly.CodeOf(err), want)
	}
	text := err.Error() + "\n" + mayfly.HintOf(err)
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("error %q does not say %q", text, word)
		}
	}
}

func TestSecretComesBack(t *testing.T) {
	t.Parallel()
	b, folder := natstest.New(t), t.TempDir()
	s := open(t, b, secrets.Options{Folder: folder})
	for name, value := range map[mayfly.Name]string{
		"api-key": "hunter2", "empty": "", "binary": "\x00\xff\n", "large": strings.Repeat("x", secrets.MaxValue),
	} {
		set(t, s, name, "an older value")
		set(t, s, name, value)
		// As a node would after a restart.
		if got, err := open(t, b, secrets.Options{Folder: folder}).Get(t.Context(), name); err != nil || string(got) != value {
			t.Errorf("get %s: %d bytes, %v", name, len(got), err)
		}
	}
	all, err := s.List(t.Context())
	if err != nil || len(all) != 4 || all[0].Name != "api-key" || all[0].Size != 7 || time.Since(all[0].Updated) > time.Minute {
		t.Errorf("list = %+v, %v", all, err)
	}
	if err := s.Remove(t.Context(), "api-key"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(t.Context(), "api-key")
	wantCode(t, err, mayfly.NotFound, "mayfly secret set api-key")
	wantCode(t, s.Remove(t.Context(), "api-key"), mayfly.NotFound)
	if all, err = s.List(t.Context()); err != nil || len(all) != 3 {
		t.Errorf("list after remove = %+v, %v", all, err)
	}
}

func TestBadSecretsAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t, natstest.New(t), secrets.Options{Folder: t.TempDir()})
	wantCode(t, s.Set(t.Context(), "large", make([]byte, secrets.MaxValue+1)), mayfly.Invalid, "65537", "65536")
	for _, name := range []mayfly.Name{"", ">", "A", "a.b", "a b", mayfly.Name(strings.Repeat("a", 64))} {
		wantCode(t, s.Set(t.Context(), name, nil), mayfly.Invalid)
		_, err := s.Get(t.Context(), name)
		wantCode(t, err, mayfly.Invalid)
		wantCode(t, s.Remove(t.Context(), name), mayfly.Invalid)
	}
	if all, err := s.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("list = %v, %v", all, err)
	}
}

func TestValuesAreSeenNowhere(t *testing.T) {
	t.Parallel()
	const value = "correct horse battery staple"
	b, folder := natstest.New(t), t.TempDir()
	var log bytes.Buffer
	handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
	s := open(t, b, secrets.Options{Folder: folder, Log: slog.New(handler)})
	set(t, s, "api-key", value)
	kv := bucket(t, b)
	stored, err := kv.Get(t.Context(), "api-key")
	if err != nil {
		t.Fatal(err)
	}
	said := []string{log.String(), string(stored.Value())}

	// Somebody puts one in the clear, or cuts one short.
	for _, bad := range []string{value, `"` + value + `"`, `{"v":1,"age":"` + value + `"}`, string(stored.Value()[:len(stored.Value())-9]) + `AAAA"}`} {
		if _, err := kv.PutString(t.Context(), "api-key", bad); err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(t.Context(), "api-key")
		if err == nil {
			t.Errorf("get of %s gave %q", bad, got)
			continue
		}
		said = append(said, fmt.Sprintf("%v %+v %s", err, err, mayfly.HintOf(err)))
		for cause := errors.Unwrap(err); cause != nil; cause = errors.Unwrap(cause) {
			said = append(said, cause.Error())
		}
	}
	for _, text := range said {
		if strings.Contains(text, "horse") {
			t.Errorf("the value is seen in %s", text)
		}
	}
	// Nor is the old value kept.
	if history, err := kv.History(t.Context(), "api-key"); err != nil || len(history) != 1 {
		t.Errorf("the bucket keeps %d values, %v", len(history), err)
	}
}

func TestSecretOfAnotherNameIsRefused(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	s := open(t, b, secrets.Options{Folder: t.TempDir()})
	set(t, s, "api-key", "valuable")
	set(t, s, "colour", "red")
	kv := bucket(t, b)
	stored, err := kv.Get(t.Context(), "api-key")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "colour", stored.Value()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(t.Context(), "colour")
	wantCode(t, err, mayfly.Denied, "was replaced by another")
}

func TestKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	b, folder := natstest.New(t), t.TempDir()
	s := open(t, b, secrets.Options{Folder: folder})
	path := filepath.Join(folder, "secret.key")
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a key was made before it was needed: %v", err)
	}
	var together sync.WaitGroup
	for i := range 8 {
		together.Go(func() {
			if err := s.Set(t.Context(), mayfly.Name(fmt.Sprint("s", i)), []byte("x")); err != nil {
				t.Errorf("set: %v", err)
			}
		})
	}
	together.Wait()
	all, err := s.List(t.Context())
	if err != nil || len(all) != 8 {
		t.Fatalf("list = %v, %v", all, err)
	}
	for _, one := range all {
		if _, err := s.Get(t.Context(), one.Name); err != nil {
			t.Errorf("get: %v", err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info, err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
}

func TestNoKeyIsMadeWhereSecretsAre(t *testing.T) {
	t.Parallel()
	b, folder, other := natstest.New(t), t.TempDir(), t.TempDir()
	set(t, open(t, b, secrets.Options{Folder: folder}), "api-key", "hunter2")

	s := open(t, b, secrets.Options{Folder: other})
	wantCode(t, s.Set(t.Context(), "another", nil), mayfly.Denied, "--secret-key")
	_, err := s.Get(t.Context(), "api-key")
	wantCode(t, err, mayfly.Denied, "--secret-key")
	if left, err := os.ReadDir(other); err != nil || len(left) != 0 {
		t.Errorf("the folder holds %v, %v", left, err)
	}

	// With the first node's key all is well, also by its path.
	s = open(t, b, secrets.Options{KeyFile: filepath.Join(folder, "secret.key")})
	if got, err := s.Get(t.Context(), "api-key"); err != nil || string(got) != "hunter2" {
		t.Errorf("get = %q, %v", got, err)
	}
}

func TestWrongKeyIsTold(t *testing.T) {
	t.Parallel()
	b, apart := natstest.New(t), natstest.New(t)
	set(t, open(t, b, secrets.Options{Folder: t.TempDir()}), "api-key", "hunter2")
	folder := t.TempDir()
	set(t, open(t, apart, secrets.Options{Folder: folder}), "x", "") // makes a key of its own
	s := open(t, b, secrets.Options{Folder: folder})
	_, err := s.Get(t.Context(), "api-key")
	wantCode(t, err, mayfly.Denied, "a different key", "mayfly secret set api-key")

	// A liar about the key does not get further.
	kv := bucket(t, b)
	stored, err := kv.Get(t.Context(), "api-key")
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(stored.Value(), &fields); err != nil {
		t.Fatal(err)
	}
	mine, err := bucket(t, apart).Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	var own map[string]any
	if err := json.Unmarshal(mine.Value(), &own); err != nil {
		t.Fatal(err)
	}
	fields["recipient"] = own["recipient"]
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "api-key", data); err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(t.Context(), "api-key")
	wantCode(t, err, mayfly.Denied, "damaged")
}

func TestBadKeyFileIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	for _, tt := range []struct {
		name, text string
		want       mayfly.Code
	}{
		{"empty", "", mayfly.Invalid},
		{"no key", "AGE-SECRET-KEY-1NOTAKEY", mayfly.Invalid},
		{"a public key", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", mayfly.Invalid},
		{"huge", strings.Repeat("#\n", 1<<20), mayfly.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := secrets.Open(t.Context(), b, secrets.Options{KeyFile: path})
			wantCode(t, err, tt.want, path)
		})
	}
	_, err := secrets.Open(t.Context(), b, secrets.Options{KeyFile: filepath.Join(t.TempDir(), "missing")})
	wantCode(t, err, mayfly.Denied)
	_, err = secrets.Open(t.Context(), b, secrets.Options{})
	wantCode(t, err, mayfly.Internal)
}

func TestNewerLayoutIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	open(t, b, secrets.Options{Folder: t.TempDir()})
	js, err := jetstream.New(natstest.ConnectCore(t, b))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_"+mayfly.BucketSecrets)
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	c.Description, c.Metadata["mayfly.layout"] = "made by the future", "2"
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	open(t, b, secrets.Options{Folder: t.TempDir()})
	if stream, err = js.Stream(t.Context(), "KV_"+mayfly.BucketSecrets); err != nil || stream.CachedInfo().Config.Description != "made by the future" {
		t.Errorf("the bucket was rewritten: %v", err)
	}
}

func TestEnvName(t *testing.T) {
	t.Parallel()
	for name, want := range map[mayfly.Name]string{"api-key": "API_KEY", "a": "A", "2fa-x-y": "2FA_X_Y"} {
		if got := secrets.EnvName(name); got != want {
			t.Errorf("EnvName(%q) = %q, want %q", name, got, want)
		}
	}
}
