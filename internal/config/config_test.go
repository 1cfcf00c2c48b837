package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
)

func TestLoadOfNothingIsTheDefaults(t *testing.T) {
	t.Parallel()
	l, err := config.Load(config.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Drain: 30 * time.Second,
		Log:   config.Log{Level: "info", Format: "auto"},
		Bus:   config.Bus{Addr: "127.0.0.1:4222", Memory: 256 << 20, Connections: 1, Wait: 5 * time.Second},
		Gateway: config.Gateway{
			Addr: "127.0.0.1:8080", MaxBody: 64 << 20, MaxHeader: 16 << 10, InFlight: 10_000, Timeout: 5 * time.Second,
			HeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, BodyTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
			Local: true, Front: true, AccessLog: true,
		},
		Admin: config.Admin{Addr: "127.0.0.1:8081"},
	}
	if diff := cmp.Diff(want, l.Config); diff != "" {
		t.Error(diff)
	}
	for _, s := range l.Settings {
		if s.From != "default" || s.Text != s.Default && s.Text != "false" {
			t.Errorf("%s is %q from %s, want %q from default", s.Name, s.Text, s.From, s.Default)
		}
	}
}

func TestLoadPrefersTheCloserSource(t *testing.T) {
	t.Parallel()
	file := write(t, "config.yaml", "gateway:\n  timeout: 1s\n  hosts: [a.example, b.example]\n")
	flags := config.Config{Gateway: config.Gateway{Timeout: 3 * time.Second, MaxBody: 1}}
	for _, tt := range []struct {
		name       string
		opts       config.LoadOptions
		text, from string
	}{
		{"default", config.LoadOptions{}, "5s", "default"},
		{"file", config.LoadOptions{File: file}, "1s", "file " + file + ":2"},
		{"file by variable", config.LoadOptions{Env: []string{"MAYFLY_CONFIG=" + file}}, "1s", "file " + file + ":2"},
		{"environment before file", config.LoadOptions{File: file, Env: []string{"MAYFLY_GATEWAY_TIMEOUT=2s"}}, "2s", "env MAYFLY_GATEWAY_TIMEOUT"},
		{"an empty variable is not set", config.LoadOptions{File: file, Env: []string{"MAYFLY_GATEWAY_TIMEOUT="}}, "1s", "file " + file + ":2"},
		{
			"command line before all",
			config.LoadOptions{File: file, Env: []string{"MAYFLY_GATEWAY_TIMEOUT=2s"}, Flags: flags, Set: []string{"gateway.timeout"}},
			"3s", "flag --gateway.timeout",
		},
		{"a flag that is not set", config.LoadOptions{File: file, Flags: flags}, "1s", "file " + file + ":2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := config.Load(tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			s := setting(t, l, "gateway.timeout")
			if s.Text != tt.text || s.From != tt.from || l.Gateway.Timeout.String() != tt.text {
				t.Errorf("%s from %q (Config says %v), want %s from %q", s.Text, s.From, l.Gateway.Timeout, tt.text, tt.from)
			}
			if got, want := l.IsSet("gateway.timeout"), tt.from != "default"; got != want {
				t.Errorf("IsSet = %v, want %v", got, want)
			}
			if l.Gateway.MaxBody != 64<<20 {
				t.Errorf("maxbody is %v though nobody set it", l.Gateway.MaxBody)
			}
		})
	}
}

