package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// The canaries: what is put into env: and into a secret.
const (
	canaryEnv    = "canary-7Qx-in-env"
	canarySecret = "canary-9Zk-in-secret"
)

// canaryProject has one of each that gets them, and one that fails, for its error pages.
var canaryProject = map[string]string{
	"mayfly.yaml": `project: birds
functions:
  sings:
    code: ./sings.sh
    http: GET /sings/{loud}
    env: {SONG: ` + canaryEnv + `}
    secrets: [api-key]
  falls:
    code: ./falls.sh
    env: {SONG: ` + canaryEnv + `}
    secrets: [api-key]
services:
  flies:
    code: ./flies
    start: [sh, flies.sh]
    env: {SONG: ` + canaryEnv + `}
    secrets: [api-key]
`,
	"sings.sh":       `echo "${#SONG} and ${#API_KEY}"` + "\n",
	"falls.sh":       "echo down >&2\nexit 3\n",
	"flies/flies.sh": "echo up\nexec sleep 1000\n",
}

// Values of env: and of secrets are for the instances alone. In the account of users no
// message has one. In that of the state, only the registry's own entries hold those of
// env:, see registryTraffic.
func TestValuesOfEnvAndSecretsShowNowhere(t *testing.T) {
	t.Parallel()
	folder, data := t.TempDir(), filepath.Join(t.TempDir(), "data")
	for name, text := range canaryProject {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	home := t.TempDir()
	mayfly := func(input string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "mayfly", append(args, "--data", data)...)
		cmd.Dir, cmd.Stdin, cmd.Env = folder, strings.NewReader(input), append(os.Environ(), "HOME="+home)
		out, err := cmd.CombinedOutput() // some fail: errors are looked at too
		text := fmt.Sprintf("%s\n%s", strings.Join(cmd.Args, " "), out)
		checkCanaries(t, "mayfly "+args[0], text)
		if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() == 1) {
			t.Errorf("%v:\n%s", err, text)
		}
		return text
	}
	for start := range 2 {
		n := startQuiet(t, home, data)
		w := watchBus(t, n.nats, data)
		if start == 0 {
			mayfly(canarySecret, "secret", "set", "api-key")
			if text := mayfly("", "deploy", ".", "--note", "birds"); !strings.Contains(text, "flies@1 deployed") {
				t.Fatal(text)
			}
		}
		if got, want := mayfly("", "call", "sings"), fmt.Sprintf("%d and %d", len(canaryEnv), len(canarySecret)); !strings.Contains(got, want) {
			t.Errorf("the function did not get its values: %q, want %q", got, want)
		}
		for _, command := range []string{
			"call falls", "list", "list --json", "info sings", "info sings --json", "info falls --json", "info flies", "info flies --json",
			"history sings", "history flies --json", "stats", "stats --json", "ping", "ping --json", "nodes", "nodes --json", "routes", "routes --json",
			"logs", "logs --json", "secret ls", "secret ls --json", "scale sings --min 1", "rollback sings", "remove falls", "deploy .",
		} {
			mayfly("", strings.Fields(command)...)
		}
		for _, path := range []string{"/fn/sings", "/sings/x", "/fn/falls", "/fn/nobody", "/svc/flies/x", "/x%0a", "/openapi.json", "/svc", "/readyz"} {
			checkCanaries(t, path, fetch(t, n.gateway+path))
		}
		checkCanaries(t, "metrics", fetch(t, n.admin+"/metrics"))
		for _, verb := range []string{"INFO", "STATS", "PING"} {
			if err := w.conns[0].PublishRequest("$SRV."+verb, nats.NewInbox(), nil); err != nil {
				t.Fatal(err)
			}
		}
		mayfly("", "ping") // what was asked before is answered
		w.check(t)
		n.stop()
	}
}

