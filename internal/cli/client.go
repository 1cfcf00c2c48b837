package cli

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/node"
	"github.com/mayfly-run/mayfly/internal/project"
)

// defaultNATS is where a node listens by default.
const defaultNATS = "nats://127.0.0.1:4222"

// dialWait limits how long a command tries to connect. People wait for it.
const dialWait = 2 * time.Second

// A client holds the flags of every verb that talks to a server.
type client struct {
	config.Server `embed:""`
	Data          string `name:"data" help:"Data folder of the node to ask. By default that of the current project, or of the only node on this machine." placeholder:"FOLDER"`
}

// open connects to the named server, else that of the node running for this folder, else
// that of this user's only other node, else NATS_URL, else the default address.
func (c *client) open(ctx context.Context, p *process) (*bus.Bus, error) {
	loaded, err := p.load(config.Config{Data: c.Data, Server: c.Server}, "")
	if err != nil {
		return nil, err
	}
	remote, guessed, err := findServer(p, loaded)
	if err != nil {
		return nil, err
	}
	core, err := node.CoreOf(findCore(p, loaded, remote), remote)
	if err != nil {
		return nil, err
	}
	b, err := bus.Open(ctx, bus.Options{Name: "mayfly cli", Remote: remote, Core: core, Wait: dialWait, NoJetStream: true})
	if guessed && mayfly.CodeOf(err) == mayfly.Unavailable {
		return nil, mayfly.Errorf(mayfly.Unavailable, "no node is running here, and no NATS server answers at %s", remote).
			WithHint("start a node with mayfly up, or pass --nats URL")
	}
	return b, err
}

// findServer returns how to reach the server, and whether that is the default address.
func findServer(p *process, loaded config.Loaded) (remote bus.Remote, guessed bool, err error) {
	remote = node.RemoteOf(loaded.Server)
	if remote.URL != "" || remote.Context != "" {
		return remote, false, nil
	}
	running, ok, err := findNode(p, loaded)
	if err != nil {
		return bus.Remote{}, false, err
	}
	if ok {
		remote.URL = running.NATS
		if remote.User == "" && remote.Token == "" && remote.Creds == "" {
			// Any reader of the node's configuration may use its login.
			remote.User, remote.Password, remote.Token = loaded.Bus.User, loaded.Bus.Password, loaded.Bus.Token
		}
		return remote, false, nil
	}
	if url, _ := p.lookup("NATS_URL"); url != "" {
		remote.URL = url
		return remote, false, nil
	}
	remote.URL = defaultNATS
	return remote, true, nil
}

// findCore returns the login for the account of Mayfly's state at remote: the configured
// one, or else the key of a node on this machine that uses the same server.
func findCore(p *process, loaded config.Loaded, remote bus.Remote) config.Core {
	if loaded.Core != (config.Core{}) {
		return loaded.Core
	}
	return config.Core{Key: node.CoreKeyAt(p.running(loaded.Data), remote)}
}

// running returns the nodes on this machine: that of a data folder, if one is given, then
// all of this user.
func (p *process) running(data string) (all []node.Running) {
	if r, ok := node.RunningAt(data); ok && data != "" {
		all = append(all, r)
	}
	if home, err := config.DataHome(p.lookup); err == nil {
		all = append(append(all, node.FindRunning(home)...), node.FindElsewhere(home)...)
	}
	return all
}

// findNode returns the node on this machine that the command means, if any.
func findNode(p *process, loaded config.Loaded) (node.Running, bool, error) {
	if loaded.Data != "" {
		if r, ok := node.RunningAt(loaded.Data); ok {
			return r, true, nil
		}
		if _, err := os.ReadDir(loaded.Data); errors.Is(err, fs.ErrPermission) {
			return node.Running{}, false, mayfly.Errorf(mayfly.Denied, "cannot read %s as this user", loaded.Data).
				WithHint("run this as the user of that node, or pass --nats URL")
		}
		return node.Running{}, false, mayfly.Errorf(mayfly.Unavailable, "no node is running on %s", loaded.Data).
			WithHint("start one: mayfly up --data %s", loaded.Data)
	}
	home, err := config.DataHome(p.lookup)
	if err != nil {
		return node.Running{}, false, nil // without a home this user has no nodes
	}
	// An unreadable manifest is for mayfly up to explain.
	if here, err := project.Open(".", p.lookup); err == nil {
		if folder, err := node.FolderOf(home, here.Name, here.Folder); err == nil {
			if r, ok := node.RunningAt(folder); ok {
				return r, true, nil
			}
		}
	}
	all := node.FindRunning(home)
	if len(all) == 0 {
		all = node.FindElsewhere(home)
	}
	switch len(all) {
	case 0:
		return node.Running{}, false, nil
	case 1:
		return all[0], true, nil
	default:
		var each []string
		for _, r := range all {
			each = append(each, p.tilde(r.Folder)+" at "+cmp.Or(r.NATS, "?"))
		}
		return node.Running{}, false, mayfly.Errorf(mayfly.Conflict, "several nodes are running here: %s", strings.Join(each, "; ")).
			WithHint("pass --nats URL or --data FOLDER, or run the command in its project's folder")
	}
}