func TestLoadReadsTheUsersConfigFile(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	for _, tt := range []struct {
		name, path string
		env        []string
	}{
		{"XDG", "xdg/mayfly/config.yaml", []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home + "/xdg"}},
		{"home", ".config/mayfly/config.yaml", []string{"HOME=" + home}},
		{"a relative XDG is not set", ".config/mayfly/config.yaml", []string{"HOME=" + home, "XDG_CONFIG_HOME=xdg"}},
	} {
		path := filepath.Join(home, tt.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("drain: 7s\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := config.Load(config.LoadOptions{Env: tt.env})
		if err != nil {
			t.Fatal(err)
		}
		if l.File != path || l.Drain != 7*time.Second {
			t.Errorf("%s: read %q, drain %v", tt.name, l.File, l.Drain)
		}
	}
	if l, err := config.Load(config.LoadOptions{Env: []string{"HOME=" + t.TempDir()}}); err != nil || l.File != "" {
		t.Errorf("a config file that may be absent: file %q, error %v", l.File, err)
	}
}

func TestLoadRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file string // file is the text of one
		env        []string
		want, hint string // in want, FILE is its path
	}{
		{"a variable", "", []string{"MAYFLY_GATEWAY_ADR=x"}, "unknown environment variable MAYFLY_GATEWAY_ADR", "did you mean MAYFLY_GATEWAY_ADDR?"},
		{"a strange variable", "", []string{"MAYFLY_COLOUR=x"}, "unknown environment variable MAYFLY_COLOUR", "names that start with MAYFLY_ are reserved for Mayfly's settings"},
		{"a duration in a variable", "", []string{"MAYFLY_DRAIN=soon"}, `MAYFLY_DRAIN: "soon" is not a duration`, "try 500ms, 30s or 1h30m"},
		{"a bool in a variable", "", []string{"MAYFLY_DEV=maybe"}, `MAYFLY_DEV: "maybe" is not true or false`, ""},
		{"a number in a variable", "", []string{"MAYFLY_BUS_CONNECTIONS=many"}, `MAYFLY_BUS_CONNECTIONS: "many" is not a whole number`, ""},
		{"a choice in a variable", "", []string{"MAYFLY_LOG_LEVEL=loud"}, `MAYFLY_LOG_LEVEL: "loud" is not one of debug, info, warn, error`, ""},
		{"a key", "drian: 5s\n", nil, `FILE:1:1: unknown key "drian"`, "did you mean drain?"},
		{"a key in a group", "gateway:\n  adr: x\n", nil, `FILE:2:3: unknown key "adr" in gateway`, "did you mean addr?"},
		{"a group", "gatway:\n  addr: x\n", nil, `FILE:1:1: unknown key "gatway"`, "did you mean gateway?"},
		{"a dotted key", "gateway.addr: x\n", nil, `FILE:1:1: unknown key "gateway.addr"`, "move addr under gateway:"},
		{"a key of the manifest", "routes: {}\n", nil, `FILE:1:1: unknown key "routes"`, "move routes to the project's mayfly.yaml"},
		{"a value", "gateway:\n  maxbody: big\n", nil, `FILE:2:12: gateway.maxbody: "big" is not a size`, "try 64MiB, 2GB or 1000"},
		{"a group without keys", "gateway: x\n", nil, "FILE:1:10: gateway must be a map, not text", ""},
		{"a key without value", "drain:\n", nil, "FILE:1:1: drain must be text, not nothing", ""},
		{"a list as file", "- a\n", nil, "FILE:1:1: the file must hold a map, not a list", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opts := config.LoadOptions{Env: tt.env}
			if tt.file != "" {
				opts.File = write(t, "config.yaml", tt.file)
			}
			_, err := config.Load(opts)
			wantError(t, err, strings.ReplaceAll(tt.want, "FILE", opts.File), tt.hint)
		})
	}
}

func TestLoadLeavesReservedVariablesAlone(t *testing.T) {
	t.Parallel()
	env := []string{
		"MAYFLY_REQUIRE=node", "MAYFLY_FUNCTION=hello", "MAYFLY_REVISION=1", "MAYFLY_INSTANCE=x", "MAYFLY_URL=x",
		"MAYFLY_SOCKET=x", "PATH=/bin", "mayfly_x=1", "nonsense",
	}
	if _, err := config.Load(config.LoadOptions{Env: env}); err != nil {
		t.Error(err)
	}
}

func TestLoadWantsTheFileThatWasNamed(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "config.yaml")
	_, err := config.Load(config.LoadOptions{File: missing})
	if mayfly.CodeOf(err) != mayfly.NotFound || err.Error() != "no config file "+missing {
		t.Errorf("got %v (%v)", err, mayfly.CodeOf(err))
	}
	_, err = config.Load(config.LoadOptions{File: filepath.Dir(missing)})
	if mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a folder: got %v (%v)", err, mayfly.CodeOf(err))
	}
}

