//go:build unix

package node_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bundle"
	"github.com/mayfly-run/mayfly/internal/logs"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/registry"
	"github.com/nats-io/nats.go"
)

// unpackBefore puts the data folder of the build before into a folder; testdata/before
// has the script that made it.
func unpackBefore(t *testing.T, folder string) {
	t.Helper()
	packed, err := os.Open(filepath.Join("testdata", "before", "folder.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked := filepath.Join(t.TempDir(), "before")
	if err := bundle.Unpack(packed, unpacked, bundle.Limits{}); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(folder, os.DirFS(unpacked)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(folder, "secret.key"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Everything that a build of Mayfly has stored is there in the next one.
func TestFolderOfTheBuildBefore(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Base.Path = os.Getenv("PATH")
	unpackBefore(t, o.Folder)
	n := start(t, o)
	if state, err := os.ReadFile(filepath.Join(o.Folder, "node.json")); err != nil || !strings.Contains(string(state), "2wyhh45jq25li5fhem2eqeethm") {
		t.Errorf("the node is another one now: %s %v", state, err)
	}
	checkBefore(t, n)
}

// A node that is killed while it moves that state into its own account loses none of it:
// ten points, from the first moment until it is ready.
func TestFolderOfTheBuildBeforeSurvivesKills(t *testing.T) {
	t.Parallel()
	core := filepath.Join("nats", "jetstream", mayfly.AccountCore)
	points := []string{".", "core.key", core, filepath.Join(core, "streams")}
	for _, stream := range []string{
		"KV_" + mayfly.BucketMeta, "KV_" + mayfly.BucketRegistry, "OBJ_" + mayfly.BucketCode, "KV_" + mayfly.BucketSecrets, mayfly.StreamLogs,
	} {
		points = append(points, filepath.Join(core, "streams", stream))
	}
	for _, point := range append(points, "ready") {
		t.Run(point, func(t *testing.T) {
			o := options(t)
			o.Base.Path = os.Getenv("PATH")
			unpackBefore(t, o.Folder)
			n, ready := launchNode(t, o.Folder)
			for isReady := false; !isReady; {
				if _, err := os.Lstat(filepath.Join(o.Folder, point)); err == nil {
					break
				}
				select {
				case err := <-ready:
					if err != nil || point != "ready" {
						t.Fatalf("ready before there was %s: %v", point, err)
					}
					isReady = true
				default:
				}
			}
			n.end(t, syscall.SIGKILL)
			checkBefore(t, start(t, o))
		})
	}
}

// checkBefore checks that a node has all that was in the folder of the build before.
func checkBefore(t *testing.T, n *running) {
	t.Helper()
	answers := func(path, want string) {
		t.Helper()
		if a := ask(t, "POST", n.Gateway+path, []byte("hi")); a.StatusCode != 200 || strings.TrimSpace(string(a.body)) != want {
			t.Errorf("%s: %v, want %q", path, a, want)
		}
	}
	answers("/fn/hello", "hello three")
	answers("/fn/keyed", "the key is hunter2")
	for program, call := range map[string][2]string{"node": {"/fn/shout", "HI"}, "python3": {"/fn/count", "2"}} {
		if _, err := exec.LookPath(program); err == nil { // the languages have tests of their own
			answers(call[0], call[1])
		}
	}
	if a := ask(t, "GET", n.Gateway+"/hello/ada", nil); strings.TrimSpace(string(a.body)) != "hello three" {
		t.Errorf("a function's own pattern: %v", a)
	}
	if a := ask(t, "GET", n.Gateway+"/fn/gone", nil); a.StatusCode != 404 {
		t.Errorf("what was removed: %v", a)
	}
	nc := connect(t, n.NATS)
	natstest.Serve(t, nc, "greetings.ada", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	if a := ask(t, "POST", n.Gateway+"/greet/ada", nil); string(a.body) != `{"to":"ada"}` {
		t.Errorf("a route: %v", a)
	}
	var units []string
	for _, u := range n.Node.Status().Units {
		units = append(units, u.String())
	}
	if diff := cmp.Diff([]string{"count@1", "hello@3", "keyed@1", "shout@1", "ticker@1"}, units); diff != "" {
		t.Errorf("units: %s", diff)
	}

	b := openBus(t, n.NATS)
	r, err := registry.Open(t.Context(), b, registry.Options{By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	checkHistory(t, r)
	if u, err := r.Get(t.Context(), mayfly.Ref{Name: "count"}); err != nil || u.Instances.Max != 3 {
		t.Errorf("count was scaled to 3, and has %+v: %v", u.Instances, err)
	}
	if _, _, err := r.Rollback(t.Context(), mayfly.Ref{Name: "hello", Revision: 1}); err != nil {
		t.Errorf("roll back: %v", err)
	}
	if _, _, err := r.Rollback(t.Context(), mayfly.Ref{Name: "gone"}); err != nil {
		t.Errorf("roll back a removal: %v", err)
	}
	eventually(t, "an old revision answers, and what was removed", func() bool {
		hello, gone := ask(t, "GET", n.Gateway+"/fn/hello", nil), ask(t, "GET", n.Gateway+"/fn/gone", nil)
		return strings.TrimSpace(string(hello.body)) == "hello one" && strings.TrimSpace(string(gone.body)) == "gone"
	})

	l, err := logs.Open(t.Context(), b, logs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var said []string
	if err := l.Read(t.Context(), logs.Query{Function: "hello"}, func(line mayfly.Line) error {
		if line.Source == mayfly.Stderr {
			said = append(said, line.Text)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"one speaks", "two speaks", "three speaks"}; len(said) < 3 || !slices.Equal(said[:3], want) {
		t.Errorf("the logs have %q, want first %q", said, want)
	}
}

// checkHistory checks the histories of a function with three revisions and of one that
// was removed.
func checkHistory(t *testing.T, r *registry.Registry) {
	t.Helper()
	for name, want := range map[string][]registry.Revision{
		"hello": {{Number: 3, Note: "hello three"}, {Number: 2, Note: "hello two"}, {Number: 1, Note: "hello one"}},
		"gone":  {{Number: 1, Removed: true}, {Number: 1, Note: "hello one"}},
	} {
		history, err := r.History(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		var got []registry.Revision
		for _, one := range history {
			if one.By != "mayfly@mayfly" || one.At.IsZero() {
				t.Errorf("%s@%d was deployed by %q at %v", name, one.Number, one.By, one.At)
			}
			got = append(got, registry.Revision{Number: one.Number, Removed: one.Removed, Note: one.Note})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("history of %s: %s", name, diff)
		}
	}
}
