package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version is set by a release's build:
//
//	go build -ldflags "-X github.com/mayfly-run/mayfly/internal/cli.version=1.2.3"
var version string

// A build describes this binary.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Dirty   bool   `json:"dirty,omitempty"` // built with uncommitted changes
	NATS    string `json:"nats_server"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// thisBuild prefers the release's number to the module's, which go install knows.
func thisBuild() build {
	b := build{Version: version, NATS: "unknown", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	// A version made from a commit is not one that a person chose.
	if v := info.Main.Version; b.Version == "" && v != "(devel)" && !strings.HasPrefix(v, "v0.0.0-") {
		b.Version = strings.TrimPrefix(v, "v")
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Dirty = s.Value == "true"
		}
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/nats-io/nats-server/v2" {
			b.NATS = strings.TrimPrefix(m.Version, "v")
		}
	}
	return b
}

// versioning is the verb version.
type versioning struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run is called by kong.
func (v *versioning) Run(p *process) error {
	b := thisBuild()
	if v.JSON {
		return writeJSON(p.stdout, b)
	}
	t := table{{"mayfly", b.Version}}
	if b.Commit != "" {
		commit := b.Commit
		if b.Dirty {
			commit += " (modified)"
		}
		t.add("commit", commit)
	}
	t.add("nats-server", b.NATS)
	t.add("go", strings.TrimPrefix(b.Go, "go"))
	t.add("platform", fmt.Sprintf("%s/%s", b.OS, b.Arch))
	return t.print(p.stdout, "")
}