func TestSettingsHideSecrets(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	env := []string{
		"MAYFLY_USER=ada", "MAYFLY_PASSWORD=" + secret, "MAYFLY_TOKEN=" + secret,
		"MAYFLY_BUS_USER=ada", "MAYFLY_BUS_PASSWORD=" + secret, "MAYFLY_BUS_TOKEN=" + secret,
		"MAYFLY_NATS=nats://a.example:4222, nats://ada:" + secret + "@b.example, nats://" + secret + "@c.example, nats://%zz" + secret + "@d.example",
	}
	l, err := config.Load(config.LoadOptions{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range l.Settings {
		if strings.Contains(s.Text, secret) {
			t.Errorf("%s shows the secret: %s", s.Name, s.Text)
		}
		if s.Secret && s.Text != "(set)" {
			t.Errorf("%s is %q", s.Name, s.Text)
		}
	}
	if got, want := setting(t, l, "nats").Text, "nats://a.example:4222,nats://ada:xxxxx@b.example,nats://xxxxx@c.example,(set)@d.example"; got != want {
		t.Errorf("nats is %s\nwant    %s", got, want)
	}
	if l.Password != secret {
		t.Error("the Config itself lost the password")
	}
}

func TestEveryKeyIsSetByEachSource(t *testing.T) {
	t.Parallel()
	var env []string
	tree := map[string][]string{}
	for _, k := range config.Keys() {
		if k.Name == "" || k.Help == "" || !strings.HasSuffix(k.Help, ".") {
			t.Errorf("key %q has the help %q", k.Name, k.Help)
		}
		text := example(k)
		env = append(env, k.Env()+"="+text)
		group, name, ok := strings.Cut(k.Name, ".")
		if !ok {
			group, name = "", k.Name
		}
		tree[group] = append(tree[group], name+": "+text)
	}
	file := strings.Join(tree[""], "\n")
	for group, lines := range tree {
		if group != "" {
			file += "\n" + group + ":\n  " + strings.Join(lines, "\n  ")
		}
	}
	byEnv, err := config.Load(config.LoadOptions{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	byFile, err := config.Load(config.LoadOptions{File: write(t, "config.yaml", file)})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, k := range config.Keys() {
		names = append(names, k.Name)
	}
	byFlag, err := config.Load(config.LoadOptions{Flags: byEnv.Config, Set: names})
	if err != nil {
		t.Fatal(err)
	}
	for from, l := range map[string]config.Loaded{"env ": byEnv, "file ": byFile, "flag ": byFlag} {
		for _, s := range l.Settings {
			want := example(s.Key)
			if s.Secret {
				want = "(set)"
			}
			if s.Text != want || !strings.HasPrefix(s.From, from) {
				t.Errorf("%s is %q from %s, want %q from %s", s.Name, s.Text, s.From, want, from)
			}
		}
	}
}

// example returns a value that a key may have, other than its default where it can.
func example(k config.Key) string {
	switch {
	case k.Enum != nil:
		return k.Enum[len(k.Enum)-1]
	case strings.HasSuffix(k.Name, "addr") || strings.HasSuffix(k.Name, "monitor"):
		return "localhost:1"
	case strings.HasSuffix(k.Default, "s") || strings.HasSuffix(k.Default, "m"):
		return "1h30m"
	case strings.HasSuffix(k.Default, "B") || k.Name == "bus.store":
		return "3GiB"
	case k.Default == "1" || k.Name == "gateway.inflight":
		return "4"
	case slices.Contains([]string{"dev", "bus.trace", "bus.open", "gateway.open", "gateway.trust", "admin.open"}, k.Name):
		return "true"
	case k.Default == "true":
		return "false"
	case k.Name == "labels":
		return "zone=eu"
	default:
		return "x"
	}
}

func setting(t *testing.T, l config.Loaded, key string) config.Setting {
	t.Helper()
	for _, s := range l.Settings {
		if s.Name == key {
			return s
		}
	}
	t.Fatalf("no setting %s", key)
	return config.Setting{}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantError(t *testing.T, err error, want, hint string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Fatalf("error %v\nwant  %s", err, want)
	}
	if code := mayfly.CodeOf(err); code != mayfly.Invalid {
		t.Errorf("code %v, want invalid", code)
	}
	if got := mayfly.HintOf(err); got != hint {
		t.Errorf("hint %q\nwant %q", got, hint)
	}
}
