package node

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/secrets"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// secretWait bounds how long a start waits for the bucket of secrets.
const secretWait = 5 * time.Second

// environment returns an instance's environment, except what the engine adds. It starts
// empty: the node's own environment may hold anything, and never reaches a function.
func (n *Node) environment(ctx context.Context, p mayfly.Program, name string, revision uint64, instance string) ([]string, error) {
	home := filepath.Join(n.folder.path, "home", name)
	temporary := n.folder.temporary(name, instance)
	for _, folder := range []string{home, temporary} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, cannotWrite(folder, err)
		}
	}
	nats := n.bus.InstanceURL()
	env := []string{
		"PATH=" + n.options.Base.Path, "HOME=" + home, "TMPDIR=" + temporary,
		"LANG=" + n.options.Base.Lang, "TZ=" + n.options.Base.Zone,
		"NATS_URL=" + nats, "NATS_URI=" + nats,
		mayfly.EnvFunction + "=" + name,
		mayfly.EnvRevision + "=" + strconv.FormatUint(revision, 10),
		mayfly.EnvInstance + "=" + instance,
		mayfly.EnvURL + "=" + n.url,
	}
	for key, value := range p.Env {
		env = append(env, key+"="+value)
	}
	if len(p.Secrets) == 0 && p.Creds == "" {
		return env, nil
	}
	ctx, cancel := context.WithTimeout(ctx, secretWait)
	defer cancel()
	for _, text := range p.Secrets {
		secret, err := mayfly.ParseName(text)
		if err != nil {
			return nil, err
		}
		value, err := n.store.secret(ctx, secret)
		if err != nil {
			return nil, err
		}
		env = append(env, secrets.EnvName(secret)+"="+string(value))
	}
	if p.Creds != "" {
		file := filepath.Join(home, "nats.creds")
		value, err := n.store.secret(ctx, mayfly.Name(p.Creds))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, value, 0o600); err != nil {
			return nil, cannotWrite(file, err)
		}
		env = append(env, "NATS_CREDS="+file)
	}
	return env, nil
}

// cleanUp removes what an instance that has ended left in its TMPDIR.
func (n *Node) cleanUp(name, instance string) {
	if err := os.RemoveAll(n.folder.temporary(name, instance)); err != nil {
		n.options.Log.Warn("temporary files not removed", telemetry.KeyFunction, name, telemetry.KeyInstance, instance, telemetry.KeyErr, err)
	}
}

// A Base is what instances take from the node's own environment.
type Base struct {
	Path string // "/usr/local/bin:/usr/bin:/bin" if empty
	Lang string // "C.UTF-8" if empty
	Zone string // "UTC" if empty
}

func (b Base) withDefaults() Base {
	return Base{
		Path: cmp.Or(b.Path, "/usr/local/bin:/usr/bin:/bin"), Lang: cmp.Or(b.Lang, "C.UTF-8"), Zone: cmp.Or(b.Zone, "UTC"),
	}
}