// checkCanaries fails the test if text holds one.
func checkCanaries(t *testing.T, where, text string) {
	t.Helper()
	for _, canary := range []string{canaryEnv, canarySecret} {
		if strings.Contains(text, canary) {
			t.Errorf("%s shows %s:\n%s", where, canary, text)
		}
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %v\n%s", resp.Status, resp.Header, body)
}

// A quietNode is mayfly up whose log, with all that there is in it, must not sing.
type quietNode struct {
	nats, gateway, admin string
	stop                 func()
}

func startQuiet(t *testing.T, home, data string) quietNode {
	t.Helper()
	cmd := exec.Command("mayfly", "up", "--data", data, "--bus.addr", "127.0.0.1:0", "--gateway.addr", "127.0.0.1:0", "--admin.addr", "127.0.0.1:0",
		"--gateway.accesslog", "--log.level", "debug", "--dev")
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "HOME="+home)
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := quietNode{stop: sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("mayfly up ended with %v:\n%s", err, out)
		}
		checkCanaries(t, "the log of the node", out.String())
	})}
	t.Cleanup(n.stop)
	addresses := regexp.MustCompile(`"msg":"node ready".*"nats":"([^"]+)".*"gateway":"([^"]+)","admin":"([^"]+)"`)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for late := time.After(patience); ; {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("mayfly up is not ready:\n%s", out)
		}
		if found := addresses.FindStringSubmatch(out.String()); found != nil {
			n.nats, n.gateway, n.admin = found[1], found[2], found[3]
			return n
		}
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A busWatch hears every message of every account that can be reached.
type busWatch struct {
	conns []*nats.Conn
	subs  []*nats.Subscription
}

// watchBus subscribes to everything: as any client does, and in the account of Mayfly's
// state where the node's folder has the key to one.
func watchBus(t *testing.T, url, data string) *busWatch {
	t.Helper()
	w := &busWatch{}
	logins := [][]nats.Option{nil}
	if text, err := os.ReadFile(filepath.Join(data, "core.key")); err == nil {
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		logins = append(logins, []nats.Option{nats.UserInfo("core", lines[len(lines)-1])})
	}
	for _, login := range logins {
		nc, err := nats.Connect(url, login...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		sub, err := nc.SubscribeSync(">")
		if err == nil {
			err = errors.Join(sub.SetPendingLimits(-1, -1), nc.Flush())
		}
		if err != nil {
			t.Fatal(err)
		}
		w.conns, w.subs = append(w.conns, nc), append(w.subs, sub)
	}
	return w
}

// check looks at all that was heard. Subjects, headers and payloads are searched.
func (w *busWatch) check(t *testing.T) {
	t.Helper()
	heard, inRegistry := 0, 0
	for i, sub := range w.subs {
		users := i == 0
		if err := w.conns[i].Flush(); err != nil {
			t.Fatal(err)
		}
		for {
			m, err := sub.NextMsg(time.Millisecond)
			if err != nil {
				break
			}
			heard++
			text := fmt.Sprintf("%s %v %s", m.Subject, m.Header, m.Data)
			if !users && registryTraffic(m) && strings.Contains(text, canaryEnv) {
				inRegistry++
				text = strings.ReplaceAll(text, canaryEnv, "")
			}
			checkCanaries(t, "a message", text)
		}
	}
	if heard < 100 || inRegistry == 0 {
		t.Errorf("%d messages were heard, %d of the registry's entries: the test looks at the wrong place", heard, inRegistry)
	}
}

// registryTraffic reports whether a message is an entry of the registry on its way into
// or out of JetStream: by design an entry holds the values of env:, since nodes start
// functions from it. It is $KV.mayfly_registry.>, $JS.>, and what JetStream answers to a
// get of that bucket. Nothing else is excluded, and secrets are not even there.
func registryTraffic(m *nats.Msg) bool {
	return strings.HasPrefix(m.Subject, "$KV.mayfly_registry.") || strings.HasPrefix(m.Subject, "$JS.") ||
		m.Header.Get("Nats-Stream") == "KV_mayfly_registry"
}
