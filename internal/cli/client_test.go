package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/node"
)

func TestFindServerPrefersTheCloserSource(t *testing.T) {
	t.Parallel()
	// A node runs in one of the two homes, with a door that asks for a token.
	empty, home := t.TempDir(), t.TempDir()
	lookup := config.Lookup([]string{"HOME=" + home})
	below, err := config.DataHome(lookup)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := node.FolderOf(below, "", "")
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(config.LoadOptions{Env: []string{
		"MAYFLY_BUS_ADDR=127.0.0.1:0", "MAYFLY_BUS_TOKEN=door", "MAYFLY_GATEWAY_ADDR=127.0.0.1:0", "MAYFLY_ADMIN_ADDR=off",
	}})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(t.Context(), node.Options{Config: loaded.Config, Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	running := n.Status().NATS

	for _, tt := range []struct {
		name    string
		env     []string
		want    bus.Remote
		guessed bool
	}{
		{"named", []string{"HOME=" + home, "MAYFLY_NATS=nats://a", "NATS_URL=nats://b"}, bus.Remote{URL: "nats://a"}, false},
		{"a context", []string{"HOME=" + home, "MAYFLY_CONTEXT=c", "NATS_URL=nats://b"}, bus.Remote{Context: "c"}, false},
		{"the node here", []string{"HOME=" + home, "NATS_URL=nats://b"}, bus.Remote{URL: running}, false},
		{"the node here, by its folder", []string{"HOME=" + empty, "MAYFLY_DATA=" + folder}, bus.Remote{URL: running}, false},
		{"the node here and its token", []string{"HOME=" + home, "MAYFLY_BUS_TOKEN=door"}, bus.Remote{URL: running, Token: "door"}, false},
		{"the node here and another token", []string{"HOME=" + home, "MAYFLY_BUS_TOKEN=door", "MAYFLY_TOKEN=mine"}, bus.Remote{URL: running, Token: "mine"}, false},
		{"NATS_URL", []string{"HOME=" + empty, "NATS_URL=nats://b"}, bus.Remote{URL: "nats://b"}, false},
		{"nothing", []string{"HOME=" + empty}, bus.Remote{URL: defaultNATS}, true},
		{"not even a home", nil, bus.Remote{URL: defaultNATS}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &process{env: tt.env}
			loaded, err := p.load(config.Config{}, "")
			if err != nil {
				t.Fatal(err)
			}
			got, guessed, err := findServer(p, loaded)
			if err != nil || guessed != tt.guessed {
				t.Fatalf("guessed %v, error %v", guessed, err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
