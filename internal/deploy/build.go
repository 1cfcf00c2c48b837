package deploy

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bundle"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/project"
)

// build makes and stores bundles of a unit's source, for all platforms of the nodes.
func (d *deployment) build(ctx context.Context, u *unit) error {
	name := u.source.Name
	d.Tell(Event{Name: name, Step: "build"})
	cache := d.Cache
	if cache == "" {
		cache = filepath.Join(d.Folder, "cache")
	}
	d.builders <- struct{}{}
	built, err := project.Build(ctx, u.source, project.BuildOptions{
		Folder: filepath.Join(d.Folder, "build"), Cache: cache, Platforms: d.platforms(),
		Installs: &d.installs, Idle: func(wait func()) { <-d.builders; wait(); d.builders <- struct{}{} },
		Progress: func(step string) { d.Tell(Event{Name: name, Step: step}) },
	})
	<-d.builders
	if err != nil {
		return err
	}
	defer func() {
		for _, folder := range built.Folders {
			_ = os.RemoveAll(folder) // the caller removes what is above it
		}
	}()
	u.built = built.Unit
	bundles := map[string]string{}
	for _, platform := range slices.Sorted(maps.Keys(built.Folders)) {
		if bundles[platform], err = d.store(ctx, name, built.Folders[platform]); err != nil {
			return fmt.Errorf("store the bundle of %s: %w", name, err)
		}
	}
	u.built.Bundles = bundles
	if u.nodes = fit(d.nodes, u.built.Program); len(u.nodes) == 0 && !d.NoWait {
		return noNode(name, u.built.Program)
	}
	return nil
}

// platforms returns those of the nodes, or this machine's if there are none.
func (d *deployment) platforms() []string {
	var all []string
	for _, n := range d.nodes {
		all = append(all, n.Platform)
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) == 0 {
		return []string{mayfly.Platform()}
	}
	return all
}

// fit returns the nodes that can run a program.
func fit(nodes []peers.Node, p mayfly.Program) (fitting []peers.Node) {
	for _, n := range nodes {
		if labelled(n, p) && p.Bundle(n.Platform) != "" {
			fitting = append(fitting, n)
		}
	}
	return fitting
}

// labelled reports whether a node has all the labels that a program asks for.
func labelled(n peers.Node, p mayfly.Program) bool {
	for key, value := range p.Labels {
		if n.Labels[key] != value {
			return false
		}
	}
	return true
}

// noNode says what a node needs to run a program.
func noNode(name string, p mayfly.Program) error {
	needs := slices.DeleteFunc(slices.Sorted(maps.Keys(p.Bundles)), func(platform string) bool { return platform == mayfly.AnyPlatform })
	for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
		needs = append(needs, "label "+key+"="+p.Labels[key])
	}
	return mayfly.Errorf(mayfly.Unavailable, "no node can run %s: it needs %s", name, strings.Join(needs, ", ")).
		WithHint("start such a node with mayfly up, or deploy anyway with --no-wait")
}

// store packs a folder, uploads the bundle and returns its digest. It packs to a file,
// because the digest is the bundle's name and known only at its end.
func (d *deployment) store(ctx context.Context, name, folder string) (digest string, err error) {
	d.Tell(Event{Name: name, Step: "pack"})
	file, err := os.CreateTemp(d.Folder, "bundle-*")
	if err != nil {
		return "", mayfly.Errorf(mayfly.Unavailable, "cannot create a bundle: %w", err).WithHint("free some space in %s", d.Folder)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	d.builders <- struct{}{}
	digest, size, err := bundle.Pack(file, folder)
	<-d.builders
	if err != nil {
		return "", err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return digest, d.once(digest, func() error {
		return d.whileReady(ctx, func(ctx context.Context) error {
			return d.Registry.Upload(ctx, &told{r: file, tell: d.Tell, event: Event{Name: name, Step: "upload", Of: size}}, digest)
		})
	})
}

// once uploads a bundle unless another unit has, or is doing so.
func (d *deployment) once(digest string, upload func() error) error {
	d.mu.Lock()
	if d.uploads[digest] == nil {
		d.uploads[digest] = sync.OnceValue(upload)
	}
	upload = d.uploads[digest]
	d.mu.Unlock()
	return upload()
}

// A told reader reports its progress.
type told struct {
	r     io.ReadSeeker
	tell  func(Event)
	event Event
	said  int64
}

// sayEvery is the number of bytes between two reports.
const sayEvery = 4 << 20

func (t *told) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.event.Bytes += int64(n)
	if t.said == 0 || t.event.Bytes-t.said >= sayEvery {
		t.said = max(1, t.event.Bytes)
		t.tell(t.event)
	}
	return n, err
}

// Seek restarts the progress.
func (t *told) Seek(offset int64, whence int) (int64, error) {
	t.event.Bytes, t.said = 0, 0
	return t.r.Seek(offset, whence)
}
