package node_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/node"
)

// readNode returns node.json.
func readNode(t *testing.T, folder string) node.Identity {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "node.json"))
	if err != nil {
		t.Fatal(err)
	}
	var id node.Identity
	if err := json.Unmarshal(data, &id); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestFolderHasOneNode(t *testing.T) {
	t.Parallel()
	o := options(t)
	first := start(t, o)
	for _, fresh := range []bool{false, true} {
		o.Fresh = fresh // must not empty what is in use
		_, err := node.New(t.Context(), o)
		wantError(t, err, mayfly.Conflict, "a node already runs on "+o.Folder, first.Gateway)
	}
	if a := ask(t, "GET", first.Gateway+"/readyz", nil); a.StatusCode != 200 {
		t.Errorf("the first is not ready: %v", a)
	}
	first.stop()
	o.Fresh = false
	start(t, o)
}

func TestNodeKeepsItsName(t *testing.T) {
	t.Parallel()
	o := options(t)
	first := start(t, o)
	while := readNode(t, o.Folder)
	if while.Listening == nil || while.Listening.Gateway != first.Gateway || while.Listening.PID != os.Getpid() || !while.Listening.Embedded {
		t.Errorf("node.json of a running node = %+v", while)
	}
	name := connect(t, first.NATS).ConnectedServerName()
	if name != while.Server {
		t.Errorf("the server is called %q, node.json says %q", name, while.Server)
	}
	first.stop()
	if stopped := readNode(t, o.Folder); stopped.Listening != nil || stopped.ID != while.ID {
		t.Errorf("node.json of a stopped node = %+v", stopped)
	}

	second := start(t, o)
	if got := readNode(t, o.Folder); got.ID != while.ID || connect(t, second.NATS).ConnectedServerName() != name {
		t.Errorf("after a restart node.json = %+v, before %+v", got, while)
	}
	second.stop()
	o.Fresh = true
	start(t, o)
	if got := readNode(t, o.Folder); got.ID == while.ID {
		t.Error("a fresh folder has the old node's id")
	}
}

func TestFolderOfANewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	o := options(t)
	file := filepath.Join(o.Folder, "node.json")
	newer := []byte(`{"format": 3, "id": "abc", "server": "mayfly-abc", "more": true}`)
	if err := os.WriteFile(file, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := node.New(t.Context(), o)
	wantError(t, err, mayfly.Invalid, "it has format 3, this version knows 2", "--data")
	if now, err := os.ReadFile(file); err != nil || string(now) != string(newer) {
		t.Errorf("node.json was rewritten: %s, %v", now, err)
	}
	o.Fresh = true
	start(t, o)
}

func TestDamagedFolderIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text string }{
		{"empty", ""},
		{"cut short", `{"format": 1, "id": "a`},
		{"no JSON", "hello"},
		{"of other types", `{"format": "1", "id": "a", "server": "b"}`},
		{"without a name", `{"format": 1, "id": "a"}`},
		{"null", "null"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			if err := os.WriteFile(filepath.Join(o.Folder, "node.json"), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := node.New(t.Context(), o)
			wantError(t, err, mayfly.Invalid, "node.json is damaged", "--fresh")
		})
	}
}

func TestFolderThatCannotBeUsedIsExplained(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Folder = filepath.Join(o.Folder, "file")
	if err := os.WriteFile(o.Folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := node.New(t.Context(), o)
	wantError(t, err, mayfly.Unavailable, "cannot write to the data folder "+o.Folder, "--data")
}

func TestFolderIsOneForEachProject(t *testing.T) {
	t.Parallel()
	of := func(name, path string) string {
		t.Helper()
		folder, err := node.FolderOf("/home", mayfly.Name(name), path)
		if err != nil {
			t.Fatal(err)
		}
		return folder
	}
	if got := of("", ""); got != filepath.Join("/home", "node") {
		t.Errorf("without a project: %s", got)
	}
	a, b := of("shop", "/a/shop"), of("shop", "/b/shop")
	if a == b || of("shop", "/a/shop") != a || of("shop", "/a/./shop") != a {
		t.Errorf("%s and %s must differ and stay", a, b)
	}
	if dir, base := filepath.Split(a); dir != filepath.FromSlash("/home/projects/") || !strings.HasPrefix(base, "shop-") || len(base) != len("shop-")+8 {
		t.Errorf("folder of a project: %s", a)
	}
}

func TestFindRunningFindsNodesThatRun(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	find := func() (gateways []string) {
		for _, r := range node.FindRunning(home) {
			gateways = append(gateways, r.Gateway)
		}
		return gateways
	}
	if got := find(); len(got) != 0 {
		t.Errorf("in an empty home: %v", got)
	}
	var nodes []*running
	for _, path := range []string{"/a/shop", ""} {
		o := options(t)
		var err error
		if o.Folder, err = node.FolderOf(home, "shop", path); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, start(t, o))
	}
	if got := find(); len(got) != 2 || got[0] != nodes[0].Gateway || got[1] != nodes[1].Gateway {
		t.Errorf("found %v, want both", got)
	}
	nodes[0].stop()
	if got := find(); len(got) != 1 || got[0] != nodes[1].Gateway {
		t.Errorf("found %v, want the second", got)
	}
}

// A node that was killed could not take its addresses out of node.json.
func TestFindRunningKnowsTheDead(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	left := `{"format": 1, "id": "abc", "server": "mayfly-abc", "listening": {"pid": 1, "nats": "nats://127.0.0.1:1", "gateway": "http://127.0.0.1:2"}}`
	for _, lock := range []bool{false, true} {
		if lock {
			if err := os.WriteFile(filepath.Join(folder, "lock"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(folder, "node.json"), []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, ok := node.RunningAt(folder); ok {
			t.Errorf("with lock file %t: %+v runs", lock, r)
		}
	}
}
